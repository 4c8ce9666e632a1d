//! What is attached to a runtime, and what else is in it.

use std::sync::{Arc, OnceLock};

use car_engine::{EventKind, Runtime, ToolEntry, ToolExecutor, ToolPermission, ToolSchema, ToolSource};
use car_ir::{ActionStatus, FailureBehavior};
use connectors_core::Slug;
use connectors_core::car::CarBridge;
use connectors_core::manager::Route;
use connectors_tests::deadline::poll;
use connectors_tests::{Script, Tool};
use serde_json::{Value, json};

use crate::host::{Host, Own, action, listed, output, run, schema, strings};

#[tokio::test]
async fn a_tool_of_the_hosts_own_keeps_its_name_and_stays_when_the_connectors_goes() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::add()]).start();
    let host = Host::new().await;
    let runtime = Runtime::new();
    // Called as the connector will be, and one that is in no registry.
    let source = ToolSource::Mcp { server_name: "s".to_owned() };
    let entry = ToolEntry::new(schema("mcp_s_echo")).with_source(source);
    runtime.register_tool_entry(entry.with_permission(ToolPermission::Allow)).await;
    runtime.register_tool_schema(schema("mcp_s_add")).await;
    let before = (runtime.registry.names().await, schemas(&runtime).await);

    let executor = host.bridge.executor(&runtime).with_fallback(Arc::new(Own));
    runtime.set_executor(Arc::new(executor)).await;
    host.bridge.attach(&runtime).await;
    let slug = host.add("S", &server, &["echo", "add"]).await;
    assert_eq!(host.routed(), strings(&["mcp_s_add", "mcp_s_echo"]).into_iter().collect());
    // Nor does a rule against the connector touch them.
    host.bridge.deny_connector(&runtime, "rule", slug.clone()).await;
    for tool in ["mcp_s_echo", "mcp_s_add"] {
        assert_eq!(output(&runtime, tool, json!({})).await, json!(format!("the host ran {tool}")));
    }
    assert!(host.bridge.allow_connector(&runtime, "rule").await);
    host.disable(&slug, &["echo", "add"]).await;
    assert_eq!((runtime.registry.names().await, schemas(&runtime).await), before);
    assert_eq!(server.calls().len(), 0);

    // Once a name is free, the next change of the routes brings the connector's tool.
    host.enable(&slug, &["echo"]).await;
    assert!(runtime.unregister_tool("mcp_s_echo").await);
    host.enable(&slug, &["add"]).await;
    assert_eq!(output(&runtime, "mcp_s_echo", json!({"text": "x"})).await, json!("x"));
    assert_eq!(output(&runtime, "mcp_s_add", json!({})).await, json!("the host ran mcp_s_add"));

    // A tool that takes the name of a connector's is the host's from then on.
    runtime.register_tool_entry(ToolEntry::new(schema("mcp_s_echo"))).await;
    host.bridge.deny_connector(&runtime, "rule", slug.clone()).await;
    assert_eq!(output(&runtime, "mcp_s_echo", json!({})).await, json!("the host ran mcp_s_echo"));
    assert!(host.bridge.allow_connector(&runtime, "rule").await);
    host.manager.remove(&slug).await.unwrap();
    let all: std::collections::BTreeSet<String> = strings(&["mcp_s_add", "mcp_s_echo"]).into_iter().collect();
    assert_eq!(listed(&runtime).await, (strings(&["mcp_s_echo"]).into_iter().collect(), all));
    assert_eq!(server.calls().len(), 1);
}

async fn schemas(runtime: &Runtime) -> Vec<ToolSchema> {
    let mut schemas = runtime.tool_schemas().await;
    schemas.sort_by(|one, other| one.name.cmp(&other.name));
    schemas
}

