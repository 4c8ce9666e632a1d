//! Calls that are under way when something breaks: each row of `docs/calls-in-flight.md`, in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Response;
use connectors_core::manager::{CallRequest, NewConnector};
use connectors_core::protocol::Era;
use connectors_core::{ConnectorError, ConnectorManager, Slug, StateName, StdioCommand};
use connectors_http::HttpDialer;
use connectors_stdio::StdioDialer;
use connectors_tests::deadline::{poll, soon};
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::mcp_server::{Gate, Port};
use connectors_tests::{Fault, McpServer, Script, Stage, TempHome, Tool};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::http_transport::server::{
    Call, Server, answer, events, json as json_answer, open_events, status, with,
};

/// A host with one connector, whose tools are enabled.
struct Host {
    manager: ConnectorManager,
    slug: Slug,
}

impl Host {
    async fn of(url: String) -> Self {
        Self::connect(NewConnector::http("Under test", url, Vec::new())).await
    }

    async fn connect(new: NewConnector) -> Self {
        let manager = ConnectorManager::builder()
            .with_dialer(Arc::new(StdioDialer::new()))
            .with_dialer(Arc::new(HttpDialer::new()))
            .start()
            .await;
        let status = manager.add(new).await.expect("a definition that can be stored");
        assert_eq!((status.state, status.last_error), (StateName::Ready, None));
        let slug = status.slug;
        let tools = manager.tools(&slug).expect("a catalogue");
        let tools: Vec<String> = tools.into_iter().map(|tool| tool.name).collect();
        manager.enable_tools(&slug, &tools).await.expect("tools that can be enabled");
        Self { manager, slug }
    }

    /// The text of a call's result, or what became of it.
    async fn call(&self, tool: &str, arguments: Value) -> Result<String, ConnectorError> {
        let request = CallRequest::new(self.slug.clone(), tool, arguments);
        let result = soon("the end of the call", self.manager.call_tool(request)).await?;
        Ok(result.outcome.text())
    }

    /// Calls `echo`, which must fail with this code.
    async fn fails(&self, code: &str) {
        let error = self.call("echo", json!({"text": "x"})).await.expect_err("it cannot be answered");
        assert_eq!(error.code(), code, "{error:?}");
    }

    /// Waits until `echo` is answered again, without anyone having asked for a connection.
    async fn works_again(&self) {
        poll("a call that goes through again", async || {
            self.call("echo", json!({"text": "back"})).await.ok().filter(|text| text == "back")
        })
        .await;
    }
}

fn script(era: Era) -> Script {
    match era {
        Era::Legacy => Script::legacy(),
        Era::Modern => Script::modern(),
    }
}

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// A call at which the server does this fails, having been sent once; the next one works.
async fn is_lost_and_not_sent_again(fault: Fault) {
    for era in ERAS {
        let server = script(era).with_tools([Tool::echo()]).start();
        let host = Host::of(server.url()).await;
        server.break_at(Stage::Call, fault.clone());
        host.fails("not_connected").await;
        assert_eq!(server.calls().len(), 1, "{era:?}");
        server.repair();
        host.works_again().await;
    }
}

#[tokio::test]
async fn a_call_whose_connection_is_closed_before_the_answer_is_lost() {
    is_lost_and_not_sent_again(Fault::Drop).await;
}

#[tokio::test]
async fn a_call_whose_json_answer_is_cut_is_lost() {
    is_lost_and_not_sent_again(Fault::Truncate).await;
}

#[tokio::test]
async fn a_call_whose_stream_is_cut_without_an_event_id_is_lost() {
    is_lost_and_not_sent_again(Fault::SseWithoutAnswer).await;
}

/// A server whose stream of the first call breaks off after an event with an id; `resume` answers the request for the rest of
/// it, given the id of the call.
async fn breaking_off(era: Era, resume: fn(&Value) -> Response<Body>) -> Server {
    let called = std::sync::Mutex::new(Value::Null);
    Server::start(move |call: Call| {
        let body = call.body();
        let result = |mut result: Value| {
            result["resultType"] = json!("complete");
            json_answer(&json!({"jsonrpc": "2.0", "id": body["id"], "result": result}))
        };
        let response = match (call.what().as_str(), era) {
            ("server/discover", Era::Modern) => {
                result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
            }
            ("initialize", Era::Legacy) => {
                let result = result(json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}));
                with(result, "mcp-session-id", "s")
            }
            ("tools/list", _) => result(json!({"tools": [Tool::echo().definition()]})),
            ("tools/call", _) => {
                let mut called = called.lock().expect("nobody panics with the lock");
                if called.is_null() {
                    *called = body["id"].clone();
                    events("retry: 1\nid: 7\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
                } else {
                    result(text_of(&body["params"]["arguments"]["text"]))
                }
            }
            ("GET", _) if call.header("last-event-id") == "7" => {
                resume(&called.lock().expect("nobody panics with the lock"))
            }
            ("GET", _) => status(405),
            (_, Era::Legacy) if body["id"].is_null() => status(202),
            _ => answer(404, "application/json", unknown_method(&body["id"])),
        };
        async move { response }
    })
    .await
}

