//! HTTP with SSE, the wire of 2024-11-05 (2024-11-05, transports; 2025-11-25, transports, backwards compatibility): one
//! GET stream brings everything that the server sends, and each message is a POST to the address that the stream names.

mod endpoint;
mod stream;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors_core::TransportError;
use connectors_core::multiplex::Multiplexer;
use connectors_core::protocol::{Incoming, RequestId};
use connectors_core::transport::{
    IncomingStream, Mirror, OutgoingNotification, OutgoingRequest, ReplyStream,
};
use futures_util::{StreamExt, stream as streams};
use tokio::sync::{SetOnce, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;
use url::Url;

use self::stream::SharedStream;
use crate::body::release;
use crate::headers;
use crate::response::refusal;
use crate::resume::request;
use crate::session::Session;
use crate::wire::{Outgoing, Verb, Wire};

/// How long a server has to name its endpoint, once it has refused the other wire.
const ENDPOINT_WAIT: Duration = Duration::from_secs(10);

/// How long the end of a POST is waited for whose message has been answered already, for the sake of its connection.
const ANSWERED_WAIT: Duration = Duration::from_secs(1);

/// A conversation over this wire. Dropping it closes the stream.
pub(crate) struct HttpSse {
    messages: Arc<Multiplexer>,
    /// Sends to the address that the server has named.
    wire: Arc<Wire>,
    _close: DropGuard,
}

/// True if a refused `initialize` may mean that the server knows this wire alone.
pub(crate) fn is_possible(refusal: &TransportError) -> bool {
    matches!(refusal, TransportError::Status { status: 400 | 404 | 405, rpc: None, .. })
}

impl HttpSse {
    /// Opens the stream; `None` if the server offers none that names an endpoint in time.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] and [`TransportError::Malformed`] for an endpoint that is not used;
    /// [`TransportError::Unauthorized`] (401) and [`TransportError::Authorizer`], after which the server may offer one.
    pub(crate) async fn open(wire: &Wire) -> Result<Option<Self>, TransportError> {
        // Within the handshake, so that the server's first refusal is what is reported in the end.
        let wait = ENDPOINT_WAIT.min(wire.limits.handshake / 2);
        let closed = wire.closed.child_token();
        let Ok(found) = tokio::time::timeout(wait, find(wire, &closed)).await else {
            tracing::debug!("the server opens a stream, but names no endpoint on it");
            return Ok(None);
        };
        let Some((stream, endpoint)) = found? else { return Ok(None) };
        tracing::debug!("the server speaks HTTP with SSE");
        let messages = Arc::new(Multiplexer::new(wire.limits.event_bytes));
        let wire = Arc::new(wire.at(endpoint, closed.clone()));
        tokio::spawn(stream::read(stream, Arc::clone(&messages), closed.clone()).in_current_span());
        Ok(Some(Self { messages, wire, _close: closed.drop_guard() }))
    }

    /// Sends a request. Returns at once: a server may take the POST only when it has answered on the stream.
    pub(crate) fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let OutgoingRequest { id, method, body, mirror } = request;
        let message = message(body, &mirror, Some(&method))?;
        let reply = self.messages.open(id.clone())?;
        let (answered, is_answered) = oneshot::channel();
        let delivery = deliver(Arc::clone(&self.wire), Arc::clone(&self.messages), id, message, is_answered);
        tokio::spawn(delivery.in_current_span());
        let mut answered = Some(answered);
        let reply = reply.inspect(move |item| {
            if is_last(item)
                && let Some(answered) = answered.take()
            {
                // Fails where the POST is done, as it mostly is.
                let _ = answered.send(());
            }
        });
        Ok(reply.boxed())
    }

    /// Sends a message that is not answered; returns once the server has taken it.
    pub(crate) async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        let OutgoingNotification { method, body, mirror } = note;
        if let Some(ended) = self.messages.ended() {
            return Err(ended);
        }
        let message = message(body, &mirror, method.as_deref())?;
        post(&self.wire, &self.messages, &message).await
    }

    /// What the server sends on its own.
    pub(crate) fn incoming(&self) -> IncomingStream {
        self.messages.incoming()
    }
}

/// The incoming stream of a transport that may turn to this wire: that of `before` until then.
pub(crate) fn incoming_after(before: IncomingStream, switched: Arc<SetOnce<HttpSse>>) -> IncomingStream {
    let state = (before, Some(switched));
    streams::unfold(state, |(mut current, mut switched)| async move {
        loop {
            let Some(waiting) = &switched else {
                return Some((current.next().await?, (current, switched)));
            };
            tokio::select! {
                // First: it ends when another has taken over, who then reads the new wire as well.
                biased;
                item = current.next() => return Some((item?, (current, switched))),
                opened = waiting.wait() => {
                    current = opened.incoming();
                    switched = None;
                }
            }
        }
    })
    .fuse()
    .boxed()
}

