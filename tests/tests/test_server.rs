//! The scriptable MCP server itself, seen by a bare HTTP client and over pipes.

use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use connectors_tests::deadline::soon;
use connectors_tests::http_client::HttpRequest;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::mcp_server::{Cancelled, Cursors, Linger, ReplyAs, Seen, Signal, StreamEnd};
use connectors_tests::{Fault, Script, Stage, Tool};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

fn post(url: &str, body: &Value) -> HttpRequest {
    HttpRequest::post(url, body).header("accept", "application/json, text/event-stream")
}

fn modern_body(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn modern(url: &str, method: &str, params: Value) -> HttpRequest {
    let name = params["name"].as_str().map(str::to_owned);
    let request = post(url, &modern_body(method, params))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    match name {
        Some(name) => request.header("mcp-name", &name),
        None => request,
    }
}

fn legacy(url: &str, session: &str, method: &str, params: Value) -> HttpRequest {
    let request = post(url, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
    if session.is_empty() { request } else { request.header("mcp-session-id", session) }
}

async fn json_of(request: HttpRequest) -> (u16, Value) {
    let answer = soon("an answer", request.send()).await.unwrap();
    let status = answer.status();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_modern_server_is_discovered_listed_and_called_without_a_handshake() {
    let server = Script::modern().with_tools([Tool::echo(), Tool::add()]).start();
    let (status, discovered) = json_of(modern(&server.url(), "server/discover", json!({}))).await;
    assert_eq!(status, 200);
    assert_eq!(discovered["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(discovered["result"]["resultType"], "complete");

    let (_, listed) = json_of(modern(&server.url(), "tools/list", json!({}))).await;
    let names: Vec<_> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["echo", "add"]);
    assert_eq!(listed["result"]["ttlMs"], 3_600_000);

    let call = json!({"name": "add", "arguments": {"a": 2, "b": 3}});
    let (_, called) = json_of(modern(&server.url(), "tools/call", call)).await;
    assert_eq!(called["result"]["content"], json!([{"type": "text", "text": "5"}]));
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_modern_server_refuses_every_request_whose_headers_differ_from_its_body() {
    let server = Script::modern().with_tools([Tool::mirrored()]).start();
    let call = || modern_body("tools/call", json!({"name": "where", "arguments": {"region": "Zürich"}}));
    let all = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "where"),
        ("mcp-param-region", "=?base64?WsO8cmljaA==?="),
    ];
    let send = |headers: Vec<(&'static str, &'static str)>| {
        let request = post(&server.url(), &call());
        json_of(headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    assert_eq!(send(all.to_vec()).await.0, 200);
    for left_out in 0..all.len() {
        let mut headers = all.to_vec();
        let (name, _) = headers.remove(left_out);
        let (status, answer) = send(headers.clone()).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)), "without {name}");
        headers.push((name, "other"));
        let (status, answer) = send(headers).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)), "another {name}");
    }
}

#[tokio::test]
async fn a_modern_server_names_its_version_and_its_missing_methods() {
    let server = Script::modern().start();
    let mut body = modern_body("server/discover", json!({}));
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let request = post(&server.url(), &body).header("mcp-protocol-version", "2099-01-01");
    let (status, answer) = json_of(request).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32022)));
    assert_eq!(answer["error"]["data"], json!({"supported": ["2026-07-28"], "requested": "2099-01-01"}));

    let (status, answer) = json_of(modern(&server.url(), "prompts/list", json!({}))).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(HttpRequest::new(method, &server.url()).send().await.unwrap().status(), 405);
    }
}

#[tokio::test]
async fn a_legacy_server_wants_the_session_that_it_gave_out() {
    let server = Script::legacy().with_tools([Tool::echo()]).start();
    let url = server.url();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let response = legacy(&url, "", "initialize", hello).send().await.unwrap();
    let session = response.header("mcp-session-id").to_owned();
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");

    assert_eq!(json_of(legacy(&url, &session, "tools/list", json!({}))).await.0, 200);
    assert_eq!(json_of(legacy(&url, "", "tools/list", json!({}))).await.0, 400);
    assert_eq!(json_of(legacy(&url, "another", "tools/list", json!({}))).await.0, 404);
    let (status, answer) = json_of(modern(&url, "server/discover", json!({}))).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32000)));
    server.forget_sessions();
    assert_eq!(json_of(legacy(&url, &session, "tools/list", json!({}))).await.0, 404);
}

