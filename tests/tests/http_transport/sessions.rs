//! Sessions of the legacy era: how they end, and what begins anew with the next.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Response};
use connectors_core::{Transport, TransportError};
use connectors_tests::deadline::soon;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::client::{call, initialize, initialized, next_incoming, transport};
use super::server::{Call, Server, answer, json, open_events, status, with};

type Stream = UnboundedSender<String>;

/// A server with one session at a time.
struct OneSession {
    /// Its number; 0 while there is none.
    current: Mutex<u64>,
    opened: Mutex<u64>,
    /// What a request in another session gets.
    refusal: fn() -> Response<Body>,
    streams: UnboundedSender<Stream>,
}

impl OneSession {
    fn answer(&self, call: &Call) -> Response<Body> {
        let mut current = self.current.lock().expect("no panic");
        if call.what() == "initialize" {
            let mut opened = self.opened.lock().expect("no panic");
            *opened += 1;
            *current = *opened;
            return with(result(call), "mcp-session-id", &format!("session-{opened}"));
        }
        if *current == 0 || call.header("mcp-session-id") != format!("session-{current}") {
            return (self.refusal)();
        }
        match call.method {
            Method::GET => {
                let (stream, response) = open_events();
                self.streams.send(stream).expect("the test listens");
                response
            }
            Method::DELETE => status(204),
            _ if call.body()["id"].is_null() => status(202),
            _ => result(call),
        }
    }

    fn forget(&self) {
        *self.current.lock().expect("no panic") = 0;
    }
}

fn result(call: &Call) -> Response<Body> {
    json(
        &json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {"session": call.header("mcp-session-id")}}),
    )
}

async fn start(
    refusal: fn() -> Response<Body>,
) -> (Server, Arc<OneSession>, UnboundedReceiver<Stream>, Arc<dyn Transport>) {
    let (streams, opened) = mpsc::unbounded_channel();
    let sessions = Arc::new(OneSession { current: Mutex::new(0), opened: Mutex::new(0), refusal, streams });
    let of_server = Arc::clone(&sessions);
    let server = Server::start(move |call| {
        let response = of_server.answer(&call);
        async move { response }
    })
    .await;
    let wire = transport(&server.url("/mcp")).await;
    (server, sessions, opened, wire)
}

fn bare_404() -> Response<Body> {
    status(404)
}

fn page_404() -> Response<Body> {
    answer(404, "text/html", "<h1>Not found</h1>")
}

fn rpc_404() -> Response<Body> {
    let error =
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "Session not found"}});
    answer(404, "application/json", error.to_string())
}

fn rpc_400() -> Response<Body> {
    let message = "Bad Request: No valid session ID provided";
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": message}});
    answer(400, "application/json", error.to_string())
}

fn plain_400() -> Response<Body> {
    answer(400, "text/plain", "Bad Request: Server not initialized")
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_expired_whatever_status_says_so() {
    for refusal in [bare_404, page_404, rpc_404, rpc_400, plain_400] {
        let (server, sessions, _streams, wire) = start(refusal).await;
        initialize(&*wire).await.unwrap();
        initialized(&*wire).await.unwrap();
        assert_eq!(call(&*wire, 1, "ping").await.unwrap(), json!({"session": "session-1"}));
        sessions.forget();
        let expired = call(&*wire, 2, "ping").await;
        assert!(matches!(expired, Err(TransportError::SessionExpired)), "{expired:?}");
        // Without its id the server would say something else.
        let expired = call(&*wire, 3, "ping").await;
        assert!(matches!(expired, Err(TransportError::SessionExpired)), "{expired:?}");
        assert_eq!(server.seen("ping", 2).await.len(), 2);
        initialize(&*wire).await.unwrap();
        assert_eq!(call(&*wire, 4, "ping").await.unwrap(), json!({"session": "session-2"}));
        wire.close().await;
        assert_eq!(server.seen("DELETE", 1).await[0].header("mcp-session-id"), "session-2");
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_noticed_on_its_stream_too() {
    for refusal in [bare_404, rpc_400] {
        let (_server, sessions, mut streams, wire) = start(refusal).await;
        initialize(&*wire).await.unwrap();
        let mut incoming = wire.incoming();
        initialized(&*wire).await.unwrap();
        let (ended, ()) = tokio::join!(soon("the end", incoming.next()), async {
            let stream = soon("a stream", streams.recv()).await.unwrap();
            sessions.forget();
            stream.send("retry: 1\n\n".to_owned()).unwrap();
        });
        assert!(matches!(ended, Some(Err(TransportError::SessionExpired))), "{ended:?}");
        assert!(incoming.next().await.is_none());
    }
}

#[tokio::test]
async fn the_stream_follows_to_the_next_session() {
    let (server, sessions, mut streams, wire) = start(bare_404).await;
    let mut incoming = wire.incoming();
    for number in 1..=3 {
        initialize(&*wire).await.unwrap();
        initialized(&*wire).await.unwrap();
        let (message, stream) = tokio::join!(next_incoming(&mut incoming), async {
            let stream = soon("a stream", streams.recv()).await.unwrap();
            stream.send(format!("data: {{\"method\":\"notifications/{number}\"}}\n\n")).unwrap();
            stream
        });
        assert_eq!(message.unwrap(), format!("notifications/{number}"));
        sessions.forget();
        let expired = call(&*wire, number, "ping").await;
        assert!(matches!(expired, Err(TransportError::SessionExpired)), "{expired:?}");
        // The old stream is left once there is a new session, and not before.
        assert!(!stream.is_closed());
        drop(stream);
    }
    let sessions: Vec<String> =
        server.seen("GET", 3).await.iter().map(|call| call.header("mcp-session-id").to_owned()).collect();
    assert_eq!(sessions, ["session-1", "session-2", "session-3"]);
}

#[tokio::test]
async fn a_later_listener_takes_over() {
    let (server, _sessions, mut streams, wire) = start(bare_404).await;
    initialize(&*wire).await.unwrap();
    initialized(&*wire).await.unwrap();
    let mut first = wire.incoming();
    let (ended, (old, mut second)) = tokio::join!(soon("the end", first.next()), async {
        let stream = soon("a stream", streams.recv()).await.unwrap();
        (stream, wire.incoming())
    });
    assert!(ended.is_none(), "{ended:?}");
    drop(first);
    soon("the old stream's end", old.closed()).await;
    let (message, _stream) = tokio::join!(next_incoming(&mut second), async {
        let stream = soon("a stream", streams.recv()).await.unwrap();
        stream.send("data: {\"method\":\"notifications/x\"}\n\n".to_owned()).unwrap();
        stream
    });
    assert_eq!(message.unwrap(), "notifications/x");
    assert_eq!(server.seen("GET", 2).await.len(), 2);
}
