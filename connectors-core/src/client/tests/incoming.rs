use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::authorizer::Challenge;
use crate::contract::scripted::{HTTP_LIKE, STDIO_LIKE, notification, request};
use crate::error::TransportError;
use crate::protocol::RequestId;

/// Lets the listening task take the stream.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_tool_list_is_signalled() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Never));
    let (_client, mut signals) = connect(&server).await;
    settle().await;
    server.send(Ok(notification("notifications/unheard_of", json!({}))));
    server.send(Ok(notification("notifications/tools/list_changed", json!({}))));
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
}

#[tokio::test(start_paused = true)]
async fn a_log_message_is_passed_on_fit_for_display() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Never));
    let (_client, mut signals) = connect(&server).await;
    settle().await;
    server
        .send(Ok(notification("notifications/message", json!({"level": "warning", "data": "a\u{1b}[0mb"}))));
    let log = ClientSignal::Log { level: "warning".to_owned(), message: "a[0mb".to_owned() };
    assert_eq!(signals.recv().await, Some(log));
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_and_what_is_not_offered_is_refused() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Never));
    let (_client, _signals) = connect(&server).await;
    settle().await;
    server.send(Ok(request(RequestId::String("p".into()), "ping", json!({}))));
    server.send(Ok(request(RequestId::Number(5), "roots/list", json!({}))));
    server.send(Ok(request(RequestId::Number(6), "unheard/of", json!({}))));
    settle().await;
    let mut answers: Vec<_> =
        server.seen().into_iter().filter(|seen| seen.method.is_empty()).map(|seen| seen.params).collect();
    answers.sort_by_key(|answer| answer["id"].to_string());
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(5), &json!(-32601)));
    assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&json!(6), &json!(-32601)));
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_gets_no_answers_to_requests_it_may_not_send() {
    let server = ScriptedServer::new(STDIO_LIKE, modern(|_, _| Reply::Never));
    let (_client, _signals) = connect(&server).await;
    settle().await;
    server.send(Ok(request(RequestId::Number(1), "ping", json!({}))));
    settle().await;
    assert!(server.seen().iter().all(|seen| !seen.method.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_conversation_is_the_last_signal() {
    let server = ScriptedServer::new(STDIO_LIKE, legacy(|_, _| Reply::Never));
    let (_client, mut signals) = connect(&server).await;
    settle().await;
    server.send(Err(TransportError::Closed { reason: "the process exited".to_owned() }));
    let lost = ClientSignal::Lost { reason: "the process exited".to_owned(), sign_in: false };
    assert_eq!(signals.recv().await, Some(lost));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_on_the_stream_asks_for_a_sign_in() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Never));
    let (_client, mut signals) = connect(&server).await;
    settle().await;
    let challenge = Box::new(Challenge::new(401, "https://x"));
    server.send(Err(TransportError::Unauthorized { forbidden: false, challenge }));
    assert!(matches!(signals.recv().await, Some(ClientSignal::Lost { sign_in: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_nothing_is_asked_is_opened_again() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Never));
    let (_client, mut signals) = connect(&server).await;
    settle().await;
    server.send(Err(TransportError::SessionExpired));
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
    assert_eq!(server.methods().iter().filter(|m| *m == "initialize").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_that_announces_changes_is_listened_to_again_when_the_stream_ends() {
    let listens = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&listens);
    let server = ScriptedServer::new(HTTP_LIKE, move |method, params| match method {
        "server/discover" => {
            let mut result = discover_result();
            result["capabilities"] = json!({"tools": {"listChanged": true}, "prompts": {}});
            Reply::Result(result)
        }
        "subscriptions/listen" => {
            assert_eq!(params["notifications"], json!({"toolsListChanged": true}));
            let changed = notification("notifications/tools/list_changed", json!({}));
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Reply::After(vec![changed], Box::new(Reply::Ends)),
                _ => Reply::Never,
            }
        }
        _ => Reply::Never,
    });
    let (_client, mut signals) = connect(&server).await;
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
    // Once more, because changes between the streams were not announced.
    assert_eq!(signals.recv().await, Some(ClientSignal::ToolsChanged));
    assert_eq!(listens.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_subscriptions_is_asked_once() {
    let server = ScriptedServer::new(HTTP_LIKE, |method, _| match method {
        "server/discover" => {
            let mut result = discover_result();
            result["capabilities"] = json!({"tools": {"listChanged": true}});
            Reply::Result(result)
        }
        _ => Reply::Error(-32601, "Method not found"),
    });
    let (_client, _signals) = connect(&server).await;
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(server.methods(), ["server/discover", "subscriptions/listen"]);
}
