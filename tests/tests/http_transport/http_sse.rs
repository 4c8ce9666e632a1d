//! HTTP with SSE (2024-11-05), the wire of last resort.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response};
use connectors_core::authorizer::SecretHeader;
use connectors_core::{Limits, Transport, TransportError};
use connectors_tests::deadline::soon;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::client::{
    LEGACY, call, initialize, initialized, next_incoming, notify, request, result, small_limits, transport,
    transport_with,
};
use super::server::{Call, Server, answer, events, open_events, status};

type Stream = UnboundedSender<String>;

/// A server of 2024-11-05 that takes messages at `/messages`, and the streams that are opened to it.
///
/// `initialize` is answered, `hold` is not, `refuse` gets a 500 and `lost` a 404, `late` is taken only when it has been
/// answered, and other requests are answered with their id.
struct Old {
    server: Server,
    streams: UnboundedReceiver<Stream>,
}

impl Old {
    async fn start() -> Self {
        Self::refusing(|| answer(405, "text/plain", "Method Not Allowed")).await
    }

    /// Answers `refusal` to a POST at the address of its stream.
    async fn refusing(refusal: fn() -> Response<Body>) -> Self {
        let (streams, opened) = mpsc::unbounded_channel::<Stream>();
        let current = Arc::new(std::sync::Mutex::new(None::<Stream>));
        let server = Server::start(move |call: Call| {
            let (streams, current) = (streams.clone(), Arc::clone(&current));
            async move {
                match (&call.method, call.target.as_str()) {
                    (&Method::GET, "/sse") => {
                        let (stream, response) = open_events();
                        stream
                            .send(": hello\n\nevent: endpoint\ndata: /messages?s=1\n\n".to_owned())
                            .unwrap();
                        *current.lock().unwrap() = Some(stream.clone());
                        streams.send(stream).expect("the test listens");
                        response
                    }
                    (&Method::POST, "/messages?s=1") => {
                        let stream = current.lock().unwrap().clone().expect("a stream");
                        take(&call, &stream).await
                    }
                    _ => refusal(),
                }
            }
        })
        .await;
        Self { server, streams: opened }
    }

    /// A transport that has found its wire, and the server's end of the stream.
    async fn connect(&mut self) -> (Arc<dyn Transport>, Stream) {
        let key = SecretHeader { name: "X-Api-Key".into(), value: "k".into() };
        let wire = transport_with(&self.server.url("/sse"), Limits::default(), vec![key]).await;
        initialize(&*wire).await.unwrap();
        (wire, soon("a stream", self.streams.recv()).await.unwrap())
    }
}

