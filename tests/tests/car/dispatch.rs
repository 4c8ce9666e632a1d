//! What an action gets, and how it ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use car_engine::{McpSession, McpToolExecutor, ToolExecutor};
use car_ir::{ActionStatus, ToolInvocationMode, ToolStatus};
use connectors_core::car::ResultShape;
use connectors_tests::deadline::{poll, soon};
use connectors_tests::mcp_server::Gate;
use connectors_tests::{Script, Tool};
use serde_json::json;

use crate::host::{Host, Own, action, error, execute, output, proposal, run, schema};

#[tokio::test]
async fn thirty_two_actions_on_one_connector_are_at_its_server_at_once() {
    let gate = Gate::default();
    let server = Script::modern().with_tools([Tool::waiting(&gate)]).start();
    let host = Host::new().await;
    host.add("S", &server, &["wait"]).await;
    let runtime = host.runtime().await;
    let actions = (0..32).map(|n| action(&format!("a{n}"), "mcp_s_wait", json!({}))).collect();
    let all = proposal(actions);
    let opened = async {
        server.record().wait_for("32 calls", |seen| (seen.count("tools/call") == 32).then_some(())).await;
        gate.open();
    };
    let (result, ()) =
        soon("the end of the proposal", async { tokio::join!(execute(&runtime, &all), opened) }).await;
    assert!(result.results.iter().all(|result| result.status == ActionStatus::Succeeded), "{result:?}");
}