/// The stream and the endpoint that it names, if it is one of this wire.
async fn find(
    wire: &Wire,
    closed: &CancellationToken,
) -> Result<Option<(SharedStream, Url)>, TransportError> {
    let response = match request(wire, &Session::None, None, None).await {
        Ok(response) => response,
        // Only the refusal of the credentials says what to do; a server may check them on this request alone.
        Err(
            error @ (TransportError::Unauthorized { forbidden: false, .. } | TransportError::Authorizer(_)),
        ) => return Err(error),
        Err(error) => {
            tracing::debug!(%error, "the server does not speak HTTP with SSE");
            return Ok(None);
        }
    };
    let mut stream = SharedStream::new(response, wire.limits.event_bytes);
    loop {
        match stream.next(closed).await {
            Ok(Some(Ok(event))) if event.name.as_deref() == Some("endpoint") => {
                let endpoint = endpoint::resolve(stream.url(), &event.data)?;
                return Ok(Some((stream, endpoint)));
            }
            Ok(Some(Ok(event))) if !event.is_message() => {}
            // A stream that begins with a message is one of the other wire.
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

/// True for what an exchange ends with.
fn is_last(item: &Result<Incoming, TransportError>) -> bool {
    matches!(item, Ok(Incoming::Response { .. }) | Err(_))
}

fn message(body: Bytes, mirror: &Mirror, method: Option<&str>) -> Result<Outgoing, TransportError> {
    let headers = headers::post(mirror, method, &Session::None)?;
    Ok(Outgoing { verb: Verb::Post, headers, body })
}

/// Posts the request of an exchange, which fails if it is not taken. Given up with the exchange.
async fn deliver(
    wire: Arc<Wire>,
    messages: Arc<Multiplexer>,
    id: RequestId,
    message: Outgoing,
    is_answered: oneshot::Receiver<()>,
) {
    let mut posting = pin!(post(&wire, &messages, &message));
    tokio::select! {
        biased;
        posted = &mut posting => {
            if let Err(error) = posted {
                messages.fail(&id, error);
            }
        }
        answered = is_answered => {
            if answered.is_ok() {
                // Whatever comes of it: the answer is there.
                let _ = tokio::time::timeout(ANSWERED_WAIT, posting).await;
            }
        }
    }
}

/// Posts a message; `Ok` once the server has taken it.
async fn post(wire: &Wire, messages: &Multiplexer, message: &Outgoing) -> Result<(), TransportError> {
    let response = wire.send(message).await?;
    if response.status().is_success() {
        release(response);
        return Ok(());
    }
    match refusal(response, true).await {
        TransportError::SessionExpired => {
            // The stream would bring no answer any more: all of this conversation is over.
            let reason = "the server no longer knows this connection";
            messages.end(reason);
            Err(TransportError::Closed { reason: reason.to_owned() })
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use connectors_core::protocol::read_messages;

    use super::*;

    fn refused(status: u16, rpc: Option<i64>) -> TransportError {
        let rpc = rpc.map(|code| Box::new(connectors_core::protocol::RpcError::new(code, "no")));
        TransportError::Status { status, content_type: None, rpc, retry_after: None }
    }

    #[test]
    fn only_a_bare_not_supported_may_mean_this_wire() {
        let possible: Vec<u16> = (300..600).filter(|status| is_possible(&refused(*status, None))).collect();
        assert_eq!(possible, [400, 404, 405]);
        for other in [
            refused(400, Some(-32600)),
            refused(404, Some(-32601)),
            TransportError::SessionExpired,
            TransportError::Refused("elsewhere".into()),
            TransportError::Malformed("no".into()),
        ] {
            assert!(!is_possible(&other), "{other:?}");
        }
    }

    #[test]
    fn an_exchange_ends_with_its_response_and_not_with_its_progress() {
        let last = |text: &str| is_last(&Ok(read_messages(text.as_bytes()).unwrap().remove(0)));
        assert!(last(r#"{"id":1,"result":{}}"#));
        assert!(last(r#"{"id":1,"error":{"code":1}}"#));
        assert!(!last(r#"{"method":"notifications/progress","params":{"progressToken":1}}"#));
        assert!(is_last(&Err(crate::error::shut())));
    }
}
