//! Waiting for the user to grant more: one announcement for all calls that wait for it.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::cell::Cell;
use super::shared::Shared;
use crate::events::EventKind;

/// What a connector's calls wait for, and whether it has come.
#[derive(Debug, Default)]
pub(super) struct Consent(watch::Sender<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Sign-ins that were completed.
    grants: u64,
    /// No more will be: the connector is gone, or shut down.
    is_over: bool,
    wanted: Option<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    scopes: Vec<String>,
    /// How many calls wait.
    calls: usize,
}

/// How waiting has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A sign-in was completed.
    Granted,
    /// None in time.
    TooLate,
    /// None can be completed any more.
    Over,
}

impl Consent {
    /// How many sign-ins were completed.
    pub(super) fn grants(&self) -> u64 {
        self.0.borrow().grants
    }

    /// The scopes that are waited for.
    pub(super) fn scopes(&self) -> Vec<String> {
        self.0.borrow().wanted.as_ref().map(|wanted| wanted.scopes.clone()).unwrap_or_default()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.borrow().wanted.is_some()
    }

    /// Ends all waiting: no sign-in will be completed any more.
    pub(super) fn end(&self) {
        self.0.send_modify(|progress| {
            progress.is_over = true;
            progress.wanted = None;
        });
    }
}

impl Shared {
    /// A sign-in was completed: whoever waits for it goes on.
    pub(super) fn consented(&self, cell: &Cell) {
        cell.consent.0.send_modify(|progress| {
            progress.grants += 1;
            if progress.wanted.take().is_some() {
                self.consent_over(cell);
            }
        });
    }

    /// Asks the user for these scopes, along with all who ask, and waits for a sign-in after the one numbered `since`.
    pub(super) async fn consent(
        &self,
        cell: &Cell,
        since: u64,
        scopes: &[String],
        reason: &str,
        until: Instant,
    ) -> Verdict {
        let _asking = self.ask(cell, since, scopes, reason);
        let mut progress = cell.consent.0.subscribe();
        let ended = timeout_at(until, async {
            let progress = progress.wait_for(|progress| progress.is_over || progress.grants != since).await;
            progress.map_or(true, |progress| progress.is_over)
        });
        match ended.await {
            Ok(false) => Verdict::Granted,
            Ok(true) => Verdict::Over,
            Err(_) => Verdict::TooLate,
        }
    }

    fn ask<'a>(&'a self, cell: &'a Cell, since: u64, scopes: &[String], reason: &str) -> Option<Asking<'a>> {
        let mut is_asked = false;
        cell.consent.0.send_if_modified(|progress| {
            if progress.is_over || progress.grants != since {
                return false;
            }
            is_asked = true;
            let is_first = progress.wanted.is_none();
            let wanted = progress.wanted.get_or_insert_with(|| Wanted { scopes: Vec::new(), calls: 0 });
            wanted.calls += 1;
            let known = wanted.scopes.len();
            for scope in scopes {
                if !wanted.scopes.contains(scope) {
                    wanted.scopes.push(scope.clone());
                }
            }
            if is_first || wanted.scopes.len() > known {
                let (reason, scopes) = (Some(reason.to_owned()), wanted.scopes.clone());
                self.tell(cell, EventKind::SignIn { wanted: true, reason, scopes });
            }
            // Nobody waits for this.
            false
        });
        is_asked.then(|| Asking { shared: self, cell, since })
    }

    fn consent_over(&self, cell: &Cell) {
        // A connector that is down for want of a sign-in still wants it.
        if cell.state.borrow().refusal().is_none() {
            self.sign_in_over(cell);
        }
    }
}

/// One call that waits. The last one to give up takes the question back.
struct Asking<'a> {
    shared: &'a Shared,
    cell: &'a Cell,
    since: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.cell.consent.0.send_if_modified(|progress| {
            if progress.grants == self.since
                && let Some(wanted) = &mut progress.wanted
            {
                wanted.calls -= 1;
                if wanted.calls == 0 {
                    progress.wanted = None;
                    self.shared.consent_over(self.cell);
                }
            }
            false
        });
    }
}
