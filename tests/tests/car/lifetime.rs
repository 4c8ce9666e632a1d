//! What keeps a manager alive, and what does not.

use std::sync::Arc;

use car_engine::{EventLog, McpToolExecutor, Runtime, ToolExecutor};
use connectors_tests::deadline::poll;
use connectors_tests::{Script, Tool};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::host::{Host, listed, output};

fn text() -> Value {
    json!({"text": "x"})
}

#[tokio::test]
async fn an_executor_of_the_engines_leaves_no_manager_behind() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    host.add("S", &server, &["echo"]).await;
    assert_eq!(executor.execute("mcp_s_echo", &text()).await, Ok(json!("x")));
    drop(executor);
    // No route changes from here on.
    host.end().await;
}

#[tokio::test]
async fn an_executor_of_the_engines_that_lives_on_keeps_no_manager_and_refuses_every_call() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let executor = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&executor).await;
    host.add("S", &server, &["echo"]).await;
    let session = executor.session("s").await.unwrap();
    host.end().await;
    let reason = "the connector `s` is gone with all others of this host".to_owned();
    assert_eq!(session.lock().await.call_tool("echo", text()).await, Err(reason));
    poll("its routes to go", async || (!executor.handles("mcp_s_echo").await).then_some(())).await;
    poll("its session to go", async || executor.session("s").await.is_none().then_some(())).await;
    assert_eq!(server.calls().len(), 0);
}

#[tokio::test]
async fn neither_runtimes_nor_logs_nor_rules_keep_a_manager() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let (runtime, log) = (Runtime::new(), Arc::new(Mutex::new(EventLog::new())));
    host.bridge.attach(&runtime).await;
    host.bridge.record_into(&log).await;
    let slug = host.add("S", &server, &["echo"]).await;
    host.bridge.deny_connector(&runtime, "rule", slug.clone()).await;
    let denial = host.bridge.denial(&runtime, "other", slug);
    assert_eq!(listed(&runtime).await.0.len(), 1);
    host.end().await;
    let nothing = Default::default();
    poll("its tools to go", async || (listed(&runtime).await == nothing).then_some(())).await;
    // A name that was the connector's stays denied.
    let action = crate::host::action("a", "mcp_s_echo", text());
    let denied = denial(&action, &runtime.state);
    assert_eq!(denied.as_deref(), Some("the connector `s` is denied by the rule `other`"));
}

#[tokio::test]
async fn executors_and_sessions_that_a_bridge_has_made_keep_the_manager() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = host.runtime().await;
    let slug = host.add("S", &server, &["echo"]).await;
    let mut session = host.bridge.session(&slug);
    let ended = tokio::spawn(host.end());
    assert_eq!(output(&runtime, "mcp_s_echo", text()).await, json!("x"));
    drop(runtime);
    let called = car_engine::McpSession::call_tool(&mut session, "echo", text()).await;
    assert_eq!((called, ended.is_finished()), (Ok(json!("x")), false));
    drop(session);
    ended.await.unwrap();
}
