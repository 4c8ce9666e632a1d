//! Sign-ins that were begun and are not over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::add::Prepared;
use super::cell::Cell;
use crate::memory::MemoryCredentialStore;
use crate::names::Slug;
use crate::sign_in::{SIGN_IN_LIFETIME, SignIn};
use crate::trace::Trace;

/// How many are kept; of more, the oldest are given up.
const KEPT: usize = 64;

/// A sign-in that was begun: whatever comes of it is for the one who began it.
pub(super) struct Begun {
    pub(super) sign_in: Arc<dyn SignIn>,
    pub(super) whose: Whose,
}

/// What a sign-in is for.
pub(super) enum Whose {
    /// A connector, as it was at this address.
    Known { cell: Arc<Cell>, url: String },
    /// A connector that comes into being with it.
    New(Box<Newcomer>),
}

/// A connector that does not exist yet.
pub(super) struct Newcomer {
    pub(super) prepared: Prepared,
    /// Its secrets until then: no other connector's are within reach of its sign-in.
    pub(super) staged: Arc<MemoryCredentialStore>,
    pub(super) trace: Trace,
}

impl Whose {
    /// The connector's name in errors.
    pub(super) fn slug(&self) -> &Slug {
        match self {
            Self::Known { cell, .. } => &cell.slug,
            Self::New(newcomer) => &newcomer.prepared.definition.slug,
        }
    }
}

/// The sign-ins under way, the oldest first.
#[derive(Default)]
pub(super) struct PendingSignIns(Mutex<VecDeque<Entry>>);

struct Entry {
    state: String,
    since: Instant,
    begun: Begun,
    /// For one that ends elsewhere: dropped with the entry, so that nobody waits for it any more.
    elsewhere: Option<oneshot::Sender<Infallible>>,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.since.elapsed() >= SIGN_IN_LIFETIME
    }
}

impl PendingSignIns {
    /// Keeps one that a redirect will complete.
    pub(super) fn insert(&self, state: String, begun: Begun) {
        self.push(Entry { state, since: Instant::now(), begun, elsewhere: None });
    }

    /// Keeps one that ends elsewhere. The receiver fails once it is given up.
    pub(super) fn insert_elsewhere(&self, state: String, begun: Begun) -> oneshot::Receiver<Infallible> {
        let (elsewhere, given_up) = oneshot::channel();
        self.push(Entry { state, since: Instant::now(), begun, elsewhere: Some(elsewhere) });
        given_up
    }

    fn push(&self, entry: Entry) {
        self.update(|entries| {
            let mut gone = take_if(entries, |other| other.is_over() || other.state == entry.state);
            while entries.len() >= KEPT {
                gone.extend(entries.pop_front());
            }
            entries.push_back(entry);
            gone
        });
    }

    /// Takes the one that a redirect names: each is good once.
    pub(super) fn take(&self, state: &str) -> Option<Begun> {
        let gone = self.update(|entries| {
            take_if(entries, |entry| entry.is_over() || (entry.state == state && entry.elsewhere.is_none()))
        });
        gone.into_iter().find(|entry| entry.state == state && !entry.is_over()).map(|entry| entry.begun)
    }

    /// Takes one that has ended elsewhere; nothing if it was given up.
    pub(super) fn take_elsewhere(&self, state: &str) -> Option<Begun> {
        let gone = self
            .update(|entries| take_if(entries, |entry| entry.state == state && entry.elsewhere.is_some()));
        gone.into_iter().next().map(|entry| entry.begun)
    }

    /// Gives up those of a connector.
    pub(super) fn forget(&self, cell: &Arc<Cell>) {
        let is_its = |entry: &Entry| matches!(&entry.begun.whose, Whose::Known { cell: other, .. } if Arc::ptr_eq(other, cell));
        self.update(|entries| take_if(entries, is_its));
    }

    /// Gives up all of them.
    pub(super) fn clear(&self) {
        self.update(|entries| entries.drain(..).collect());
    }

    /// Returns what was taken out, so that it is dropped without the lock.
    fn update(&self, change: impl FnOnce(&mut VecDeque<Entry>) -> Vec<Entry>) -> Vec<Entry> {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn take_if(entries: &mut VecDeque<Entry>, is_wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
    let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(entries).into_iter().partition(is_wanted);
    *entries = kept.into();
    taken
}
