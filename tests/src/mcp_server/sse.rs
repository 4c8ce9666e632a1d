//! Answers as streams of server-sent events.

use std::convert::Infallible;
use std::future::Future;

use axum::body::Body;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc;

use super::faults::respond;

/// The sending end of a stream.
#[derive(Debug)]
pub(crate) struct SseSender(mpsc::Sender<Bytes>);

/// The client has closed the stream.
#[derive(Debug)]
pub(crate) struct Closed;

impl SseSender {
    /// Sends one message.
    pub(crate) async fn send(&self, message: &Value) -> Result<(), Closed> {
        self.0.send(Bytes::from(format!("event: message\ndata: {message}\n\n"))).await.map_err(|_| Closed)
    }

    /// Waits until the client closes the stream.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// A response whose events come from `write`; the stream ends when it returns.
pub(crate) fn stream_response<F>(write: impl FnOnce(SseSender) -> F) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(write(SseSender(sender)));
    let events = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (Ok::<_, Infallible>(event), receiver))
    });
    let mut response = respond(200, "text/event-stream", Body::from_stream(events));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
    response
}
