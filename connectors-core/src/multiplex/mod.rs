//! For wires on which all messages share one channel: finding what each of them is for.
//!
//! A wire opens an exchange per request, hands over every text that it receives, and says when the channel has ended.
//! Responses are matched by id, and progress by its token, so that what was sent before an answer is read before it.
//! Whatever else the server sends is kept, within limits, for [`Transport::incoming`](crate::Transport::incoming).

mod exchanges;
mod inbox;
mod unreadable;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use serde::Deserialize;

use self::exchanges::Exchanges;
pub use self::exchanges::Reply;
use self::inbox::Inbox;
pub use self::unreadable::response_id;
use crate::error::TransportError;
use crate::protocol::{Incoming, RequestId, read_messages};
use crate::transport::IncomingStream;

/// What a message costs in a queue besides its text.
const MESSAGE_OVERHEAD: usize = 128;

/// The exchanges of one channel, and what the server sends on its own.
///
/// *Concurrency.* Everything takes `&self`; locks are held for a look-up at most. Who reads the channel never waits for
/// who reads the messages: a server that floods loses notifications (logs and progress first), no responses.
#[derive(Debug)]
pub struct Multiplexer {
    exchanges: Arc<Exchanges>,
    inbox: Arc<Inbox>,
    max_bytes: usize,
    unreadable: AtomicU64,
}

impl Multiplexer {
    /// A channel without exchanges, which keeps at most `max_bytes` of what nobody has read yet.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            exchanges: Arc::default(),
            inbox: Arc::new(Inbox::new(max_bytes)),
            max_bytes,
            unreadable: AtomicU64::new(0),
        }
    }

    /// Begins an exchange: call it before the request is sent.
    ///
    /// # Errors
    ///
    /// [`TransportError::Closed`] once the channel has ended; [`TransportError::Refused`] while an exchange with this id
    /// is open.
    pub fn open(&self, id: RequestId) -> Result<Reply, TransportError> {
        self.exchanges.open(id)
    }

    /// What the server sends on its own; a later call takes the stream over. Ends with [`TransportError::Closed`].
    pub fn incoming(&self) -> IncomingStream {
        self.inbox.stream().boxed()
    }

    /// Takes a text from the channel; false if it is no message. Then it is skipped, and the exchange that it can be seen
    /// to answer ends with [`TransportError::Malformed`].
    pub fn receive(&self, text: &[u8]) -> bool {
        match read_messages(text) {
            Ok(messages) => {
                messages.into_iter().for_each(|message| self.route(message));
                true
            }
            Err(problem) => {
                self.skip(text, &[], || {
                    TransportError::Malformed(format!("the server's answer is {problem}"))
                });
                false
            }
        }
    }

    /// Takes note of a text that could not be read, of which the ends are left. The exchange that it can be seen to answer
    /// ends with `error`.
    pub fn skip(&self, head: &[u8], tail: &[u8], error: impl FnOnce() -> TransportError) {
        let total = self.unreadable.fetch_add(1, Ordering::Relaxed) + 1;
        let answers = response_id(head, tail).is_some_and(|id| self.fail(&id, error()));
        tracing::debug!(answers, total, "a text of the server that cannot be read was skipped");
    }

    /// Ends one exchange with an error; false if it is not open.
    pub fn fail(&self, id: &RequestId, error: TransportError) -> bool {
        self.exchanges.settle(id, Err(error))
    }

    /// Ends every exchange and the incoming stream with `reason`, and refuses new exchanges. The first reason stays.
    pub fn end(&self, reason: &str) {
        let reason = Arc::from(reason);
        self.exchanges.end(&reason);
        self.inbox.end(&reason);
    }

    /// The error of everything that is asked for after the end; `None` before it.
    pub fn ended(&self) -> Option<TransportError> {
        self.exchanges.ended()
    }

    fn route(&self, message: Incoming) {
        match message {
            Incoming::Response { id: Some(id), outcome } => {
                let response = Incoming::Response { id: Some(id.clone()), outcome };
                if !self.exchanges.settle(&id, Ok(response)) {
                    tracing::debug!(%id, "a response that nobody waits for was dropped");
                }
            }
            Incoming::Response { id: None, outcome } => {
                let code = outcome.err().map(|error| error.code);
                tracing::debug!(code, "a response without an id was dropped");
            }
            message => {
                let bytes = MESSAGE_OVERHEAD.saturating_add(text_size(&message));
                let message = match progress_of(&message) {
                    Some(id) => match self.exchanges.notify(&id, message, bytes) {
                        Ok(()) => return,
                        Err(message) => message,
                    },
                    None => message,
                };
                self.inbox.push(message, bytes.min(self.max_bytes));
            }
        }
    }
}

/// The request that a progress notification is about: this client's tokens are its ids.
fn progress_of(message: &Incoming) -> Option<RequestId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        progress_token: RequestId,
    }
    match message {
        Incoming::Notification { method, params: Some(params) } if method == "notifications/progress" => {
            serde_json::from_str::<Params>(params.get()).ok().map(|params| params.progress_token)
        }
        _ => None,
    }
}

fn text_size(message: &Incoming) -> usize {
    match message {
        Incoming::Request { method, params, .. } | Incoming::Notification { method, params } => {
            method.len() + params.as_ref().map_or(0, |params| params.get().len())
        }
        Incoming::Response { .. } => 0,
    }
}
