//! Streams of events: delivery as they arrive, resumption, and the GET stream of the legacy era.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use connectors_core::TransportError;
use connectors_core::protocol::Incoming;
use connectors_tests::deadline::soon;
use connectors_tests::mcp_server::{Linger, ReplyAs, StreamEnd};
use connectors_tests::{Script, Tool};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{
    LEGACY, call, call_modern, initialize, initialized, next_incoming, request, result, transport,
};
use super::server::{Call, Server, answer, events, json as json_answer, open_events, status, with};

const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"ok":true}}"#;

/// A server that opens a session and answers further requests, by JSON-RPC method and number, with `answer`.
async fn legacy(answer: impl Fn(&Call, usize) -> Response<Body> + Send + Sync + 'static) -> Server {
    let count = Mutex::new(std::collections::HashMap::<String, usize>::new());
    Server::start(move |call| {
        let what = call.what();
        let number = {
            let mut count = count.lock().expect("no panic");
            let number = count.entry(what.clone()).or_default();
            *number += 1;
            *number
        };
        let response = match what.as_str() {
            "initialize" => {
                let result = json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {}});
                with(json_answer(&result), "mcp-session-id", "s")
            }
            "notifications/initialized" => status(202),
            _ => answer(&call, number),
        };
        async move { response }
    })
    .await
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_resumed_after_its_last_event() {
    let server = legacy(|call, number| match (call.what().as_str(), number) {
        ("tools/call", _) => {
            events("retry: 1\nid: 7\ndata: {\"method\":\"notifications/progress\"}\n\nid: 8\ndata: half")
        }
        ("GET", 1) => events("id: 9\ndata: {\"method\":\"notifications/message\"}\n\n"),
        ("GET", 2) => status(503),
        ("GET", _) => events(format!("data: {RESPONSE}\n\n")),
        _ => status(500),
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    initialize(&*wire).await.unwrap();
    let mut reply = wire.exchange(request(1, "tools/call", Some(LEGACY))).await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = soon("a message", reply.next()).await {
        seen.push(match message.unwrap() {
            Incoming::Notification { method, .. } => method,
            Incoming::Response { outcome, .. } => outcome.unwrap().get().to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["notifications/progress", "notifications/message", r#"{"ok":true}"#]);
    let resumed: Vec<(String, String)> = server
        .seen("GET", 3)
        .await
        .iter()
        .map(|call| (call.header("last-event-id").to_owned(), call.header("mcp-session-id").to_owned()))
        .collect();
    let after = |id: &str| (id.to_owned(), "s".to_owned());
    assert_eq!(resumed, [after("7"), after("9"), after("9")]);
}

#[tokio::test]
async fn an_answer_that_the_server_does_not_resume_is_lost() {
    for refusal in [400, 404, 405] {
        let server = legacy(move |call, _| match call.what().as_str() {
            "tools/call" => events("retry: 1\nid: 7\ndata: {\"method\":\"notifications/progress\"}\n\n"),
            _ => status(refusal),
        })
        .await;
        let wire = transport(&server.url("/mcp")).await;
        initialize(&*wire).await.unwrap();
        let lost = call(&*wire, 1, "tools/call").await;
        assert!(matches!(lost, Err(TransportError::Closed { .. })), "{refusal}: {lost:?}");
        assert_eq!(server.calls().iter().filter(|call| call.what() == "GET").count(), 1);
    }
}

#[tokio::test]
async fn a_modern_answer_is_not_resumed() {
    let server =
        legacy(|_, _| events("retry: 1\nid: 7\ndata: {\"method\":\"notifications/progress\"}\n\n")).await;
    let wire = transport(&server.url("/mcp")).await;
    let lost = call_modern(&*wire, 1, "tools/call").await;
    assert!(matches!(lost, Err(TransportError::Closed { .. })), "{lost:?}");
    assert_eq!(server.asked(), ["tools/call"]);
}

#[tokio::test]
async fn the_servers_stream_is_opened_anew_where_its_last_event_is_stale() {
    let server = legacy(|call, number| match (call.what().as_str(), number) {
        ("GET", 1) => events("retry: 1\nid: 3\ndata: {\"method\":\"notifications/a\"}\n\n"),
        ("GET", 2) => answer(400, "text/plain", "unknown event"),
        ("GET", 3) => events("data: {\"method\":\"notifications/b\"}\n\n"),
        _ => status(405),
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    let mut incoming = wire.incoming();
    initialize(&*wire).await.unwrap();
    initialized(&*wire).await.unwrap();
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "notifications/a");
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "notifications/b");
    let ids: Vec<String> =
        server.seen("GET", 3).await.iter().map(|call| call.header("last-event-id").to_owned()).collect();
    assert_eq!(ids, ["", "3", ""]);
}

#[tokio::test]
async fn the_servers_stream_is_asked_for_again_only_after_the_time_it_wants() {
    let server = legacy(|call, number| match (call.what().as_str(), number) {
        ("GET", 1) => with(status(429), "retry-after", "2"),
        ("GET", _) => events("data: {\"method\":\"notifications/a\"}\n\n"),
        _ => status(405),
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    let mut incoming = wire.incoming();
    initialize(&*wire).await.unwrap();
    initialized(&*wire).await.unwrap();
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "notifications/a");
    let asked = server.seen("GET", 2).await;
    let waited = asked[1].at - asked[0].at;
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn a_server_without_a_stream_is_asked_for_it_once() {
    let server = legacy(|call, _| match call.what().as_str() {
        "GET" => status(405),
        _ => json_answer(&json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {}})),
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    let mut incoming = wire.incoming();
    initialize(&*wire).await.unwrap();
    initialized(&*wire).await.unwrap();
    tokio::select! {
        item = incoming.next() => panic!("{item:?}"),
        () = async {
            server.seen("GET", 1).await;
            for id in 1..20 {
                call(&*wire, id, "ping").await.unwrap();
            }
        } => {}
    }
    assert_eq!(server.seen("GET", 1).await.len(), 1);
    wire.close().await;
    let ended = soon("the end", incoming.next()).await;
    assert!(matches!(ended, Some(Err(TransportError::Closed { .. }))), "{ended:?}");
}

#[tokio::test]
async fn messages_are_delivered_as_they_arrive_and_the_result_while_the_stream_stays_open() {
    let (streams, mut opened) = mpsc::unbounded_channel();
    let server = Server::start(move |_| {
        let (stream, response) = open_events();
        streams.send(stream).expect("the test listens");
        async move { response }
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    let mut reply = wire.exchange(request(1, "tools/call", Some(LEGACY))).await.unwrap();
    let stream = soon("a stream", opened.recv()).await.unwrap();
    stream.send("data: {\"method\":\"notifications/progress\"}\n\n".to_owned()).unwrap();
    let first = soon("a notification", reply.next()).await;
    assert!(matches!(first, Some(Ok(Incoming::Notification { .. }))), "{first:?}");
    // An event is complete with its blank line, whatever follows.
    stream.send(format!(": so\ndata: {RESPONSE}\n\ndata: {{\"half\":")).unwrap();
    assert_eq!(result(&mut reply).await.unwrap().unwrap(), json!({"ok": true}));
    assert!(reply.next().await.is_none());
    drop(reply);
    soon("the stream's end", stream.closed()).await;
}

#[tokio::test]
async fn one_connection_carries_one_answer_after_the_other() {
    let server = legacy(|call, number| {
        let message = json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {"n": number}});
        if number % 2 == 0 { events(format!("data: {message}\n\n")) } else { json_answer(&message) }
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    for id in 1..=50 {
        assert_eq!(call_modern(&*wire, id, "tools/call").await.unwrap(), json!({"n": id}));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_is_refused_costs_no_connection() {
    let server = legacy(|_, number| match number % 4 {
        0 => answer(404, "application/json", "{\"error\":\"none\"}"),
        1 => answer(500, "text/html", "x".repeat(10_000)),
        2 => status(503),
        _ => answer(200, "text/html", "<h1>hello</h1>"),
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    for id in 1..=60 {
        call_modern(&*wire, id, "tools/call").await.unwrap_err();
    }
    // What nobody waits for may still be on its way when the next request is sent.
    assert!(server.connections() <= 4, "{} connections", server.connections());
}

#[tokio::test]
async fn a_server_that_lets_its_streams_linger_keeps_nobody_waiting() {
    let tools = [Tool::echo()];
    let server = Script::modern().with_tools(tools).replying(ReplyAs::Sse(Linger::Forever)).start();
    let wire = transport(&server.url()).await;
    let listed: Vec<Value> = futures_util::future::join_all((1..=8).map(|id| {
        let wire = &wire;
        async move { list_modern(&**wire, id).await["tools"][0]["name"].clone() }
    }))
    .await;
    assert_eq!(listed, vec![json!("echo"); 8]);
    let ended = server
        .record()
        .wait_for("8 ends", |seen| (seen.ended_streams.len() == 8).then(|| seen.ended_streams.clone()));
    assert_eq!(ended.await, vec![StreamEnd::Client; 8]);
}

/// `tools/list` with everything that a strict modern server wants.
async fn list_modern(wire: &dyn connectors_core::Transport, id: i64) -> Value {
    let mut request = request(id, "tools/list", Some(connectors_core::protocol::ProtocolVersion::LATEST));
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {"_meta": meta}});
    request.body = body.to_string().into();
    let mut reply = soon("an exchange", wire.exchange(request)).await.unwrap();
    result(&mut reply).await.unwrap().unwrap()
}
