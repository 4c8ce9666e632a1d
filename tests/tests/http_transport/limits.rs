//! Sizes: counted after decompression, and enforced before the memory is spent.

use std::io::Write;

use axum::body::Body;
use axum::http::Response;
use connectors_core::TransportError;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use serde_json::json;

use super::client::{call, small_limits, transport_with};
use super::server::{Call, Server, answer, events, json as json_answer, with};

/// Far over the limits of these tests, and a few kilobytes as gzip.
const HUGE: usize = 16 << 20;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// A body whose length is not announced.
fn chunked(text: String) -> Body {
    Body::from_stream(stream::iter([Ok::<_, std::convert::Infallible>(text)]))
}

fn respond(call: &Call, huge: &str, bomb: &[u8], bomb_of_events: &[u8]) -> Response<Body> {
    let gzipped = |response| with(response, "content-encoding", "gzip");
    match call.what().as_str() {
        "announced" => answer(200, "application/json", huge.to_owned()),
        "chunked" => answer(200, "application/json", chunked(huge.to_owned())),
        "gzip" => gzipped(answer(200, "application/json", bomb.to_vec())),
        "event" => events(format!("data: {huge}\n\n")),
        "lines" => events(format!("data: {}\n", "x".repeat(100)).repeat(10_000)),
        "id" => events(format!("id: {huge}\n\n")),
        "gzip of events" => gzipped(events(bomb_of_events.to_vec())),
        "damaged gzip" => gzipped(answer(200, "application/json", "not gzip at all")),
        // Comments cost nothing.
        "comments" => {
            let response = json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {}});
            events(format!(": {huge}\ndata: {response}\n\n"))
        }
        _ => json_answer(&json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {}})),
    }
}

#[tokio::test]
async fn what_is_too_large_ends_its_exchange_and_no_other() {
    let huge = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":"{}"}}}}"#, "0".repeat(HUGE));
    let (bomb, bomb_of_events) = (gzip(&huge), gzip(&format!("data: {huge}\n\n")));
    assert!(bomb.len() < 256 << 10, "{} bytes", bomb.len());
    let server = Server::start(move |call| {
        let response = respond(&call, &huge, &bomb, &bomb_of_events);
        async move { response }
    })
    .await;
    let wire = transport_with(&server.url("/mcp"), small_limits(), vec![]).await;
    let mut outcomes = Vec::new();
    for method in
        ["announced", "chunked", "gzip", "event", "lines", "id", "gzip of events", "damaged gzip", "comments"]
    {
        outcomes.push(match call(&*wire, 1, method).await {
            Ok(result) => format!("{method}: {result}"),
            Err(error) => format!("{method}: {error}"),
        });
        assert_eq!(call(&*wire, 2, "ping").await.unwrap(), json!({}), "after {method}");
    }
    let expected = [
        "announced: the server's answer is over the limit of 64 KiB",
        "chunked: the server's answer is over the limit of 64 KiB",
        "gzip: the server's answer is over the limit of 64 KiB",
        "event: a server-sent event is over the limit of 64 KiB",
        "lines: a server-sent event is over the limit of 64 KiB",
        "id: a server-sent event is over the limit of 64 KiB",
        "gzip of events: a server-sent event is over the limit of 64 KiB",
        "damaged gzip: the answer of 127.0.0.1 cannot be decompressed",
        "comments: {}",
    ];
    let place = server.url("").replace("http://", "");
    let expected: Vec<String> = expected.iter().map(|text| text.replace("127.0.0.1", &place)).collect();
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn an_error_status_with_an_endless_body_is_reported_all_the_same() {
    let server = Server::start(|_| async {
        let endless = stream::repeat_with(|| Ok::<_, std::convert::Infallible>("x".repeat(1000)));
        answer(500, "text/plain", Body::from_stream(endless))
    })
    .await;
    let wire = transport_with(&server.url("/mcp"), small_limits(), vec![]).await;
    let refused = call(&*wire, 1, "ping").await;
    assert!(matches!(refused, Err(TransportError::Status { status: 500, .. })), "{refused:?}");
    server.open_connections(0).await;
}
