//! The daemon with a runtime behaves as the one without.

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::Gate;
use connectors_tests::{Daemon, Script, TempHome, Tool, WsClient};
use serde_json::{Value, json};

pub(crate) async fn start() -> (TempHome, RunningDaemon, WsClient) {
    let home = TempHome::new();
    let journal = home.user().join("journal.jsonl");
    let daemon = Daemon::new(env!("CARGO_BIN_EXE_daemon-under-test"))
        .with_variable("CONNECTORS_CAR_JOURNAL", journal.to_str().unwrap());
    let daemon = daemon.start(&home).await;
    let client = daemon.client().await;
    (home, daemon, client)
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({"slug": "s", "tool": tool, "arguments": arguments})
}

#[tokio::test]
async fn a_call_is_a_proposal_and_its_result_and_errors_are_those_of_the_daemon_without_a_runtime() {
    let gate = Gate::default();
    let server = Script::modern()
        .with_tools([Tool::structured(), Tool::add(), Tool::fail(), Tool::rpc_error(), Tool::waiting(&gate)])
        .start();
    let (home, daemon, client) = start().await;
    client.must("connectors.add", json!({"name": "S", "url": server.url()})).await;
    let tools = json!({"slug": "s", "tools": ["structured", "add", "fail", "rpc_error", "wait"]});
    client.must("connectors.enable_tools", tools).await;

    let result = client.must("connectors.call_tool", call("structured", json!({}))).await;
    assert_eq!(result["structuredContent"], json!({"answer": 42}));
    assert!(result["call_id"].is_string() && result["duration_ms"].is_u64(), "{result}");
    let result = client.must("connectors.call_tool", call("fail", json!({}))).await;
    assert_eq!(result["isError"], true);
    let error = client.must_fail("connectors.call_tool", call("rpc_error", json!({}))).await;
    assert_eq!((error.code, &error.data["upstream"]["code"]), (-32044, &json!(-32000)));
    let error = client.must_fail("connectors.call_tool", call("add", json!({"a": "x", "b": 1}))).await;
    assert_eq!((error.code, error.data_code()), (-32050, "invalid_arguments"));
    let error = client.must_fail("connectors.call_tool", call("nothing", json!({}))).await;
    assert_eq!((error.code, error.data_code()), (-32041, "unknown_tool"));

    let mut named = call("wait", json!({}));
    named["call_id"] = json!("mine");
    let (error, cancelled) = tokio::join!(client.must_fail("connectors.call_tool", named), async {
        server.record().wait_for("the call", |seen| (seen.count("tools/call") == 4).then_some(())).await;
        client.must("connectors.cancel", json!({"call_id": "mine"})).await
    });
    assert_eq!((error.code, cancelled), (-32051, json!({"cancelled": true})));

    let rule = json!({"rule": "deny_connector", "target": "s", "name": "r"});
    client.must("policy.register", rule).await;
    let error = client.must_fail("connectors.call_tool", call("add", json!({"a": 1, "b": 1}))).await;
    assert_eq!((error.code, error.data_code()), (-32041, "unknown_tool"));
    assert_eq!(client.must("policy.unregister", json!({"name": "r"})).await, json!({"unregistered": true}));
    let result = client.must("connectors.call_tool", call("add", json!({"a": 1, "b": 1}))).await;
    assert_eq!(result["content"][0]["text"], "2");
    drop(client);
    daemon.stop().await;

    let journal = std::fs::read_to_string(home.user().join("journal.jsonl")).unwrap();
    let events: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!(count("action_succeeded"), 2, "{events:?}");
    assert!(events.iter().any(|event| event["data"]["origin"] == "connector:s"));
    assert!(events.windows(2).all(|pair| pair[1]["prev_hash"] == pair[0]["hash"]));
}