#[tokio::test]
async fn results_have_the_shape_that_the_host_asks_for() {
    let server = Script::modern().with_tools([Tool::structured(), Tool::fail(), Tool::rpc_error()]).start();
    let host = Host::new().await;
    host.add("S", &server, &["structured", "fail", "rpc_error"]).await;
    let runtime = host.runtime().await;
    assert_eq!(output(&runtime, "mcp_s_structured", json!({})).await, json!(r#"{"answer":42}"#));
    let failed = (ActionStatus::Failed, "it did not work".to_owned());
    assert_eq!(error(&runtime, "mcp_s_fail", json!({})).await, failed);
    let (status, reason) = error(&runtime, "mcp_s_rpc_error", json!({})).await;
    assert_eq!(status, ActionStatus::Failed);
    assert!(reason.contains("the server is out of order"), "{reason}");

    let whole = host.bridge.executor(&runtime).with_results(ResultShape::Whole);
    runtime.set_executor(Arc::new(whole)).await;
    let result = output(&runtime, "mcp_s_structured", json!({})).await;
    assert_eq!(result["structuredContent"], json!({"answer": 42}));
    assert_eq!(error(&runtime, "mcp_s_fail", json!({})).await, failed);
}

#[tokio::test]
async fn integers_that_the_engine_would_not_take_are_rounded_in_results_that_are_handed_on_whole() {
    let tool = Tool::new("find", json!({"type": "object"}), |_| async {
        Ok(json!({"content": [], "structuredContent": {"id": 1_234_567_890_123_456_789_i64, "n": 1}}))
    });
    let server = Script::modern().with_tools([tool]).start();
    let host = Host::new().await;
    host.add("S", &server, &["find"]).await;
    let runtime = host.runtime().await;
    let expected = json!({"id": 1_234_567_890_123_456_789_i64 as f64, "n": 1});
    assert_eq!(output(&runtime, "mcp_s_find", json!({})).await["structuredContent"], expected);
    let engines = Arc::new(McpToolExecutor::new());
    host.bridge.attach_mcp(&engines).await;
    runtime.set_executor(engines).await;
    assert_eq!(output(&runtime, "mcp_s_find", json!({})).await["structuredContent"], expected);
    let whole = host.bridge.executor(&runtime).with_results(ResultShape::Whole);
    runtime.set_executor(Arc::new(whole)).await;
    assert_eq!(output(&runtime, "mcp_s_find", json!({})).await["structuredContent"], expected);
}

#[tokio::test]
async fn an_action_out_of_time_is_cancelled_at_the_server() {
    let server = Script::modern().with_tools([Tool::hang()]).start();
    let host = Host::new().await;
    host.add("S", &server, &["hang"]).await;
    let runtime = host.runtime().await;
    let mut hanging = action("a", "mcp_s_hang", json!({}));
    hanging.timeout_ms = Some(300);
    let result = soon("the end of the action", run(&runtime, hanging)).await;
    assert_eq!(result.status, ActionStatus::Failed);
    server.record().wait_for("a call given up", |seen| seen.cancelled.first().map(drop)).await;
}

#[tokio::test]
async fn executors_and_sessions_keep_to_the_time_that_they_are_given() {
    let server = Script::modern().with_tools([Tool::hang()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["hang"]).await;
    let runtime = host.runtime().await;
    // Not by way of the engine, which gives up by itself.
    let executor = host.bridge.executor(&runtime);
    let arguments = json!({});
    let outcome =
        soon("the end", executor.execute_with_action("mcp_s_hang", &arguments, "a", Some(20))).await;
    let reason = outcome.unwrap_err();
    assert!(reason.contains("took longer than 20ms"), "{reason}");
    let mut session = host.bridge.session(&slug);
    let limit = Some(Duration::from_millis(20));
    let outcome = soon("the end", session.call_tool_with_timeout("hang", arguments.clone(), limit)).await;
    let reason = outcome.unwrap_err();
    assert!(reason.contains("took longer than 20ms"), "{reason}");
}

#[tokio::test]
async fn a_proposal_that_is_dropped_takes_its_calls_along() {
    let server = Script::modern().with_tools([Tool::hang()]).start();
    let host = Host::new().await;
    host.add("S", &server, &["hang"]).await;
    let runtime = host.runtime().await;
    let task = {
        let runtime = Arc::clone(&runtime);
        tokio::spawn(async move { run(&runtime, action("a", "mcp_s_hang", json!({}))).await })
    };
    server.request_seen("tools/call").await;
    task.abort();
    server.record().wait_for("a call given up", |seen| seen.cancelled.first().map(drop)).await;
}

#[tokio::test]
async fn a_streaming_action_reports_progress_and_then_its_result() {
    let server = Script::modern().with_tools([Tool::progress(), Tool::hang()]).start();
    let host = Host::new().await;
    host.add("S", &server, &["progress", "hang"]).await;
    let runtime = host.runtime().await;
    let mut streaming = action("a", "mcp_s_progress", json!({"steps": 4}));
    streaming.invocation_mode = ToolInvocationMode::Streaming;
    let handle = run(&runtime, streaming).await.output.unwrap()["tool_handle"].as_str().unwrap().to_owned();
    let chunks = Mutex::new(Vec::new());
    poll("the last chunk", async || {
        let polled = runtime.tool_poll(&handle).await.unwrap();
        chunks.lock().unwrap().extend(polled.chunks.iter().map(|chunk| serde_json::to_value(chunk).unwrap()));
        (polled.status != ToolStatus::Running).then_some(())
    })
    .await;
    let chunks = chunks.into_inner().unwrap();
    let steps: Vec<_> =
        chunks.iter().filter(|chunk| chunk["kind"] == "progress").map(|c| c["fraction"].clone()).collect();
    assert_eq!(steps, [json!(0.25), json!(0.5), json!(0.75), json!(1.0)]);
    assert_eq!(chunks.last().unwrap()["kind"], "done");

    let mut hanging = action("b", "mcp_s_hang", json!({}));
    hanging.invocation_mode = ToolInvocationMode::LongRunning;
    let handle = run(&runtime, hanging).await.output.unwrap()["tool_handle"].as_str().unwrap().to_owned();
    server.record().wait_for("the call", |seen| (seen.count("tools/call") == 2).then_some(())).await;
    assert!(runtime.tool_cancel(&handle).await);
    server.record().wait_for("a call given up", |seen| seen.cancelled.first().map(drop)).await;
}

#[tokio::test]
async fn tools_of_others_go_to_the_fallback_and_withdrawn_ones_to_nobody() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let slug = host.add("S", &server, &["echo"]).await;
    let runtime = host.runtime().await;
    let executor = Arc::new(host.bridge.executor(&runtime).with_fallback(Arc::new(Own)));
    runtime.set_executor(Arc::<connectors_core::car::ConnectorExecutor>::clone(&executor)).await;
    runtime.register_tool_schema(schema("own")).await;
    assert_eq!(output(&runtime, "own", json!({})).await, json!("the host ran own"));
    assert_eq!(output(&runtime, "mcp_s_echo", json!({"text": "x"})).await, json!("x"));
    host.disable(&slug, &["echo"]).await;
    // As if it had been validated before it was withdrawn.
    let withdrawn = executor.execute("mcp_s_echo", &json!({"text": "x"})).await;
    let reason = "the tool `mcp_s_echo` is unknown: no connector offers it any more".to_owned();
    assert_eq!((withdrawn, server.calls().len()), (Err(reason), 1));
}

#[tokio::test]
async fn built_in_tools_work_beside_connectors_and_no_server_can_select_one() {
    let server = Script::modern()
        .with_tools([Tool::new("read_file", json!({"type": "object"}), |_| async {
            Ok(json!({"content": [{"type": "text", "text": "unknown tool: read_file"}], "isError": true}))
        })])
        .start();
    let host = Host::new().await;
    host.add("S", &server, &["read_file"]).await;
    let runtime = host.runtime().await;
    runtime.register_agent_basics().await;
    assert_eq!(output(&runtime, "calculate", json!({"expression": "6*7"})).await["result"], json!(42.0));
    let (status, reason) = error(&runtime, "mcp_s_read_file", json!({})).await;
    let told = "the server says: unknown tool: read_file";
    assert_eq!((status, reason.as_str()), (ActionStatus::Failed, told));
}
