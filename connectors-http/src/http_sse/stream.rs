//! The stream that carries everything the server sends.

use std::sync::Arc;

use connectors_core::TransportError;
use connectors_core::multiplex::Multiplexer;
use reqwest::Response;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::body::chunk;
use crate::error::{place, shut};
use crate::events::too_large;
use crate::sse::{Decoder, Event, EventTooLarge};

/// The answer to the GET, event by event. Dropping it closes it.
pub(super) struct SharedStream {
    response: Response,
    decoder: Decoder,
}

impl SharedStream {
    /// The events of an answer, of which those over `limit` bytes are skipped.
    pub(super) fn new(response: Response, limit: usize) -> Self {
        Self { response, decoder: Decoder::new(limit).skipping() }
    }

    /// Where it comes from.
    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// The next event, of whatever type, or what is left of one that was too large; `None` at the end.
    pub(super) async fn next(
        &mut self,
        closed: &CancellationToken,
    ) -> Result<Option<Result<Event, EventTooLarge>>, TransportError> {
        loop {
            if let Some(event) = self.decoder.next_event().transpose() {
                return Ok(Some(event));
            }
            match chunk(&mut self.response, closed).await? {
                Some(bytes) => self.decoder.feed(bytes),
                None => return Ok(None),
            }
        }
    }
}

/// Hands over what arrives, until the stream ends or `closed` is cancelled; then ends everything that is open.
pub(super) async fn read(mut stream: SharedStream, messages: Arc<Multiplexer>, closed: CancellationToken) {
    let reason = loop {
        // A server that never pauses must not keep the stream open.
        if closed.is_cancelled() {
            break shut().to_string();
        }
        match stream.next(&closed).await {
            Ok(Some(Ok(event))) if event.is_message() => {
                messages.receive(&event.data);
            }
            Ok(Some(Ok(event))) => tracing::trace!(name = event.name, "an event of another type was skipped"),
            Ok(Some(Err(event))) => {
                messages.skip(&event.head, &event.tail, || too_large(event.limit));
            }
            Ok(None) => break "the server ended the stream that its answers arrive on".to_owned(),
            Err(TransportError::Closed { .. }) if !closed.is_cancelled() => {
                let place = place(stream.url());
                break format!("the connection to {place} that the server's answers arrive on broke off");
            }
            Err(error) => break error.to_string(),
        }
    };
    tracing::debug!(reason, "the stream of a server has ended");
    messages.end(&reason);
}
