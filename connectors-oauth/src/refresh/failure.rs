//! Failures that may pass, and how soon the next attempt is made.

use std::time::Duration;

use tokio::time::Instant;

use super::{Inner, RefreshError, lock};

/// Before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause while the access token still works.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The longest pause while a caller waits for tokens, unless the server wants more.
const LONGEST_URGENT: Duration = Duration::from_secs(30);

/// How often the store is looked into after a grant has been lost.
pub(super) const RECHECK: Duration = Duration::from_secs(5);

/// The last failure, until something succeeds.
pub(super) struct Failure {
    error: RefreshError,
    count: u32,
    next_early: Instant,
    next_urgent: Instant,
}

impl Inner {
    /// Whether to try ahead of time.
    pub(super) fn may_try_early(&self) -> bool {
        lock(&self.failure).as_ref().is_none_or(|failure| Instant::now() >= failure.next_early)
    }

    /// The last failure, where it is too recent to try again.
    pub(super) fn not_too_soon(&self) -> Result<(), RefreshError> {
        match &*lock(&self.failure) {
            Some(failure) if Instant::now() < failure.next_urgent => Err(failure.error.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn note_failure(&self, error: &RefreshError) {
        let mut last = lock(&self.failure);
        let count = last.as_ref().map_or(1, |failure| failure.count.saturating_add(1));
        let pause = FIRST_PAUSE.saturating_mul(1 << (count - 1).min(16));
        let wanted = match error {
            RefreshError::Unavailable(error) => error.retry_after().unwrap_or_default().min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        };
        let now = Instant::now();
        *last = Some(Failure {
            error: error.clone(),
            count,
            next_early: now + pause.min(LONGEST_PAUSE).max(wanted),
            next_urgent: now + pause.min(LONGEST_URGENT).max(wanted),
        });
    }

    pub(super) fn clear_failure(&self) {
        *lock(&self.failure) = None;
    }
}
