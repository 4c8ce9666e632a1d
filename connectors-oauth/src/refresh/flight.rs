//! One piece of work at a time, for all who want its outcome.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Inner, Outcome, Purpose, RefreshError, Session, lock};

/// Where the outcome of a flight appears.
pub(super) type Landing = watch::Receiver<Option<Outcome>>;

impl Session {
    /// Joins the work that is under way, or begins some, and waits for its end. True if it was begun here.
    pub(super) async fn land(&self, purpose: Purpose) -> (Outcome, bool) {
        let (mut landing, is_own) = self.take_off(purpose);
        let outcome = match landing.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            // The task was dropped: the runtime shuts down.
            Err(_) => None,
        };
        (outcome.unwrap_or(Err(RefreshError::Interrupted)), is_own)
    }

    /// Begins work unless some is under way.
    pub(super) fn take_off(&self, purpose: Purpose) -> (Landing, bool) {
        let mut flight = lock(&self.inner.flight);
        if let Some(landing) = &*flight {
            return (landing.clone(), false);
        }
        let (outcome, landing) = watch::channel(None);
        *flight = Some(landing.clone());
        drop(flight);
        let pilot = Pilot(Arc::clone(&self.inner));
        tokio::spawn(async move {
            let result = pilot.0.run(&purpose).await;
            // The place is free before anyone learns of the end and wants it.
            drop(pilot);
            outcome.send_replace(Some(result));
        });
        (landing, true)
    }
}

/// Frees the place of a flight, however it ends.
struct Pilot(Arc<Inner>);

impl Drop for Pilot {
    fn drop(&mut self) {
        *lock(&self.0.flight) = None;
    }
}
