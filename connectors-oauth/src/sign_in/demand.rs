//! What the server has said that it wants.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::challenge::Wanted;
use crate::scopes;

/// Remembered from one request to the next sign-in.
#[derive(Debug, Default)]
pub(super) struct Demand(Mutex<Wishes>);

#[derive(Debug, Default, Clone)]
pub(super) struct Wishes {
    /// The last challenge to a request without a token, or with one that is no good.
    pub(super) wanted: Option<Wanted>,
    /// Everything to ask for, since the server has refused something for want of scope.
    pub(super) more: Vec<String>,
    /// The authorization server has refused the scopes that were suggested.
    pub(super) is_too_much: bool,
}

impl Demand {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> Wishes {
        self.wishes().clone()
    }

    /// A 401.
    pub(super) fn challenged(&self, wanted: Wanted) {
        self.wishes().wanted = Some(wanted);
    }

    /// A 403 for want of scope: what there was, and what is missing. Returns everything to ask for.
    pub(super) fn insufficient(&self, had: &[String], missing: &[String]) -> Vec<String> {
        let mut wishes = self.wishes();
        wishes.more = scopes::union(&scopes::union(had, &wishes.more), missing);
        wishes.more.clone()
    }

    /// The authorization server does not know one of the scopes.
    pub(super) fn too_much(&self) {
        self.wishes().is_too_much = true;
    }

    /// Tokens are there.
    pub(super) fn satisfied(&self) {
        let mut wishes = self.wishes();
        wishes.more.clear();
        wishes.is_too_much = false;
    }
}
