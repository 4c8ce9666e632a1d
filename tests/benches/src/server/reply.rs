//! The bodies of answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// How long a stream stays open after its result.
const OPEN: Duration = Duration::from_secs(2);

/// A body in parts that are there from the start.
pub(super) struct Reply {
    parts: VecDeque<Bytes>,
    /// Its length, where it is announced.
    length: Option<u64>,
    /// Ends the body late.
    open: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    fn new(parts: impl IntoIterator<Item = Bytes>) -> Self {
        Self { parts: parts.into_iter().collect(), length: None, open: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(part) = self.parts.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &mut self.open {
            Some(open) => open.as_mut().poll(context).map(|()| None),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.open.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply { length: Some(0), ..Reply::new([]) });
    *response.status_mut() = status;
    response
}

/// An answer that is one JSON document.
pub(super) fn json(parts: impl IntoIterator<Item = Bytes>) -> Response<Reply> {
    let mut reply = Reply::new(parts);
    reply.length = Some(reply.parts.iter().map(|part| part.len() as u64).sum());
    with_type(reply, "application/json")
}

/// An answer that is one server-sent event. `open` leaves the stream open after it.
pub(super) fn event(parts: impl IntoIterator<Item = Bytes>, open: bool) -> Response<Reply> {
    let mut reply = Reply::new(parts);
    reply.open = open.then(|| Box::pin(tokio::time::sleep(OPEN)));
    with_type(reply, "text/event-stream")
}

fn with_type(reply: Reply, media_type: &'static str) -> Response<Reply> {
    let mut response = Response::new(reply);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