#[tokio::test]
async fn a_rule_that_comes_during_an_action_is_in_force_for_its_retries() {
    let scene: Arc<OnceLock<(CarBridge, Arc<Runtime>, Slug)>> = Arc::default();
    let tool = {
        let scene = Arc::clone(&scene);
        Tool::new("fail", json!({"type": "object"}), move |_| {
            let scene = Arc::clone(&scene);
            async move {
                let (bridge, runtime, slug) = scene.get().unwrap();
                bridge.deny_connector(runtime, "rule", slug.clone()).await;
                Ok(json!({"content": [{"type": "text", "text": "again"}], "isError": true}))
            }
        })
    };
    let server = Script::modern().with_tools([tool]).start();
    let host = Host::new().await;
    let runtime = host.runtime().await;
    let slug = host.add("S", &server, &["fail"]).await;
    scene.set((host.bridge.clone(), Arc::clone(&runtime), slug)).ok().unwrap();
    let mut retried = action("a", "mcp_s_fail", json!({}));
    (retried.failure_behavior, retried.max_retries) = (FailureBehavior::Retry, 1);
    let result = run(&runtime, retried).await;
    let reason = "the connector `s` is denied by the rule `rule`";
    assert_eq!((result.status, result.error.as_deref()), (ActionStatus::Failed, Some(reason)));
    assert_eq!(server.calls().len(), 1);
    assert_eq!(decisions(&host, &runtime, "deny_connector").await, [json!("reject")]);
    // Not what is streamed either.
    let streamed = host.bridge.executor(&runtime).execute_stream("mcp_s_fail", &json!({}), "b").await;
    assert_eq!(streamed.map(drop), Err(reason.to_owned()));
    assert_eq!(server.calls().len(), 1);
}

/// What the log holds of one gate.
async fn decisions(host: &Host, runtime: &Runtime, gate: &str) -> Vec<Value> {
    host.bridge.recorded().await;
    let log = runtime.log.lock().await;
    let ours = log.events().iter().filter(|event| event.kind == EventKind::AdmissionGateDecision);
    ours.filter(|event| event.data["gate"] == gate).map(|event| event.data["decision"].clone()).collect()
}

#[tokio::test]
async fn a_log_follows_once_whatever_else_was_made_for_its_runtime_before() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = Runtime::new();
    let executor = host.bridge.executor(&runtime);
    let nobody = Slug::verbatim("nobody");
    drop(host.bridge.denial(&runtime, "rule", nobody.clone()));
    host.bridge.deny_connector(&runtime, "rule", nobody).await;
    host.bridge.record_into(&runtime.log).await;
    runtime.set_executor(Arc::new(executor)).await;
    host.bridge.attach(&runtime).await;
    let slug = host.add("S", &server, &["echo"]).await;
    assert_eq!(output(&runtime, "mcp_s_echo", json!({"text": "x"})).await, json!("x"));
    host.disable(&slug, &["echo"]).await;
    let all = decisions(&host, &runtime, "connector_tools").await;
    assert_eq!(all, [json!("allow"), json!("reject")]);
}

#[tokio::test]
async fn runtimes_that_are_gone_leave_nothing_running() {
    let host = Host::new().await;
    let _kept = host.runtime().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..50 {
        drop(host.runtime().await);
    }
    // Noticed when another comes.
    let _last = host.runtime().await;
    poll("the tasks of fifty runtimes to end", async || (tasks() <= before + 3).then_some(())).await;
}

#[tokio::test]
async fn the_hosts_rule_for_what_the_user_is_asked_is_in_the_registry() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::add()]).start();
    let host = Host::new().await;
    let ask = Arc::new(|route: &Route| match route.tool.name.as_str() {
        "echo" => ToolPermission::Deny,
        _ => ToolPermission::AskUser,
    });
    let bridge = CarBridge::with_permissions(host.manager.clone(), ask).await;
    let runtime = Runtime::new();
    bridge.attach(&runtime).await;
    host.add("S", &server, &["echo", "add"]).await;
    let permission = async |tool: &str| runtime.registry.get(tool).await.unwrap().permission;
    assert_eq!(permission("mcp_s_echo").await, ToolPermission::Deny);
    assert_eq!(permission("mcp_s_add").await, ToolPermission::AskUser);
    let allowed = runtime.registry.allowed_schemas().await.into_iter().map(|schema| schema.name);
    assert_eq!(allowed.collect::<Vec<_>>(), ["mcp_s_add"]);
}
