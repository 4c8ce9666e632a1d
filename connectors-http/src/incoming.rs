//! What the server sends on its own: the GET stream of the legacy versions (2025-11-25, transports, listening for
//! messages from the server).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use connectors_core::TransportError;
use connectors_core::protocol::{Incoming, read_messages};
use connectors_core::transport::IncomingStream;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::shut;
use crate::events::EventStream;
use crate::reply::is_passing;
use crate::resume::{Pace, request};
use crate::session::{Session, SessionStore};
use crate::wire::Wire;

/// A stream that lasted this long was of use, whatever came over it.
const STEADY: Duration = Duration::from_secs(5);

/// What a listener hears of, beside its stream.
struct Signals {
    wire: Arc<Wire>,
    sessions: Arc<SessionStore>,
    /// Changes when another listener takes over.
    turn: watch::Receiver<u64>,
}

/// The stream of what the server sends on its own, over one session after the other. It ends with an error, or when
/// `turn` changes, another having taken over.
pub(crate) fn listen(
    wire: Arc<Wire>,
    sessions: Arc<SessionStore>,
    turn: watch::Receiver<u64>,
) -> IncomingStream {
    let signals = Signals { wire, sessions, turn };
    stream::unfold(Some((signals, None)), |state| async move {
        let (mut signals, mut listener) = state?;
        let item = signals.next(&mut listener).await?;
        let goes_on = item.is_ok();
        Some((item, goes_on.then_some((signals, listener))))
    })
    .fuse()
    .boxed()
}

impl Signals {
    /// The next message, or the error that ends the stream; `None` once another has taken over.
    async fn next(
        &mut self,
        listener: &mut Option<Box<Listener>>,
    ) -> Option<Result<Incoming, TransportError>> {
        loop {
            let step = async {
                match &mut *listener {
                    None => {
                        let session = self.sessions.confirmed().await;
                        *listener = Some(Box::new(Listener::new(Arc::clone(&self.wire), session)));
                        None
                    }
                    Some(current) => {
                        let session = Arc::clone(&current.session);
                        tokio::select! {
                            biased;
                            () = self.sessions.superseded(&session) => *listener = None,
                            // Boxed: most listeners never get here, and every connector has one.
                            item = Box::pin(current.next()) => return Some(item),
                        }
                        None
                    }
                }
            };
            let item = tokio::select! {
                biased;
                _ = self.turn.changed() => return None,
                () = self.wire.closed.cancelled() => Some(Err(shut())),
                item = step => item,
            };
            match (item, &listener) {
                (Some(Err(TransportError::SessionExpired)), Some(listener)) => {
                    self.sessions.expire(&listener.session);
                    return Some(Err(TransportError::SessionExpired));
                }
                (Some(item), _) => return Some(item),
                (None, _) => {}
            }
        }
    }
}

/// Keeps one GET stream of one session open, within reason.
struct Listener {
    wire: Arc<Wire>,
    session: Arc<Session>,
    /// The stream, from its first opening on.
    events: Option<EventStream>,
    opened: Instant,
    queue: VecDeque<Incoming>,
    pace: Pace,
    /// The stream has been asked for before.
    again: bool,
    /// From `Retry-After`.
    asked_to_wait: Option<Duration>,
}

impl Listener {
    fn new(wire: Arc<Wire>, session: Arc<Session>) -> Self {
        Self {
            wire,
            session,
            events: None,
            opened: Instant::now(),
            queue: VecDeque::new(),
            pace: Pace::default(),
            again: false,
            asked_to_wait: None,
        }
    }

    /// The next message. Stays pending for good where the server offers no stream.
    ///
    /// # Errors
    ///
    /// Only what the session's owner has to act on: [`TransportError::SessionExpired`], a refusal of the credentials.
    async fn next(&mut self) -> Result<Incoming, TransportError> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Ok(message);
            }
            if !self.read().await {
                if std::mem::replace(&mut self.again, true) {
                    self.pause().await;
                }
                self.open().await?;
            }
        }
    }

    /// Reads what the next event holds; false if there is no open stream.
    async fn read(&mut self) -> bool {
        let Some(events) = &mut self.events else { return false };
        match events.next().await {
            Ok(Some(event)) => {
                self.pace.progress();
                match read_messages(&event.data) {
                    Ok(messages) => self.queue.extend(messages),
                    Err(problem) => tracing::debug!(%problem, "an event that is no message was skipped"),
                }
                return true;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the server's stream broke off"),
        }
        if self.opened.elapsed() >= STEADY {
            self.pace.progress();
        }
        false
    }

    /// Waits until the stream may be asked for again. Never returns once it is given up.
    async fn pause(&mut self) {
        let retry = self.events.as_ref().and_then(|events| events.decoder().retry());
        let Some(wait) = self.pace.wait(retry.max(self.asked_to_wait.take())) else {
            tracing::debug!("the server's stream is given up");
            return std::future::pending().await;
        };
        // Later by up to half, so that the clients of a restarted server do not all come back at once.
        tokio::time::sleep(wait.mul_f64(rand::random_range(1.0..1.5))).await;
    }

    async fn open(&mut self) -> Result<(), TransportError> {
        let last_event_id = self.events.as_ref().and_then(|events| events.decoder().last_event_id());
        let resuming = last_event_id.is_some();
        // Until the stream has proved itself, by a message or by lasting.
        self.pace.failed();
        match request(&self.wire, &self.session, self.session.version(), last_event_id).await {
            Ok(response) => {
                self.opened = Instant::now();
                match &mut self.events {
                    Some(events) => events.go_on(response),
                    None => {
                        let limit = self.wire.limits.event_bytes;
                        self.events = Some(EventStream::new(response, limit, self.wire.closed.clone()));
                    }
                }
                Ok(())
            }
            Err(
                error @ (TransportError::SessionExpired
                | TransportError::Unauthorized { forbidden: false, .. }
                | TransportError::Authorizer(_)),
            ) => Err(error),
            Err(error) if is_passing(&error) => {
                if let TransportError::Status { retry_after, .. } = error {
                    self.asked_to_wait = retry_after;
                }
                Ok(())
            }
            // The id may be what it does not like: begin anew.
            Err(TransportError::Status { .. }) if resuming => {
                self.events = None;
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "the server offers no stream of its own");
                std::future::pending().await
            }
        }
    }
}