async fn take(call: &Call, stream: &Stream) -> Response<Body> {
    let id = &call.body()["id"];
    let result = event(&json!({"jsonrpc": "2.0", "id": id, "result": {"id": id}}));
    match call.what().as_str() {
        "hold" => {}
        "refuse" => return answer(500, "text/plain", "no"),
        "lost" => return answer(404, "text/plain", "Session not found"),
        "late" => {
            stream.send(result).expect("an open stream");
            std::future::pending::<()>().await;
        }
        _ if id.is_null() => {}
        _ => stream.send(result).expect("an open stream"),
    }
    answer(202, "text/plain", "Accepted")
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

fn is_closed<T: std::fmt::Debug>(outcome: &Result<T, TransportError>) -> bool {
    matches!(outcome, Err(TransportError::Closed { .. }))
}

#[tokio::test]
async fn everything_goes_to_the_endpoint_that_the_stream_names_with_credentials() {
    let mut old = Old::start().await;
    let (wire, _stream) = old.connect().await;
    initialized(&*wire).await.unwrap();
    assert_eq!(call(&*wire, 1, "ping").await.unwrap(), json!({"id": 1}));
    let asked: Vec<(String, String, String)> = old
        .server
        .calls()
        .iter()
        .map(|call| (call.what(), call.target.clone(), call.header("x-api-key").to_owned()))
        .collect();
    let row = |what: &str, target: &str| (what.to_owned(), target.to_owned(), "k".to_owned());
    assert_eq!(
        asked,
        [
            row("initialize", "/sse"),
            row("GET", "/sse"),
            row("initialize", "/messages?s=1"),
            row("notifications/initialized", "/messages?s=1"),
            row("ping", "/messages?s=1"),
        ]
    );
    assert_eq!(old.server.calls()[1].header("accept"), "text/event-stream");
    wire.close().await;
    assert!(!old.server.asked().contains(&"DELETE".to_owned()));
}

#[tokio::test]
async fn a_post_that_is_not_supported_leads_there_and_no_other_refusal_does() {
    let rpc_error: fn() -> Response<Body> = || {
        let error = json!({"jsonrpc": "2.0", "id": 0, "error": {"code": -32600, "message": "no"}});
        answer(400, "application/json", error.to_string())
    };
    let supported: [fn() -> Response<Body>; 4] = [
        || status(400),
        || answer(404, "text/html", "<pre>Cannot POST /sse</pre>"),
        || status(405),
        || answer(405, "application/json", "{\"detail\":\"Method Not Allowed\"}"),
    ];
    for refusal in supported {
        let mut old = Old::refusing(refusal).await;
        old.connect().await;
    }
    let others: [fn() -> Response<Body>; 7] = [
        rpc_error,
        || status(401),
        || status(403),
        || status(406),
        || status(429),
        || status(500),
        || answer(200, "text/html", "<h1>hello</h1>"),
    ];
    for refusal in others {
        let old = Old::refusing(refusal).await;
        let wire = transport(&old.server.url("/sse")).await;
        initialize(&*wire).await.unwrap_err();
        assert!(!old.server.asked().contains(&"GET".to_owned()), "{:?}", refusal().status());
    }
}

#[tokio::test]
async fn only_initialize_leads_there() {
    let old = Old::start().await;
    let wire = transport(&old.server.url("/sse")).await;
    let refused = call(&*wire, 1, "server/discover").await;
    assert!(matches!(refused, Err(TransportError::Status { status: 405, .. })), "{refused:?}");
    assert_eq!(old.server.asked(), ["server/discover"]);
}

#[tokio::test]
async fn where_no_endpoint_is_named_the_first_refusal_stands() {
    let silent: fn() -> Response<Body> = || {
        let (stream, response) = open_events();
        // Kept open for good.
        std::mem::forget(stream);
        response
    };
    let streams: [fn() -> Response<Body>; 8] = [
        || status(405),
        || status(403),
        || answer(200, "text/html", "<h1>hello</h1>"),
        || events(""),
        || events("data: {\"method\":\"notifications/x\"}\n\nevent: endpoint\ndata: /messages\n\n"),
        || events(format!("event: endpoint\ndata: {}\n\n", "x".repeat(100 << 10))),
        || events("event: endpoint\ndata: /messages\n"),
        silent,
    ];
    for stream in streams {
        let server = Server::start(move |call: Call| async move {
            if call.method == Method::GET { stream() } else { answer(404, "text/html", "<h1>no</h1>") }
        })
        .await;
        let wire = transport_with(&server.url("/sse"), small_limits(), vec![]).await;
        let refused = initialize(&*wire).await;
        let Err(TransportError::Status { status: 404, content_type, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(content_type.as_deref(), Some("text/html"));
        assert_eq!(server.asked(), ["initialize", "GET"]);
    }
}

#[tokio::test]
async fn a_stream_that_wants_a_sign_in_says_so() {
    let server =
        Server::start(|call: Call| async move { status(if call.method == Method::GET { 401 } else { 405 }) })
            .await;
    let wire = transport(&server.url("/sse")).await;
    let refused = initialize(&*wire).await;
    assert!(matches!(refused, Err(TransportError::Unauthorized { forbidden: false, .. })), "{refused:?}");
}

#[tokio::test]
async fn an_endpoint_at_another_origin_gets_nothing() {
    let other = Server::start(|_| async { status(202) }).await;
    let elsewhere = other.url("/messages");
    let server = Server::start(move |call: Call| {
        let elsewhere = elsewhere.clone();
        async move {
            match call.method {
                Method::GET => events(format!("event: endpoint\ndata: {elsewhere}\n\n")),
                _ => status(405),
            }
        }
    })
    .await;
    let wire = transport(&server.url("/sse")).await;
    let refused = initialize(&*wire).await;
    let Err(TransportError::Refused(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        why,
        format!("the server wants messages sent to another origin ({}), which is not done", other.url(""))
    );
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn notifications_and_requests_of_the_server_are_incoming_and_strangers_are_dropped() {
    let mut old = Old::start().await;
    let (wire, stream) = old.connect().await;
    let mut incoming = wire.incoming();
    for text in [
        "event: ping\ndata: {\"method\":\"not/a/message\"}\n\n".to_owned(),
        "data: this is no message\n\n".to_owned(),
        event(&json!({"jsonrpc": "2.0", "id": 99, "result": {}})),
        event(&json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "what?"}})),
        event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})),
        event(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})),
    ] {
        stream.send(text).unwrap();
    }
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "notifications/tools/list_changed");
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "ping");
    assert_eq!(call(&*wire, 1, "ping").await.unwrap(), json!({"id": 1}));
}

