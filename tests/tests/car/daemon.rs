//! The daemon with a runtime behaves as the one without.

use std::path::PathBuf;

use car_engine::EventKind;
use car_eventlog::EventLog;
use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::Gate;
use connectors_tests::{Daemon, Script, TempHome, Tool, WsClient};
use serde_json::{Value, json};

pub(crate) async fn start() -> (TempHome, RunningDaemon, WsClient) {
    let home = TempHome::new();
    let (daemon, client) = start_on(&home).await;
    (home, daemon, client)
}

async fn start_on(home: &TempHome) -> (RunningDaemon, WsClient) {
    let daemon = Daemon::new(env!("CARGO_BIN_EXE_daemon-under-test"))
        .with_variable("CONNECTORS_CAR_JOURNAL", journal(home).to_str().unwrap());
    let daemon = daemon.start(home).await;
    let client = daemon.client().await;
    (daemon, client)
}

fn journal(home: &TempHome) -> PathBuf {
    home.user().join("journal.jsonl")
}

/// The journal of a daemon that has ended, verified.
fn read(home: &TempHome) -> EventLog {
    let log = EventLog::load_read_only(&journal(home)).unwrap();
    assert!(!log.is_empty());
    assert_eq!(log.verify_chain(), Ok(log.len()));
    log
}

fn count(log: &EventLog, kind: &EventKind) -> usize {
    log.filter(Some(kind), None).len()
}

/// What the log tells of rules, and of calls that were refused.
fn refusals(log: &EventLog) -> Vec<Value> {
    let told = log.filter(Some(&EventKind::AdmissionGateDecision), None).into_iter().map(|event| {
        let of = |name: &str| event.data.get(name).cloned().unwrap_or_default();
        json!([of("origin"), of("gate"), of("decision"), of("rule"), of("server_tool"), of("reason")])
    });
    told.filter(|told| told[1] == "connector_rule" || (told[1] == "connector_call" && told[2] == "reject"))
        .collect()
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

    let mut events = client.subscribe().await;
    let rule = json!({"rule": "deny_connector", "target": "s", "name": "r"});
    client.must("policy.register", rule).await;
    let error = client.must_fail("connectors.call_tool", call("add", json!({"a": 1, "b": 1}))).await;
    assert_eq!((error.code, error.data_code()), (-32041, "unknown_tool"));
    let refused = events.find("a refusal", |event| event["kind"] == "call_refused").await;
    assert_eq!(
        [&refused["slug"], &refused["tool"], &refused["code"], &refused["reason"]],
        ["s", "add", "unknown_tool", "denied by the policy rule `r`"]
    );
    assert_eq!(client.must("policy.unregister", json!({"name": "r"})).await, json!({"unregistered": true}));
    let result = client.must("connectors.call_tool", call("add", json!({"a": 1, "b": 1}))).await;
    assert_eq!(result["content"][0]["text"], "2");
    drop(client);
    daemon.stop().await;

    let log = read(&home);
    assert_eq!(count(&log, &EventKind::ActionSucceeded), 2, "{:?}", log.events());
    let rule = |decision: &str| json!(["connector:s", "connector_rule", decision, "r", null, null]);
    let refused =
        json!(["connector:s", "connector_call", "reject", null, "add", "denied by the policy rule `r`"]);
    assert_eq!(refusals(&log), [rule("reject"), refused, rule("allow")]);
}

#[tokio::test]
async fn arguments_that_the_engine_would_not_take_reach_the_server_as_they_are() {
    let schema = json!({"type": "object", "required": ["id"],
        "properties": {"id": {"type": "integer"}, "note": {"type": "string"}}});
    let tool = Tool::echo().named("look_up").with_member("inputSchema", schema);
    let server = Script::modern().with_tools([tool]).start();
    let (home, daemon, client) = start().await;
    client.must("connectors.add", json!({"name": "S", "url": server.url()})).await;
    client.must("connectors.enable_tools", json!({"slug": "s", "tools": ["look_up"]})).await;
    let given = [
        json!({"id": 1, "note": null}),
        json!({"id": 1_234_567_890_123_456_789_i64}),
        json!({"id": u64::MAX, "note": null}),
    ];
    for arguments in &given {
        client.must("connectors.call_tool", call("look_up", arguments.clone())).await;
    }
    let error = client.must_fail("connectors.call_tool", call("look_up", json!({"id": null}))).await;
    assert_eq!((error.code, error.data_code()), (-32050, "invalid_arguments"));
    let arrived: Vec<Value> =
        server.calls().iter().map(|request| request.body["params"]["arguments"].clone()).collect();
    assert_eq!(arrived, given);
    drop(client);
    daemon.stop().await;
    assert_eq!(count(&read(&home), &EventKind::ActionSucceeded), 3);
}

#[tokio::test]
async fn the_journal_is_one_chain_over_every_run_of_the_daemon() {
    let server = Script::modern().with_tools([Tool::add()]).start();
    let home = TempHome::new();
    for run in 1..=3 {
        let (daemon, client) = start_on(&home).await;
        if run == 1 {
            client.must("connectors.add", json!({"name": "S", "url": server.url()})).await;
            client.must("connectors.enable_tools", json!({"slug": "s", "tools": ["add"]})).await;
        }
        client.must("connectors.call_tool", call("add", json!({"a": 1, "b": 1}))).await;
        client
            .must("policy.register", json!({"rule": "deny_connector", "target": "s", "name": "last"}))
            .await;
        drop(client);
        daemon.stop().await;
        let log = read(&home);
        assert_eq!(count(&log, &EventKind::ActionSucceeded), run);
        assert_eq!(refusals(&log).len(), run, "the last that was done is there");
        // And the log has waited for it.
        assert_eq!(log.events().last().unwrap().kind, EventKind::StateSnapshot);
    }
}
