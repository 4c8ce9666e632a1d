//! Tokens in use, and how long they will do.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;

use super::RefreshError;
use crate::clock::Clock;
use crate::dpop::DpopKey;
use crate::record::TokenRecord;

/// The longest time before its end that an access token is renewed.
const SKEW: Duration = Duration::from_secs(60);

/// After this time an access token that does not say when it ends is renewed, though used until it is refused.
const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);

/// Tokens as they were read or obtained. Never changed: a refresh makes new ones.
pub(crate) struct HeldTokens {
    pub(crate) record: TokenRecord,
    /// The key that they are bound to.
    pub(crate) dpop: Option<Arc<DpopKey>>,
    /// The stored value that these tokens stand for: their own, or, where they could not be written yet, the one before.
    pub(super) stored: SecretString,
    /// True where this process has them from the server, false where it has read them.
    pub(super) is_received: bool,
    end: End,
    /// Why they cannot be renewed any more.
    lost: OnceLock<RefreshError>,
}

/// When an access token ends, by both clocks: the wall clock jumps, the other stands still while the machine sleeps.
enum End {
    Known {
        lifetime: Duration,
        /// Unix seconds.
        at: u64,
        deadline: Instant,
    },
    /// Unknown, but it may be time for a renewal.
    Assumed(Instant),
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    /// It works, and is to be renewed.
    Due,
    Expired,
}

impl fmt::Debug for HeldTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldTokens")
            .field("record", &self.record)
            .field("lost", &self.lost.get())
            .finish_non_exhaustive()
    }
}

impl HeldTokens {
    pub(super) fn new(
        record: TokenRecord,
        dpop: Option<Arc<DpopKey>>,
        stored: SecretString,
        clock: &Clock,
    ) -> Self {
        let end = End::of(&record, clock);
        Self { record, dpop, stored, is_received: false, end, lost: OnceLock::new() }
    }

    pub(super) fn freshness(&self, clock: &Clock) -> Freshness {
        match self.end {
            End::Known { lifetime, at, deadline } => {
                // More than the whole lifetime cannot be left: then the clock has been set back.
                let by_wall = Duration::from_secs(at.saturating_sub(clock.now())).min(lifetime);
                let left = by_wall.min(deadline.saturating_duration_since(Instant::now()));
                if left.is_zero() {
                    Freshness::Expired
                } else if left <= SKEW.min(lifetime / 4) && self.is_renewable() {
                    Freshness::Due
                } else {
                    Freshness::Fresh
                }
            }
            End::Assumed(at) if Instant::now() >= at && self.is_renewable() => Freshness::Due,
            End::Assumed(_) | End::Unknown => Freshness::Fresh,
        }
    }

    /// True where there is something to renew them with.
    pub(super) fn is_renewable(&self) -> bool {
        self.record.refresh_token.is_some() || self.record.provenance.grant.is_some()
    }

    /// Why they cannot be renewed any more, once that is certain.
    pub(super) fn lost(&self) -> Option<RefreshError> {
        self.lost.get().cloned()
    }

    pub(super) fn lose(&self, error: &RefreshError) {
        self.lost.get_or_init(|| error.clone());
    }
}

impl End {
    fn of(record: &TokenRecord, clock: &Clock) -> Self {
        let now = clock.now();
        match (record.expires_at, record.obtained_at) {
            (Some(at), _) => {
                let left = at.saturating_sub(now);
                let lifetime = Duration::from_secs(record.lifetime().unwrap_or(left));
                let left = Duration::from_secs(left).min(lifetime);
                Self::Known { lifetime, at, deadline: later(left) }
            }
            (None, Some(since)) => {
                let age = Duration::from_secs(now.saturating_sub(since));
                Self::Assumed(later(ASSUMED_LIFETIME.saturating_sub(age)))
            }
            (None, None) => Self::Unknown,
        }
    }
}

/// A time from now; a very distant one where it cannot be represented.
fn later(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}