#[tokio::test]
async fn a_dual_server_tells_the_eras_apart_by_the_request() {
    let server = Script::dual().with_tools([Tool::echo()]).start();
    let (_, listed) = json_of(modern(&server.url(), "tools/list", json!({}))).await;
    assert_eq!(listed["result"]["resultType"], "complete");
    let (_, answer) = json_of(legacy(&server.url(), "", "initialize", json!({"protocolVersion": "x"}))).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn a_stream_delivers_the_answer_before_it_ends() {
    let script = Script::modern().with_tools([Tool::echo()]).replying(ReplyAs::Sse(Linger::Forever));
    let server = script.start();
    let response = modern(&server.url(), "tools/list", json!({})).send().await.unwrap();
    let mut messages = response.messages();
    let answer = soon("the answer", messages.next()).await.unwrap();
    assert_eq!(answer["result"]["tools"][0]["name"], "echo");
    assert_eq!(server.seen().ended_streams, []);
    drop(messages);
    let ends = server.record().wait_for("the stream's end", |seen| {
        (!seen.ended_streams.is_empty()).then(|| seen.ended_streams.clone())
    });
    assert_eq!(ends.await, [StreamEnd::Client]);
}

#[tokio::test]
async fn progress_turns_a_json_answer_into_a_stream() {
    let server = Script::modern().with_tools([Tool::progress()]).start();
    let params = json!({"name": "progress", "arguments": {"steps": 2}});
    let mut body = modern_body("tools/call", params);
    body["params"]["_meta"]["progressToken"] = json!("p");
    let request = post(&server.url(), &body).header("mcp-protocol-version", "2026-07-28");
    let request = request.header("mcp-method", "tools/call").header("mcp-name", "progress");
    let messages: Vec<Value> = request.send().await.unwrap().messages().collect().await;
    let seen: Vec<_> = messages.iter().map(|m| (&m["params"]["progress"], m["result"].is_object())).collect();
    assert_eq!(seen, [(&json!(1), false), (&json!(2), false), (&Value::Null, true)]);
}

#[tokio::test]
async fn a_client_that_leaves_and_one_that_says_so_are_both_noted() {
    let server = Script::dual().without_sessions().with_tools([Tool::hang()]).start();
    let url = server.url();
    let pending = tokio::spawn(modern(&url, "tools/call", json!({"name": "hang"})).send());
    server.request_seen("tools/call").await;
    pending.abort();
    let noted = |signal, id| {
        move |seen: &Seen| {
            let expected = Cancelled { id: json!(id), method: "tools/call".to_owned(), signal };
            seen.cancelled.contains(&expected).then_some(())
        }
    };
    server.record().wait_for("the disconnect", noted(Signal::Disconnect, 1)).await;

    let pending = tokio::spawn(legacy(&url, "", "tools/call", json!({"name": "hang"})).send());
    let two =
        server.record().wait_for("the second call", |seen| (seen.count("tools/call") == 2).then_some(()));
    two.await;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    assert_eq!(json_of(post(&url, &note)).await.0, 202);
    server.record().wait_for("the notification", noted(Signal::Notification, 7)).await;
    assert_eq!(pending.await.unwrap().unwrap().text().await.unwrap(), "");
}

#[tokio::test]
async fn pages_follow_the_script() {
    let tools = || (0..5).map(|n| Tool::echo().named(&format!("t{n}")));
    let list = async |script: Script, cursor: Option<&str>| {
        let server = script.with_tools(tools()).with_page_size(2).start();
        let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
        let result = json_of(modern(&server.url(), "tools/list", params)).await.1["result"].take();
        (result["tools"].as_array().unwrap().len(), result["nextCursor"].as_str().map(str::to_owned))
    };
    assert_eq!(list(Script::modern(), None).await, (2, Some("2".to_owned())));
    assert_eq!(list(Script::modern(), Some("4")).await, (1, None));
    let repeated = Script::modern().with_cursors(Cursors::Repeated);
    assert_eq!(list(repeated, Some("0")).await, (2, Some("0".to_owned())));
    let endless = Script::modern().with_cursors(Cursors::Endless);
    assert_eq!(list(endless, Some("400")).await, (0, Some("402".to_owned())));
}

#[tokio::test]
async fn whoever_listens_hears_that_the_tools_changed() {
    let server = Script::dual().without_sessions().with_tools([Tool::echo()]).start();
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let listen = modern(&server.url(), "subscriptions/listen", wanted).send().await.unwrap();
    let get = HttpRequest::get(&server.url()).send().await.unwrap();
    let (mut listen, mut get) = (listen.messages(), get.messages());
    let acknowledged = soon("the acknowledgement", listen.next()).await.unwrap();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    server.record().wait_for("two listeners", |seen| (seen.listeners == 2).then_some(())).await;
    server.set_tools([Tool::add()]);
    let note = soon("the change", listen.next()).await.unwrap();
    assert_eq!(note["method"], "notifications/tools/list_changed");
    assert_eq!(note["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    assert_eq!(soon("the change", get.next()).await.unwrap()["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn faults_strike_at_their_stage_until_they_are_repaired() {
    let server = Script::modern().with_fault(Stage::List, Fault::html(404)).start();
    let url = server.url();
    assert_eq!(json_of(modern(&url, "server/discover", json!({}))).await.0, 200);
    let response = modern(&url, "tools/list", json!({})).send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
    server.break_at(Stage::Every, Fault::Drop);
    assert!(modern(&url, "server/discover", json!({})).send().await.is_err());
    server.break_at(Stage::Every, Fault::Truncate);
    let response = modern(&url, "tools/list", json!({})).send().await.unwrap();
    assert!(response.text().await.is_err());
    server.break_at(Stage::Every, Fault::EndlessBody);
    let mut body = modern(&url, "tools/list", json!({})).send().await.unwrap().chunks();
    let mut received = 0;
    while received < 10 << 20 {
        received += soon("more of it", body.next()).await.unwrap().unwrap().len();
    }
    drop(body);
    server.repair();
    assert_eq!(json_of(modern(&url, "tools/list", json!({}))).await.0, 200);
}

#[tokio::test]
async fn a_server_that_wants_a_header_answers_401_without_it() {
    let server = Script::modern().requiring_header("x-api-key", "k").start();
    let request = || modern(&server.url(), "tools/list", json!({}));
    assert_eq!(json_of(request()).await.0, 401);
    assert_eq!(json_of(request().header("x-api-key", "k")).await.0, 200);
}

#[tokio::test]
async fn delays_pass_before_the_answer() {
    let server = Script::modern().with_delay(Stage::List, Duration::from_millis(40)).start();
    let start = std::time::Instant::now();
    assert_eq!(json_of(modern(&server.url(), "tools/list", json!({}))).await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[tokio::test]
async fn the_same_server_answers_over_stdio_until_its_input_ends() {
    let script = StdioScript { legacy: true, ..StdioScript::modern(&["echo"]) };
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_mcp-stdio-server"))
        .arg(script.argument())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let initialize = json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}});
    for request in [modern_body("tools/list", json!({})), initialize] {
        input.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    }
    let mut answers = Vec::new();
    for _ in 0..2 {
        let line = soon("an answer", output.next_line()).await.unwrap().unwrap();
        answers.push(serde_json::from_str::<Value>(&line).unwrap());
    }
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(answers[0]["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(answers[1]["result"]["tools"][0]["name"], "echo");
    drop(input);
    assert!(soon("the end", child.wait()).await.unwrap().success());
}