fn text_of(text: &Value) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn unknown_method(id: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}).to_string()
}

fn calls_of(server: &Server) -> usize {
    server.asked().iter().filter(|what| *what == "tools/call").count()
}

#[tokio::test]
async fn a_legacy_call_whose_stream_is_cut_after_an_event_id_is_resumed_and_answered() {
    let server = breaking_off(Era::Legacy, |id| {
        let response = json!({"jsonrpc": "2.0", "id": id, "result": text_of(&json!("resumed"))});
        events(format!("id: 8\ndata: {response}\n\n"))
    })
    .await;
    let host = Host::of(server.url("/mcp")).await;
    assert_eq!(host.call("echo", json!({"text": "x"})).await.expect("an answer"), "resumed");
    assert_eq!(calls_of(&server), 1);
}

#[tokio::test]
async fn a_legacy_call_whose_stream_the_server_does_not_resume_is_lost() {
    let server = breaking_off(Era::Legacy, |_| status(405)).await;
    let host = Host::of(server.url("/mcp")).await;
    host.fails("not_connected").await;
    assert_eq!(calls_of(&server), 1);
    host.works_again().await;
}

#[tokio::test]
async fn a_legacy_call_whose_session_ends_before_its_stream_is_resumed_is_lost() {
    let server = breaking_off(Era::Legacy, |_| answer(404, "text/plain", "Session not found")).await;
    let host = Host::of(server.url("/mcp")).await;
    host.fails("not_connected").await;
    assert_eq!(calls_of(&server), 1);
    host.works_again().await;
}

#[tokio::test]
async fn a_modern_call_is_lost_with_its_stream_whatever_its_event_ids() {
    let server = breaking_off(Era::Modern, |_| status(500)).await;
    let host = Host::of(server.url("/mcp")).await;
    host.fails("not_connected").await;
    assert_eq!((calls_of(&server), server.asked().contains(&"GET".to_owned())), (1, false));
    host.works_again().await;
}

/// A server of 2024-11-05, where all answers are on one stream: it ends at the first call.
async fn of_one_stream() -> Server {
    let stream = std::sync::Mutex::new(None::<UnboundedSender<String>>);
    let cut = AtomicBool::new(false);
    Server::start(move |call: Call| {
        let mut stream = stream.lock().expect("nobody panics with the lock");
        let body = call.body();
        let respond = |stream: &Option<UnboundedSender<String>>, result: Value| {
            let response = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
            if let Some(stream) = stream {
                // The client may have left.
                let _ = stream.send(format!("data: {response}\n\n"));
            }
            status(202)
        };
        let response = match (call.target.as_str(), call.what().as_str()) {
            ("/sse", "GET") => {
                let (sender, response) = open_events();
                sender.send("event: endpoint\ndata: /messages\n\n".to_owned()).expect("an open stream");
                *stream = Some(sender);
                response
            }
            ("/sse", _) => status(405),
            (_, "initialize") => {
                respond(&stream, json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}))
            }
            (_, "tools/list") => respond(&stream, json!({"tools": [Tool::echo().definition()]})),
            (_, "tools/call") if !cut.swap(true, Ordering::SeqCst) => {
                *stream = None;
                status(202)
            }
            (_, "tools/call") => respond(&stream, text_of(&body["params"]["arguments"]["text"])),
            _ => status(202),
        };
        async move { response }
    })
    .await
}

#[tokio::test]
async fn a_call_over_http_with_sse_is_lost_with_the_one_stream() {
    let server = of_one_stream().await;
    let host = Host::of(server.url("/sse")).await;
    host.fails("not_connected").await;
    assert_eq!(calls_of(&server), 1);
    host.works_again().await;
}

