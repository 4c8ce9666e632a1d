//! What arrives for one request.

use std::sync::Arc;

use connectors_core::TransportError;
use connectors_core::protocol::{Incoming, ProtocolVersion, RequestId, read_messages};
use connectors_core::transport::ReplyStream;
use futures_util::{StreamExt, stream};
use reqwest::Response;

use crate::body::whole;
use crate::events::EventStream;
use crate::resume::{Pace, request};
use crate::session::Session;
use crate::wire::Wire;

/// An answer being read, by whoever polls its stream.
pub(crate) struct Reply {
    wire: Arc<Wire>,
    id: RequestId,
    /// Messages read but not yet delivered.
    queue: std::vec::IntoIter<Incoming>,
    rest: Rest,
}

/// What is still to be read.
#[expect(clippy::large_enum_variant, reason = "it lives in the one allocation of its stream")]
enum Rest {
    Json(Response),
    Events(EventStream, Option<Box<Resumption>>),
    /// Nothing, though the response was not among it.
    NoResponse,
    Nothing,
}

/// What it takes to resume a stream of the legacy versions.
pub(crate) struct Resumption {
    session: Arc<Session>,
    version: Option<ProtocolVersion>,
    pace: Pace,
    /// The connection in use has brought something.
    moved: bool,
}

impl Resumption {
    /// For a request of this session, which announced `version`.
    pub(crate) fn new(session: Arc<Session>, version: Option<ProtocolVersion>) -> Self {
        Self { session, version, pace: Pace::default(), moved: false }
    }
}

impl Reply {
    /// An answer that is one JSON document.
    pub(crate) fn json(wire: Arc<Wire>, id: RequestId, response: Response) -> ReplyStream {
        Self::stream(wire, id, Rest::Json(response))
    }

    /// An answer that is a stream of events.
    pub(crate) fn events(
        wire: Arc<Wire>,
        id: RequestId,
        response: Response,
        resumption: Option<Resumption>,
    ) -> ReplyStream {
        let events = EventStream::new(response, wire.limits.event_bytes, wire.closed.clone());
        Self::stream(wire, id, Rest::Events(events, resumption.map(Box::new)))
    }

