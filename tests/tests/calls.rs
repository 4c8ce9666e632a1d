//! Calls of enabled tools: what they return, how they are given up, what is told of them meanwhile.

use connectors_tests::deadline::soon;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::mcp_server::{Gate, Signal};
use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, call, start};

#[tokio::test]
async fn a_result_comes_as_the_server_wrote_it_with_the_calls_id_and_duration() {
    let server = Script::modern().with_tools([Tool::structured(), Tool::fail()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["structured", "fail"]).await;
    let result = session.must("connectors.call_tool", call(&slug, "structured", json!({}))).await;
    assert_eq!(result["content"], json!([{"type": "text", "text": r#"{"answer":42}"#}]));
    assert_eq!(result["structuredContent"], json!({"answer": 42}));
    assert_eq!(result["isError"], false);
    assert!(result["call_id"].is_string() && result["duration_ms"].is_u64(), "{result}");

    let result = session.must("connectors.call_tool", call(&slug, "fail", json!({}))).await;
    assert_eq!(
        [&result["isError"], &result["content"][0]["text"]],
        [&json!(true), &json!("it did not work")]
    );
}

#[tokio::test]
async fn a_json_rpc_error_of_the_server_is_an_upstream_error_with_its_code_and_message() {
    let server = Script::modern().with_tools([Tool::rpc_error()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["rpc_error"]).await;
    let error = session.must_fail("connectors.call_tool", call(&slug, "rpc_error", json!({}))).await;
    assert_eq!((error.code, error.data_code()), (-32044, "upstream_error"));
    let upstream = json!({"code": -32000, "message": "the server is out of order"});
    assert_eq!([&error.data["upstream"], &error.data["slug"]], [&upstream, &json!("s")]);
}

#[tokio::test]
async fn modern_calls_carry_the_headers_that_the_server_checks() {
    let server = Script::modern().with_tools([Tool::mirrored()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["where"]).await;
    for region in ["us-west1", "Zürich 世界", " padded ", "=?base64?literal?=", ""] {
        assert_eq!(session.text(&slug, "where", json!({"region": region})).await, region);
    }
    assert_eq!(session.text(&slug, "where", json!({})).await, "nowhere");
}

#[tokio::test]
async fn secret_headers_are_sent_and_shown_nowhere() {
    let secret = "s3cr3t-value-of-the-header";
    let server = Script::modern().with_tools([Tool::echo()]).requiring_header("x-api-key", secret).start();
    let (home, daemon, session) = start().await;
    let params = json!({"name": "Keyed", "url": server.url(), "headers": {"X-Api-Key": secret}});
    let status = session.must("connectors.add", params).await;
    assert_eq!([&status["state"], &status["secret_headers"]], [&json!("ready"), &json!(["X-Api-Key"])]);
    session.enable("keyed", &["echo"]).await;
    session.text("keyed", "echo", json!({"text": "x"})).await;
    server.seen().requests.iter().for_each(|request| assert_eq!(request.header("x-api-key"), secret));
    let shown = format!("{status}{:?}{:?}", session.list().await, session.tools("keyed").await);
    assert!(!shown.contains(secret));
    drop(session);
    assert!(!daemon.stop().await.contains(secret));
    assert_eq!(home.files_with(secret), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn large_results_and_arguments_arrive_whole() {
    let server = Script::modern().with_tools([Tool::big(), Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["big", "echo"]).await;
    let bytes = 7 << 20;
    assert_eq!(session.text(&slug, "big", json!({"bytes": bytes})).await.len(), bytes);
    let text = "y".repeat(bytes);
    assert!(session.text(&slug, "echo", json!({"text": &text})).await == text);

    let error =
        session.must_fail("connectors.call_tool", call(&slug, "big", json!({"bytes": 17 << 20}))).await;
    assert_eq!((error.code, error.data_code()), (-32046, "limit_exceeded"));
    assert_eq!(session.text(&slug, "echo", json!({"text": "still there"})).await, "still there");
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_fails_and_is_given_up_at_the_server() {
    let server = Script::modern().with_tools([Tool::hang()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["hang"]).await;
    let params = json!({"slug": slug, "tool": "hang", "timeout_ms": 200});
    let error = session.must_fail("connectors.call_tool", params).await;
    assert_eq!((error.code, error.data_code()), (-32047, "timeout"));
    given_up(&server, Signal::Disconnect).await;
    assert_eq!(session.status(&slug).await["state"], "ready");
}

/// Waits until the server has noted that a call was given up in this way.
async fn given_up(server: &McpServer, signal: Signal) {
    let what = format!("the end of the call by {signal:?}");
    let noted = server.record().wait_for(&what, |seen| {
        seen.cancelled
            .iter()
            .find(|cancelled| cancelled.method == "tools/call" && cancelled.signal == signal)
            .cloned()
    });
    noted.await;
}

/// Starts a call that hangs, cancels it, and returns the server's side of the story.
async fn cancel_reaches(script: Script, signal: Signal) {
    let server = script.with_tools([Tool::hang(), Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["hang", "echo"]).await;
    let params = json!({"slug": slug, "tool": "hang", "call_id": "the-call"});
    let reply = session.start("connectors.call_tool", params);
    server.request_seen("tools/call").await;
    session.must("connectors.cancel", json!({"call_id": "the-call"})).await;
    let error = soon("the reply", reply).await.expect("a reply").expect_err("a cancelled call");
    assert_eq!((error.code, error.data_code()), (-32051, "cancelled"));
    given_up(&server, signal).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "next"})).await, "next");
}

#[tokio::test]
async fn cancelling_a_call_closes_its_stream_at_a_modern_server() {
    cancel_reaches(Script::modern(), Signal::Disconnect).await;
}

#[tokio::test]
async fn cancelling_a_call_notifies_a_legacy_server() {
    cancel_reaches(Script::legacy(), Signal::Notification).await;
}

#[tokio::test]
async fn cancelling_a_call_notifies_a_stdio_server() {
    let folder = TempHome::new();
    let log = folder.user().join("messages");
    let script = StdioScript { log: Some(log.clone()), ..StdioScript::modern(&["hang", "echo"]) };
    let (_home, _daemon, session) = start().await;
    add_stdio(&session, &script).await;
    let reply = session.start("connectors.call_tool", json!({"slug": "s", "tool": "hang", "call_id": "c"}));
    session.event("the start of the call", |event| event["kind"] == "call_started").await;
    session.must("connectors.cancel", json!({"call_id": "c"})).await;
    assert_eq!(soon("the reply", reply).await.expect("a reply").expect_err("cancelled").code, -32051);
    connectors_tests::deadline::poll("the notification in the server's log", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.lines().any(|line| line.contains("notifications/cancelled")).then_some(())
    })
    .await;
    assert_eq!(session.text("s", "echo", json!({"text": "next"})).await, "next");
}

#[tokio::test]
async fn cancelling_what_is_not_under_way_does_no_harm() {
    let (_home, _daemon, session) = start().await;
    let reply = session.call("connectors.cancel", json!({"call_id": "never"})).await;
    assert!(reply.is_ok(), "{reply:?}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_calls_with_it() {
    let server = Script::modern().with_tools([Tool::hang(), Tool::echo()]).start();
    let (_home, daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["hang", "echo"]).await;
    let leaving = Session::open(&daemon).await;
    let _reply = leaving.start("connectors.call_tool", call(&slug, "hang", json!({})));
    server.request_seen("tools/call").await;
    drop(leaving);
    given_up(&server, Signal::Disconnect).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "I stay"})).await, "I stay");
}

#[tokio::test]
async fn a_call_that_is_under_way_when_its_connector_is_removed_ends_with_an_error() {
    let server = Script::modern().with_tools([Tool::hang()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["hang"]).await;
    let reply = session.start("connectors.call_tool", call(&slug, "hang", json!({})));
    server.request_seen("tools/call").await;
    session.must("connectors.remove", json!({"slug": slug})).await;
    let error = soon("the reply", reply).await.expect("a reply").expect_err("a removed connector");
    assert!((-32060..=-32040).contains(&error.code), "{error:?}");
    given_up(&server, Signal::Disconnect).await;
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_of_a_call_is_reported_and_reconnected() {
    let gate = Gate::default();
    let server = Script::modern().with_tools([Tool::waiting(&gate), Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["wait", "echo"]).await;
    let reply = session.start("connectors.call_tool", call(&slug, "wait", json!({})));
    server.request_seen("tools/call").await;
    let port = server.stop();
    let error = soon("the reply", reply).await.expect("a reply").expect_err("a lost connection");
    assert!([-32043, -32045].contains(&error.code), "{error:?}");
    let _server = Script::modern().with_tools([Tool::echo()]).start_on(&port);
    session.must("connectors.reconnect", json!({"slug": slug})).await;
    session.ready(&slug).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "back"})).await, "back");
}

#[tokio::test]
async fn idle_connections_that_the_server_has_closed_cost_no_call() {
    let server = Script::legacy().without_sessions().without_get_stream().with_tools([Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["echo"]).await;
    for round in 0..5 {
        server.cut_connections();
        let none =
            server.record().wait_for("the end of them", |seen| (seen.open_connections == 0).then_some(()));
        none.await;
        let text = round.to_string();
        assert_eq!(session.text(&slug, "echo", json!({"text": text})).await, text);
    }
    assert_eq!(server.calls().len(), 5);
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["echo"]).await;
    let before = server.seen().connections;
    for _ in 0..50 {
        session.text(&slug, "echo", json!({"text": "x"})).await;
    }
    let opened = server.seen().connections - before;
    assert!(opened <= 1, "{opened} connections for 50 calls");
}

#[tokio::test]
async fn a_legacy_session_that_has_expired_is_opened_anew_and_the_call_goes_through() {
    let server = Script::legacy().with_tools([Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["echo"]).await;
    server.forget_sessions();
    assert_eq!(session.text(&slug, "echo", json!({"text": "through"})).await, "through");
    assert_eq!(server.seen().sessions, 2);
}

/// The kinds of the events of one call, with its progress, in order.
async fn story(session: &Session, call_id: &str) -> Vec<(String, Value)> {
    let mut story = Vec::new();
    while story.last().is_none_or(|(kind, _): &(String, Value)| kind != "call_finished") {
        let event = session.event("an event of the call", |event| event["call_id"] == call_id).await;
        let detail = if event["kind"] == "call_finished" { &event["outcome"] } else { &event["progress"] };
        story.push((event["kind"].as_str().expect("a kind").to_owned(), detail.clone()));
    }
    story
}

/// Adds a connector to a local server with these tools, and enables them.
async fn add_stdio(session: &Session, script: &StdioScript) {
    let command = env!("CARGO_BIN_EXE_mcp-stdio-server");
    let params = json!({"name": "S", "command": command, "args": [script.argument()]});
    session.must("connectors.add_stdio", params).await;
    session.ready("s").await;
    let tools: Vec<_> = script.tools.iter().map(String::as_str).collect();
    session.enable("s", &tools).await;
}

#[tokio::test]
async fn a_calls_start_progress_and_end_are_events_in_order_over_http() {
    for script in [Script::modern(), Script::legacy()] {
        let server = script.with_tools([Tool::progress()]).start();
        let (_home, _daemon, session) = start().await;
        let slug = session.add_with("s", &server, &["progress"]).await;
        let params = json!({"slug": slug, "tool": "progress", "arguments": {"steps": 3}, "call_id": "c1"});
        let result = session.must("connectors.call_tool", params).await;
        assert_eq!(result["content"][0]["text"], "3 steps done");
        let told = [
            ("call_started", json!(null)),
            ("call_progress", json!(1.0)),
            ("call_progress", json!(2.0)),
            ("call_progress", json!(3.0)),
            ("call_finished", json!("ok")),
        ];
        assert_eq!(story(&session, "c1").await, told.map(|(kind, detail)| (kind.to_owned(), detail)));
    }
}

#[tokio::test]
async fn progress_over_stdio_arrives_while_the_call_is_under_way() {
    for script in [StdioScript::modern(&["pause", "resume"]), StdioScript::legacy(&["pause", "resume"])] {
        let (_home, _daemon, session) = start().await;
        add_stdio(&session, &script).await;
        let params = json!({"slug": "s", "tool": "pause", "arguments": {"steps": 3}, "call_id": "c1"});
        let reply = session.start("connectors.call_tool", params);
        for step in 1..=3 {
            let event = session.event("progress", |event| event["kind"] == "call_progress").await;
            let told = [&event["call_id"], &event["progress"], &event["total"], &event["message"]];
            assert_eq!(told, [&json!("c1"), &json!(f64::from(step)), &json!(3.0), &json!("working")]);
        }
        assert_eq!(session.text("s", "resume", json!({})).await, "open");
        let result = soon("the reply", reply).await.expect("a reply").expect("a result");
        assert_eq!(result["content"][0]["text"], "resumed");
    }
}

#[tokio::test]
async fn how_a_call_ended_is_in_its_last_event() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::fail(), Tool::rpc_error()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["echo", "fail", "rpc_error"]).await;
    for (tool, outcome) in [("echo", "ok"), ("fail", "tool_error"), ("rpc_error", "upstream_error")] {
        let params = json!({"slug": slug, "tool": tool, "arguments": {"text": "x"}, "call_id": tool});
        let _ = session.call("connectors.call_tool", params).await;
        let last = story(&session, tool).await.pop().expect("an end");
        assert_eq!(last, ("call_finished".to_owned(), json!(outcome)));
    }
}

#[tokio::test]
async fn after_unsubscribing_no_event_comes() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let (_home, daemon, session) = start().await;
    let quiet = daemon.client().await;
    let mut events = quiet.subscribe().await;
    let slug = session.add_with("s", &server, &["echo"]).await;
    events.find("the catalogue", |event| event["kind"] == "catalogue" && event["enabled_count"] == 1).await;
    quiet.must("connectors.unsubscribe", json!({})).await;
    events.arrived();
    session.text(&slug, "echo", json!({"text": "x"})).await;
    // A reply comes after every event that was sent before it.
    quiet.must("connectors.list", json!({})).await;
    assert_eq!(events.arrived(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_caller_that_is_slow_to_read_loses_events_but_no_reply() {
    let server = Script::modern().with_tools([Tool::progress(), Tool::echo()]).start();
    let (_home, daemon, session) = start().await;
    let slug = session.add_with("s", &server, &["progress", "echo"]).await;
    let slow = daemon.authenticated(connectors_tests::WsClient::connect_narrow(daemon.address()).await).await;
    let mut events = slow.subscribe().await;
    slow.read(false);
    let replies: Vec<_> = (0..20)
        .map(|n| slow.start("connectors.call_tool", call(&slug, "echo", json!({"text": n.to_string()}))))
        .collect();
    let flood = json!({"steps": 3000, "message": "x".repeat(8 << 10)});
    assert_eq!(session.text(&slug, "progress", flood).await, "3000 steps done");
    slow.read(true);
    for (n, reply) in replies.into_iter().enumerate() {
        let result = soon("the reply", reply).await.expect("a reply").expect("a result");
        assert_eq!(result["content"][0]["text"], n.to_string());
    }
    let overflow = events.find("the overflow", |event| event["kind"] == "overflow").await;
    let lost = overflow.as_object().expect("an object").values().filter_map(Value::as_u64).max();
    assert!(lost > Some(0), "{overflow}");
}