#[tokio::test]
async fn a_legacy_call_in_a_session_that_the_server_has_forgotten_is_sent_again_in_a_new_one() {
    let server = Script::legacy().with_tools([Tool::echo()]).start();
    let host = Host::of(server.url()).await;
    server.forget_sessions();
    assert_eq!(host.call("echo", json!({"text": "through"})).await.expect("an answer"), "through");
    let calls = server.calls();
    let sessions: Vec<&str> = calls.iter().map(|call| call.header("mcp-session-id")).collect();
    assert_eq!(sessions, ["session-1", "session-2"]);
    let twice = server
        .record()
        .wait_for("the catalogue to be read again", |seen| (seen.count("tools/list") == 2).then_some(()));
    twice.await;
}

/// What servers in use say of an unknown session: as they should, and as some do.
fn unknown_session(status: u16) -> Fault {
    let error = json!({"code": -32000, "message": "Bad Request: No valid session ID provided"});
    Fault::Canned {
        status,
        content_type: "application/json",
        headers: Vec::new(),
        body: json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string(),
    }
}

#[tokio::test]
async fn a_legacy_call_is_sent_twice_at_most_however_often_its_session_ends() {
    for status in [404, 400] {
        let server = Script::legacy().with_tools([Tool::echo()]).start();
        let host = Host::of(server.url()).await;
        server.break_at(Stage::Call, unknown_session(status));
        host.fails("not_connected").await;
        let seen = server.seen();
        assert_eq!((seen.count("tools/call"), seen.sessions), (2, 2), "{status}");
        server.repair();
        host.works_again().await;
    }
}

#[tokio::test]
async fn a_modern_call_has_no_session_that_could_end_and_is_not_sent_again() {
    for status in [404, 400] {
        let server = Script::modern().with_tools([Tool::echo()]).start();
        let host = Host::of(server.url()).await;
        server.break_at(Stage::Call, unknown_session(status));
        host.fails("upstream_error").await;
        assert_eq!((server.calls().len(), server.seen().count("initialize")), (1, 0), "{status}");
        server.repair();
        host.works_again().await;
    }
}

/// A server with a call under way, and what becomes of that call.
async fn with_a_call_under_way(
    era: Era,
) -> (McpServer, Arc<Host>, tokio::task::JoinHandle<Result<String, ConnectorError>>) {
    let server = script(era).with_tools([Tool::echo(), Tool::waiting(&Gate::default())]).start();
    let host = Arc::new(Host::of(server.url()).await);
    let calling = Arc::clone(&host);
    let call = tokio::spawn(async move { calling.call("wait", json!({})).await });
    server.request_seen("tools/call").await;
    (server, host, call)
}

#[tokio::test]
async fn a_call_under_way_when_the_server_is_restarted_is_lost_and_the_next_one_works() {
    for era in ERAS {
        let (server, host, call) = with_a_call_under_way(era).await;
        let port: Port = server.stop();
        let error = call.await.expect("no panic").expect_err("its server is gone");
        assert_eq!(error.code(), "not_connected", "{era:?}: {error:?}");
        let restarted =
            script(era).with_tools([Tool::echo(), Tool::waiting(&Gate::default())]).start_on(&port);
        host.works_again().await;
        let called: Vec<Value> =
            restarted.calls().iter().map(|call| call.body["params"]["name"].clone()).collect();
        assert!(!called.contains(&json!("wait")), "{era:?}: {called:?}");
    }
}

#[tokio::test]
async fn a_call_under_way_when_its_process_dies_is_lost_and_the_next_one_works() {
    for modern in [false, true] {
        let home = TempHome::new();
        let log = home.user().join("messages");
        let tools = ["echo", "crash"];
        let script = if modern { StdioScript::modern(&tools) } else { StdioScript::legacy(&tools) };
        let script = StdioScript { log: Some(log.clone()), ..script };
        let command = StdioCommand {
            command: env!("CARGO_BIN_EXE_mcp-stdio-server").to_owned(),
            args: vec![script.argument()],
            ..StdioCommand::default()
        };
        let host = Host::connect(NewConnector::stdio("Under test", command)).await;
        let error = host.call("crash", json!({})).await.expect_err("its process has died");
        assert_eq!(error.code(), "not_connected", "{error:?}");
        host.works_again().await;
        let log = std::fs::read_to_string(&log).expect("a log");
        assert_eq!(log.matches(r#""name":"crash""#).count(), 1, "{log}");
    }
}
