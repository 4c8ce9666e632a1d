//! Hosts that keep the engine's own MCP executor.

use std::sync::Arc;

use car_engine::{McpToolExecutor, Runtime, ToolEntry, ToolExecutor};
use car_ir::ActionStatus;
use connectors_tests::{Script, Tool};
use serde_json::json;

use crate::host::{Host, Own, error, output, schema};

#[tokio::test]
async fn the_engines_executor_follows_the_routes_shortened_names_and_shared_views_included() {
    let long = format!("echo_{}", "x".repeat(80));
    let server = Script::modern().with_tools([Tool::echo(), Tool::echo().named(&long)]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    let slug = host.add("My server", &server, &["echo", &long]).await;
    let view = executor.share_with_fallback(Arc::new(Own));
    for name in host.routed() {
        assert!(executor.handles(&name).await, "{name}");
        let output = view.execute(&name, &json!({"text": "hi"})).await;
        assert_eq!(output, Ok(json!("hi")), "{name}");
    }
    let mut shown: Vec<_> =
        executor.tool_schemas().await.into_iter().map(|(_, schema)| schema.name).collect();
    shown.sort();
    assert_eq!(shown, host.routed().into_iter().collect::<Vec<_>>());

    assert_eq!(view.execute("own", &json!({})).await, Ok(json!("the host ran own")));
    host.disable(&slug, &["echo"]).await;
    assert!(!executor.handles("mcp_my_server_echo").await);
    assert!(executor.session("my_server").await.is_some());
    host.manager.remove(&slug).await.unwrap();
    assert!(executor.session("my_server").await.is_none());
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_server_of_the_hosts_own_keeps_its_name() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    let own: Arc<tokio::sync::Mutex<dyn car_engine::McpSession>> =
        Arc::new(tokio::sync::Mutex::new(host.bridge.session(&connectors_core::Slug::verbatim("other"))));
    executor.add_session("s", Arc::clone(&own)).await;
    host.bridge.attach_mcp(&executor).await;
    let slug = host.add("S", &server, &["echo"]).await;
    assert!(!executor.handles("mcp_s_echo").await);
    host.manager.remove(&slug).await.unwrap();
    assert!(Arc::ptr_eq(&executor.session("s").await.unwrap(), &own));
}

#[tokio::test]
async fn a_route_of_the_hosts_own_keeps_its_name() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::add()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    let own =
        Arc::new(tokio::sync::Mutex::new(host.bridge.session(&connectors_core::Slug::verbatim("other"))));
    executor.add_session("other", own).await;
    executor.set_route("mcp_s_echo", "other").await;
    host.bridge.attach_mcp(&executor).await;
    let slug = host.add("S", &server, &["echo", "add"]).await;
    assert_eq!(executor.execute("mcp_s_add", &json!({"a": 1, "b": 1})).await, Ok(json!("2")));
    assert!(executor.execute("mcp_s_echo", &json!({"text": "x"})).await.is_err());
    assert_eq!(server.calls().len(), 1);
    host.manager.remove(&slug).await.unwrap();
    assert!(executor.handles("mcp_s_echo").await);
    assert!(!executor.handles("mcp_s_add").await);
}

#[tokio::test]
async fn the_name_of_a_tool_of_a_runtimes_own_leads_to_no_connector() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::add(), Tool::fail()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    let runtime = host.runtime_on(&executor).await;
    runtime.register_tool_schema(schema("mcp_s_echo")).await;
    let slug = host.add("S", &server, &["echo", "add"]).await;
    let own = |tool: &str| json!(format!("the host ran {tool}"));
    assert_eq!(output(&runtime, "mcp_s_echo", json!({})).await, own("mcp_s_echo"));
    assert_eq!(output(&runtime, "mcp_s_add", json!({"a": 1, "b": 1})).await, json!("2"));

    // One that takes the name later: nobody is called until the next change of the routes.
    runtime.register_tool_entry(ToolEntry::new(schema("mcp_s_add"))).await;
    let refused = "the tool `mcp_s_add` is not the connector's in this host";
    assert_eq!(error(&runtime, "mcp_s_add", json!({})).await, (ActionStatus::Failed, refused.to_owned()));
    host.enable(&slug, &["fail"]).await;
    assert_eq!(output(&runtime, "mcp_s_add", json!({})).await, own("mcp_s_add"));

    // A runtime that brings such a tool.
    assert!(executor.handles("mcp_s_fail").await);
    let another = Runtime::new();
    another.register_tool_schema(schema("mcp_s_fail")).await;
    another.set_executor(Arc::new(executor.share_with_fallback(Arc::new(Own)))).await;
    host.bridge.attach(&another).await;
    assert_eq!(output(&another, "mcp_s_fail", json!({})).await, own("mcp_s_fail"));
    assert_eq!(server.calls().len(), 1);
    host.manager.remove(&slug).await.unwrap();
    assert!(executor.session("s").await.is_none());
}

#[tokio::test]
async fn it_works_in_a_runtime() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    host.add("S", &server, &["echo"]).await;
    let runtime = Runtime::new();
    runtime.set_executor(executor).await;
    host.bridge.attach(&runtime).await;
    assert_eq!(output(&runtime, "mcp_s_echo", json!({"text": "x"})).await, json!("x"));
}
