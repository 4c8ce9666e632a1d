//! What one connection has beyond its requests: a subscription, a limit on what is in flight, and what its user has seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use connectors_core::{ConnectorEvent, ConnectorStatus, Slug};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};

use crate::error::ErrorObject;
use crate::events::Notifications;

/// Requests that one connection may have in flight.
pub const MAX_IN_FLIGHT: usize = 64;

/// One caller of a [`Dispatcher`](crate::Dispatcher), such as a WebSocket connection. Clones are the same session.
#[derive(Debug, Clone)]
pub struct Session(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    wish: Mutex<Wish>,
    pub(crate) wished: Notify,
    in_flight: Arc<Semaphore>,
    /// The hashes of what is proposed, as this session was told last: what its user means who names none.
    shown: Mutex<HashMap<Slug, String>>,
}

#[derive(Debug, Default)]
struct Wish {
    subscribed: bool,
    change: Option<Subscription>,
}

/// Where a session's events come from; `None` while it is not subscribed.
pub(crate) type Subscription = Option<broadcast::Receiver<Arc<ConnectorEvent>>>;

/// A request that counts as in flight until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    _permit: OwnedSemaphorePermit,
}

impl Session {
    /// A session, and the notifications that its owner sends on.
    pub fn open() -> (Self, Notifications) {
        let shared = Arc::new(Shared {
            wish: Mutex::default(),
            wished: Notify::new(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            shown: Mutex::default(),
        });
        (Self(Arc::clone(&shared)), Notifications::new(shared))
    }

    /// Counts a request in. Fails when [`MAX_IN_FLIGHT`] are under way; those are not affected.
    pub fn admit(&self) -> Result<InFlight, ErrorObject> {
        match Arc::clone(&self.0.in_flight).try_acquire_owned() {
            Ok(permit) => Ok(InFlight { _permit: permit }),
            Err(_) => Err(ErrorObject::limit_exceeded(
                "the number of requests in flight",
                "64 per connection",
                "wait for some of them to be answered",
            )),
        }
    }

    /// Starts the events. A session that has them already keeps its place among them.
    pub(crate) fn subscribe(&self, receiver: impl FnOnce() -> broadcast::Receiver<Arc<ConnectorEvent>>) {
        self.wish(true, || Some(receiver()));
    }

    /// Ends the events; those that have not been sent are dropped.
    pub(crate) fn unsubscribe(&self) {
        self.wish(false, || None);
    }

    /// Remembers what is proposed in a list that this session is given.
    pub(crate) fn show(&self, connectors: &[ConnectorStatus]) {
        let hash = |status: &ConnectorStatus| {
            let changed = status.proposal_changed.as_ref().map(|change| &change.hash);
            let hash = changed.or(status.proposal.as_ref().map(|proposal| &proposal.hash))?;
            Some((status.slug.clone(), hash.clone()))
        };
        let shown = connectors.iter().filter_map(hash).collect();
        *self.0.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// What this session was shown last as proposed under this slug.
    pub(crate) fn shown(&self, slug: &Slug) -> Option<String> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner).get(slug).cloned()
    }

    fn wish(&self, subscribed: bool, change: impl FnOnce() -> Subscription) {
        let mut wish = self.0.wish.lock().unwrap_or_else(PoisonError::into_inner);
        if wish.subscribed != subscribed {
            *wish = Wish { subscribed, change: Some(change()) };
            self.0.wished.notify_one();
        }
    }
}

impl Shared {
    /// What the session has changed about its subscription since this was last asked.
    pub(crate) fn take_change(&self) -> Option<Subscription> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).change.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixty_fifth_request_is_refused_until_another_is_answered() {
        let (session, _notifications) = Session::open();
        let mut in_flight: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| session.admit().unwrap()).collect();
        let refused = session.admit().unwrap_err();
        assert_eq!(refused.code, -32046);
        assert_eq!(
            refused.message,
            "the number of requests in flight is over the limit of 64 per connection"
        );
        in_flight.pop();
        assert!(session.admit().is_ok());
    }

    #[test]
    fn sessions_do_not_share_a_limit() {
        let (one, _notifications) = Session::open();
        let _all: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| one.admit().unwrap()).collect();
        let (other, _notifications) = Session::open();
        assert!(other.admit().is_ok());
    }
}