#[tokio::test]
async fn a_listener_from_before_follows_to_the_stream() {
    let mut old = Old::start().await;
    let wire = transport(&old.server.url("/sse")).await;
    let (mut taken_over, mut incoming) = (wire.incoming(), wire.incoming());
    assert!(soon("the end", taken_over.next()).await.is_none());
    let message = async {
        initialize(&*wire).await.unwrap();
        let stream = soon("a stream", old.streams.recv()).await.unwrap();
        stream.send(event(&json!({"jsonrpc": "2.0", "method": "notifications/x"}))).unwrap();
        stream
    };
    let (seen, _stream) = tokio::join!(next_incoming(&mut incoming), message);
    assert_eq!(seen.unwrap(), "notifications/x");
    assert!(taken_over.next().await.is_none());
    let mut later = wire.incoming();
    assert!(soon("the end", incoming.next()).await.is_none());
    wire.close().await;
    assert!(is_closed(&soon("the end", later.next()).await.unwrap()));
}

#[tokio::test]
async fn the_end_of_the_stream_ends_everything() {
    let mut old = Old::start().await;
    let (wire, stream) = old.connect().await;
    let mut incoming = wire.incoming();
    let (held, ended, ()) = tokio::join!(call(&*wire, 1, "hold"), soon("the end", incoming.next()), async {
        old.server.seen("hold", 1).await;
        // The server keeps another end of it.
        old.server.stop();
        drop(stream);
    });
    assert!(is_closed(&held), "{held:?}");
    assert!(is_closed(&ended.unwrap()));
    assert!(incoming.next().await.is_none());
    let later = call(&*wire, 2, "ping").await;
    assert!(is_closed(&later), "{later:?}");
    let later = notify(&*wire, "notifications/x").await;
    assert!(is_closed(&later), "{later:?}");
    assert!(is_closed(&soon("the end", wire.incoming().next()).await.unwrap()));
}

#[tokio::test]
async fn a_message_that_is_not_taken_fails_alone_unless_the_server_knows_the_stream_no_more() {
    let mut old = Old::start().await;
    let (wire, stream) = old.connect().await;
    let mut held = wire.exchange(request(1, "hold", Some(LEGACY))).await.unwrap();
    old.server.seen("hold", 1).await;
    let refused = call(&*wire, 2, "refuse").await;
    assert!(matches!(refused, Err(TransportError::Status { status: 500, .. })), "{refused:?}");
    let refused = notify(&*wire, "refuse").await;
    assert!(matches!(refused, Err(TransportError::Status { status: 500, .. })), "{refused:?}");
    assert_eq!(call(&*wire, 3, "ping").await.unwrap(), json!({"id": 3}));
    let lost = call(&*wire, 4, "lost").await;
    assert!(is_closed(&lost), "{lost:?}");
    assert!(is_closed(&result(&mut held).await));
    drop(stream);
}

#[tokio::test]
async fn an_answer_does_not_wait_for_its_post() {
    let mut old = Old::start().await;
    let (wire, _stream) = old.connect().await;
    assert_eq!(call(&*wire, 1, "late").await.unwrap(), json!({"id": 1}));
    // The server never takes it: the connection is given up.
    old.server.open_connections(2).await;
}

#[tokio::test]
async fn an_exchange_that_is_given_up_frees_its_id() {
    let mut old = Old::start().await;
    let (wire, stream) = old.connect().await;
    let held = wire.exchange(request(1, "hold", Some(LEGACY))).await.unwrap();
    let refused = wire.exchange(request(1, "ping", Some(LEGACY))).await.err();
    assert!(matches!(refused, Some(TransportError::Refused(_))), "{refused:?}");
    old.server.seen("hold", 1).await;
    drop(held);
    let mut again = wire.exchange(request(1, "ping", Some(LEGACY))).await.unwrap();
    assert_eq!(result(&mut again).await.unwrap().unwrap(), json!({"id": 1}));
    drop(stream);
}

#[tokio::test]
async fn closing_or_dropping_the_transport_drops_the_stream() {
    for close in [true, false] {
        let mut old = Old::start().await;
        let (wire, stream) = old.connect().await;
        let mut held = wire.exchange(request(1, "hold", Some(LEGACY))).await.unwrap();
        old.server.seen("hold", 1).await;
        if close {
            wire.close().await;
        } else {
            drop(wire);
        }
        assert!(is_closed(&result(&mut held).await));
        soon("the stream's end", stream.closed()).await;
    }
}
