//! The events of one answer, as they arrive.

use connectors_core::TransportError;
use reqwest::Response;
use tokio_util::sync::CancellationToken;

use crate::body::{chunk, finish, size};
use crate::sse::{Decoder, Event};

/// An event stream, which may go on over several answers.
pub(crate) struct EventStream {
    /// The answer being read; `None` once it has ended.
    response: Option<Response>,
    decoder: Decoder,
    closed: CancellationToken,
}

impl EventStream {
    /// The events of an answer, each of at most `limit` bytes.
    pub(crate) fn new(response: Response, limit: usize, closed: CancellationToken) -> Self {
        Self { response: Some(response), decoder: Decoder::new(limit), closed }
    }

    /// The next message event; `None` when the answer has ended. Events of other types are skipped.
    ///
    /// # Errors
    ///
    /// [`TransportError::Closed`] when the answer broke off; other errors make the stream useless.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, TransportError> {
        loop {
            let event = self.decoder.next_event().map_err(|event| too_large(event.limit))?;
            match event {
                Some(event) if event.is_message() => return Ok(Some(event)),
                Some(_) => continue,
                None => {}
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            match chunk(response, &self.closed).await {
                Ok(Some(bytes)) => self.decoder.feed(bytes),
                Ok(None) => self.response = None,
                Err(error) => {
                    self.response = None;
                    return Err(error);
                }
            }
        }
    }

    /// Goes on with the answer to a request that resumed the stream.
    pub(crate) fn go_on(&mut self, response: Response) {
        self.decoder.restart();
        self.response = Some(response);
    }

    /// What is known for resuming the stream.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Ends the stream, nothing more being needed of it.
    pub(crate) async fn finish(&mut self) {
        finish(&mut self.response).await;
    }
}

/// The error of an event over `limit` bytes.
pub(crate) fn too_large(limit: usize) -> TransportError {
    TransportError::LimitExceeded { limit: "a server-sent event", max: size(limit) }
}