    fn stream(wire: Arc<Wire>, id: RequestId, rest: Rest) -> ReplyStream {
        let reply = Self { wire, id, queue: Vec::new().into_iter(), rest };
        stream::unfold(reply, |mut reply| async move {
            let item = reply.next().await?;
            Some((item, reply))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Incoming, TransportError>> {
        let Self { wire, id, queue, rest } = self;
        loop {
            if let Some(message) = queue.find(|message| is_wanted(message, id)) {
                return Some(Ok(message));
            }
            // Where it is, not moved out and in again: it is large, and every answer comes this way.
            let more = match rest {
                Rest::Nothing => return None,
                Rest::NoResponse => Err(TransportError::Malformed(
                    "the server's answer does not hold the response to the request".into(),
                )),
                Rest::Json(response) => read_json(wire, response).await,
                Rest::Events(events, resumption) => read_event(wire, events, resumption).await,
            };
            let messages = match more {
                Ok(messages) => messages,
                Err(error) => {
                    *rest = Rest::Nothing;
                    return Some(Err(error));
                }
            };
            match (&mut *rest, is_answered(&messages, id)) {
                (Rest::Events(..), false) => {}
                (Rest::Events(events, _), true) => {
                    events.finish().await;
                    *rest = Rest::Nothing;
                }
                (_, true) => *rest = Rest::Nothing,
                (_, false) => *rest = Rest::NoResponse,
            }
            *queue = messages.into_iter();
        }
    }
}

async fn read_json(wire: &Wire, response: &mut Response) -> Result<Vec<Incoming>, TransportError> {
    let body = whole(response, wire.limits.reply_bytes, &wire.closed).await?;
    if body.is_empty() {
        return Err(TransportError::Malformed("the server's answer is empty".into()));
    }
    parse(&body)
}

/// Reads the next event that carries messages, over as many connections as that takes.
async fn read_event(
    wire: &Wire,
    events: &mut EventStream,
    resumption: &mut Option<Box<Resumption>>,
) -> Result<Vec<Incoming>, TransportError> {
    loop {
        let before = events.decoder().last_event_id().map(ToOwned::to_owned);
        let end = match events.next().await {
            Ok(Some(event)) => {
                if let Some(resumption) = resumption {
                    resumption.moved = true;
                }
                return parse(&event.data);
            }
            Ok(None) => None,
            Err(error @ TransportError::Closed { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let (Some(resumption), Some(_)) = (&mut *resumption, events.decoder().last_event_id()) else {
            return Err(end.unwrap_or_else(|| closed("the server ended the stream before it answered")));
        };
        resumption.moved |= events.decoder().last_event_id() != before.as_deref();
        match (std::mem::take(&mut resumption.moved), end) {
            (true, _) => resumption.pace.progress(),
            (false, None) => resumption.pace.idle(),
            (false, Some(_)) => resumption.pace.failed(),
        }
        // Rare, and large: kept out of the future that every answer is read with.
        Box::pin(resume(wire, events, resumption)).await?;
    }
}

async fn resume(
    wire: &Wire,
    events: &mut EventStream,
    resumption: &mut Resumption,
) -> Result<(), TransportError> {
    loop {
        let Some(wait) = resumption.pace.wait(events.decoder().retry()) else {
            return Err(closed("the stream ended before the answer and could not be resumed"));
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = wire.closed.cancelled() => return Err(crate::error::shut()),
        }
        let last_event_id = events.decoder().last_event_id();
        match request(wire, &resumption.session, resumption.version, last_event_id).await {
            Ok(response) => {
                events.go_on(response);
                return Ok(());
            }
            Err(error) if is_passing(&error) && !wire.closed.is_cancelled() => {
                tracing::debug!(%error, "a stream could not be resumed yet");
                resumption.pace.failed();
            }
            // Not `SessionExpired`: that would say that the request may be sent again.
            Err(TransportError::SessionExpired) => {
                return Err(closed("the server ended the session before it answered"));
            }
            Err(TransportError::Status { .. } | TransportError::Malformed(_)) => {
                return Err(closed("the stream ended before the answer, and the server does not resume it"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// True if the answer to the request is among the messages. An error without an id, which the server could not read, can
/// only be about the request whose answer it is in.
fn is_answered(messages: &[Incoming], request: &RequestId) -> bool {
    messages.iter().any(|message| match message {
        Incoming::Response { id: Some(id), .. } => id == request,
        Incoming::Response { id: None, outcome } => outcome.is_err(),
        _ => false,
    })
}

/// False for a response to a request that is not the one being answered.
fn is_wanted(message: &Incoming, request: &RequestId) -> bool {
    let wanted = !matches!(message, Incoming::Response { id: Some(id), .. } if id != request);
    if !wanted {
        tracing::debug!("a response that nobody waits for was dropped");
    }
    wanted
}

/// True for a failure that may be over at the next attempt.
pub(crate) fn is_passing(error: &TransportError) -> bool {
    match error {
        TransportError::Unreachable { .. }
        | TransportError::TimedOut { .. }
        | TransportError::Closed { .. } => true,
        TransportError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502..=504),
        _ => false,
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Incoming>, TransportError> {
    read_messages(bytes).map_err(|e| TransportError::Malformed(format!("the server's answer is {e}")))
}

fn closed(reason: &str) -> TransportError {
    TransportError::Closed { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use connectors_core::Limits;
    use connectors_core::authorizer::StaticHeaders;

    use super::*;

    const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"ok":true}}"#;

    fn wire(limits: Limits) -> Arc<Wire> {
        Arc::new(Wire::unconnected(Arc::new(StaticHeaders::default()), limits))
    }

    /// What the stream delivers, in words.
    async fn delivered(stream: ReplyStream) -> Vec<String> {
        stream
            .map(|item| match item {
                Ok(Incoming::Response { id: Some(id), outcome: Ok(_) }) => format!("response {id}"),
                Ok(Incoming::Response { outcome: Err(error), .. }) => format!("error {}", error.code),
                Ok(Incoming::Notification { method, .. }) => method,
                Ok(other) => format!("{other:?}"),
                Err(error) => error.to_string(),
            })
            .collect()
            .await
    }

    async fn json(body: impl Into<String>) -> Vec<String> {
        let response = http::Response::new(body.into()).into();
        delivered(Reply::json(wire(Limits::default()), RequestId::Number(1), response)).await
    }

    async fn events(body: impl Into<String>) -> Vec<String> {
        let response = http::Response::new(body.into()).into();
        delivered(Reply::events(wire(Limits::default()), RequestId::Number(1), response, None)).await
    }

    #[tokio::test]
    async fn a_json_answer_is_delivered_message_by_message() {
        assert_eq!(json(RESPONSE).await, ["response 1"]);
        assert_eq!(
            json(format!(r#"[{{"method":"notifications/x"}},{RESPONSE}]"#)).await,
            ["notifications/x", "response 1"]
        );
    }

    #[tokio::test]
    async fn an_answer_without_the_response_ends_with_an_error() {
        let missing = "the server's answer does not hold the response to the request";
        assert_eq!(json(r#"{"id":"1","result":{}}"#).await, [missing]);
        assert_eq!(json(r#"{"method":"notifications/x"}"#).await, ["notifications/x", missing]);
        assert_eq!(json("").await, ["the server's answer is empty"]);
        assert_eq!(json("<html>").await, ["the server's answer is not JSON (line 1, column 1)"]);
    }

    #[tokio::test]
    async fn an_error_whose_id_the_server_could_not_read_is_the_answer() {
        let error = r#"{"id":null,"error":{"code":-32600}}"#;
        assert_eq!(json(error).await, ["error -32600"]);
        assert_eq!(events(format!("data: {error}\n\ndata: {RESPONSE}\n\n")).await, ["error -32600"]);
    }

    #[tokio::test]
    async fn a_stream_is_over_once_its_response_was_delivered_and_others_are_dropped() {
        let stream = format!(
            "event: ping\ndata: {{}}\n\ndata: {{\"method\":\"notifications/progress\"}}\n\n\
             data: {{\"id\":2,\"result\":{{}}}}\n\ndata: {RESPONSE}\n\ndata: {RESPONSE}\n\n"
        );
        assert_eq!(events(stream).await, ["notifications/progress", "response 1"]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_too_soon_or_breaks_the_protocol_is_an_error() {
        let early = "the server ended the stream before it answered";
        assert_eq!(events("").await, [early]);
        // Not resumable: there is no session that an event id would belong to.
        assert_eq!(events(format!("id: 7\ndata: {RESPONSE}\n")).await, [early]);
        assert_eq!(events("data: {\n\n").await, ["the server's answer is not JSON (line 1, column 1)"]);
    }

    #[tokio::test]
    async fn limits_hold_for_both_kinds_of_answer() {
        let mut limits = Limits::default();
        limits.reply_bytes = 10;
        limits.event_bytes = 20;
        let wire = wire(limits);
        let response = || http::Response::new(RESPONSE).into();
        let events = || http::Response::new(format!("data: {RESPONSE}\n\n")).into();
        let id = RequestId::Number(1);
        assert_eq!(
            delivered(Reply::json(Arc::clone(&wire), id.clone(), response())).await,
            ["the server's answer is over the limit of 10 bytes"]
        );
        assert_eq!(
            delivered(Reply::events(wire, id, events(), None)).await,
            ["a server-sent event is over the limit of 20 bytes"]
        );
    }

    #[test]
    fn what_may_be_over_soon_is_told_from_what_will_not() {
        let status =
            |status| TransportError::Status { status, content_type: None, rpc: None, retry_after: None };
        for passing in [429, 500, 502, 503, 504] {
            assert!(is_passing(&status(passing)), "{passing}");
        }
        for lasting in [400, 404, 405, 406, 501] {
            assert!(!is_passing(&status(lasting)), "{lasting}");
        }
    }
}
