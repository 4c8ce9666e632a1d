//! When to try again.

use std::time::Duration;

/// Full-jitter exponential backoff: a random wait below a ceiling that doubles from [`FIRST`] to [`LAST`].
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

/// The first ceiling.
const FIRST: Duration = Duration::from_millis(500);
/// The last ceiling.
const LAST: Duration = Duration::from_secs(300);
/// No wait is shorter, so that a server which fails at once is not hammered.
const LEAST: Duration = Duration::from_millis(100);

impl Backoff {
    /// Counts a failure and returns how long to wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = Self::ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(rand::random::<f64>()).max(LEAST)
    }

    /// Failures since the last [`reset`](Self::reset).
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins anew, after a success that lasted.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(failures: u32) -> Duration {
        FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_five_minutes() {
        assert_eq!(Backoff::ceiling(0), FIRST);
        assert_eq!(Backoff::ceiling(1), FIRST * 2);
        assert_eq!(Backoff::ceiling(4), FIRST * 16);
        assert_eq!(Backoff::ceiling(10), LAST);
        assert_eq!(Backoff::ceiling(u32::MAX), LAST);
    }

    #[test]
    fn every_wait_is_between_the_least_and_the_ceiling() {
        let mut backoff = Backoff::default();
        for n in 0..40 {
            let wait = backoff.next();
            assert!((LEAST..=Backoff::ceiling(n)).contains(&wait), "{n}: {wait:?}");
        }
        assert_eq!(backoff.failures(), 40);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }
}
