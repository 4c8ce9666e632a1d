//! Calls through a runtime, each as a proposal of its own.

use std::sync::Arc;
use std::time::Duration;

use car_engine::{EventKind, Runtime};
use connectors_core::car::{GovernedCalls, GovernedError};
use connectors_core::manager::CallRequest;
use connectors_core::{ConnectorError, Slug};
use connectors_tests::deadline::{poll, soon};
use connectors_tests::{Script, Tool};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::host::{Host, output};

async fn governed(host: &Host) -> GovernedCalls {
    let runtime = Arc::new(Runtime::new());
    runtime.set_executor(Arc::new(host.bridge.executor(&runtime))).await;
    GovernedCalls::through(runtime, &host.bridge).await
}

/// The server's result, whole.
async fn call(calls: &GovernedCalls, slug: &Slug, tool: &str, arguments: Value) -> Value {
    let result = calls.call_tool(CallRequest::new(slug.clone(), tool, arguments)).await.unwrap();
    serde_json::from_str(result.outcome.raw().get()).unwrap()
}

#[tokio::test]
async fn the_log_says_of_a_call_what_its_caller_is_told() {
    let found = json!({"content": [], "structuredContent": {"id": 1_234_567_890_123_456_789_i64}});
    let tool = {
        let found = found.clone();
        Tool::new("find", json!({"type": "object"}), move |_| {
            let found = found.clone();
            async move { Ok(found) }
        })
    };
    let server = Script::modern().with_tools([tool, Tool::fail(), Tool::rpc_error()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["find", "fail", "rpc_error"]).await;
    let calls = governed(&host).await;
    let result = call(&calls, &slug, "find", json!({})).await;
    assert_eq!(result["structuredContent"], found["structuredContent"]);
    assert_eq!(call(&calls, &slug, "fail", json!({})).await["isError"], true);
    let refused = calls.call_tool(CallRequest::new(slug.clone(), "rpc_error", json!({}))).await;
    assert_eq!(refused.unwrap_err().to_string(), "the server of `s` answered with error -32000");

    let log = calls.runtime().log.lock().await;
    let ended = log
        .events()
        .iter()
        .filter(|event| matches!(event.kind, EventKind::ActionSucceeded | EventKind::ActionFailed));
    let ended: Vec<_> =
        ended.map(|event| json!([event.kind, event.data["tool"], event.data.get("error")])).collect();
    // Nothing that the server says: that is the caller's.
    assert_eq!(
        ended,
        [
            json!([EventKind::ActionSucceeded, "mcp_s_find", null]),
            json!([EventKind::ActionFailed, "mcp_s_fail", "the tool has failed: tool_error"]),
            json!([EventKind::ActionFailed, "mcp_s_rpc_error", "the call has failed: upstream_error"]),
        ]
    );
}

#[tokio::test]
async fn calls_are_made_even_where_the_runtime_keeps_results_and_leave_none_there() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["echo"]).await;
    let calls = governed(&host).await;
    calls.runtime().enable_tool_cache("mcp_s_echo", 3600).await;
    for _ in 0..2 {
        let result = call(&calls, &slug, "echo", json!({"text": "x"})).await;
        assert_eq!(result["content"][0]["text"], "x");
    }
    for _ in 0..2 {
        assert_eq!(output(calls.runtime(), "mcp_s_echo", json!({"text": "x"})).await, json!("x"));
    }
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test]
async fn a_call_is_cancelled_by_its_id_which_is_free_for_another_then() {
    let server = Script::modern().with_tools([Tool::sleep(), Tool::echo()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["sleep", "echo"]).await;
    let calls = Arc::new(governed(&host).await);
    let request = |tool: &str| {
        let arguments = json!({"text": "x", "ms": 600_000});
        let mut request = CallRequest::new(slug.clone(), tool, arguments);
        request.call_id = Some("mine".into());
        request
    };
    let hanging = tokio::spawn({
        let (calls, request) = (Arc::clone(&calls), request("sleep"));
        async move { calls.call_tool(request).await }
    });
    poll("the call", async || (server.calls().len() == 1).then_some(())).await;
    let taken = calls.call_tool(request("echo")).await.unwrap_err().to_string();
    assert_eq!(taken, "`call_id`: a call with this id is under way");
    assert!(host.manager.cancel("mine"));
    let error = soon("the end of the call", hanging).await.unwrap().unwrap_err();
    assert!(matches!(error, GovernedError::Connector(ConnectorError::Cancelled { .. })), "{error}");
    assert!(!host.manager.cancel("mine"));
    assert_eq!(calls.call_tool(request("echo")).await.unwrap().outcome.text(), "x");
}

#[tokio::test]
async fn a_call_that_the_runtime_does_not_dispatch_can_be_cancelled_and_has_its_time() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["echo"]).await;
    let calls = governed(&host).await;
    let request = |timeout: Option<Duration>| {
        let mut request = CallRequest::new(slug.clone(), "echo", json!({"text": "x"}));
        (request.call_id, request.timeout) = (Some("mine".into()), timeout);
        request
    };
    // The engine waits for it before it dispatches anything.
    let locked = calls.runtime().log.lock().await;
    let mut waiting = std::pin::pin!(calls.call_tool(request(None)));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(host.manager.cancel("mine"));
    let error = soon("the end of the call", waiting).await.unwrap_err();
    assert!(matches!(error, GovernedError::Connector(ConnectorError::Cancelled { .. })), "{error}");
    let limit = Duration::from_millis(20);
    let error = soon("the end of the call", calls.call_tool(request(Some(limit)))).await.unwrap_err();
    assert_eq!(error.to_string(), "`s`: the host's runtime took longer than 20ms");
    drop(locked);
    assert_eq!(calls.call_tool(request(None)).await.unwrap().outcome.text(), "x");
    assert_eq!(server.calls().len(), 1);
}
