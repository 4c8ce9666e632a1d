//! The ids of calls, by which they are cancelled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::request::CallRequest;
use crate::error::ConnectorError;
use crate::transport::InvalidDefinition;

/// The calls under way, by id.
#[derive(Default)]
pub(super) struct Calls {
    under_way: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
    next: AtomicU64,
}

impl Calls {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels a call; false if there is none with this id.
    pub(super) fn cancel(&self, call_id: &str) -> bool {
        let cancelled = self.under_way().get(call_id).cloned();
        cancelled.inspect(|call| call.notify_one()).is_some()
    }

    /// From now on the call is under way, and its time runs.
    pub(super) fn claim(self: &Arc<Self>, request: &CallRequest) -> Result<Claim, ConnectorError> {
        let call_id = request.call_id.clone().unwrap_or_else(|| self.made_up_id());
        let cancelled = match self.under_way().entry(Arc::clone(&call_id)) {
            Entry::Vacant(entry) => Arc::clone(entry.insert(Arc::default())),
            Entry::Occupied(_) => {
                let problem = "a call with this id is under way".to_owned();
                return Err(InvalidDefinition { field: "call_id", problem }.into());
            }
        };
        let deadline = request.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Claim { calls: Arc::clone(self), call_id, cancelled, deadline })
    }

    fn made_up_id(&self) -> Arc<str> {
        format!("call-{}", self.next.fetch_add(1, Ordering::Relaxed) + 1).into()
    }
}

/// The id of one call, for as long as it is under way, and when it has to be over.
pub(super) struct Claim {
    calls: Arc<Calls>,
    pub(super) call_id: Arc<str>,
    cancelled: Arc<Notify>,
    pub(super) deadline: Option<Instant>,
}

impl Claim {
    /// Returns once the call is cancelled, also if it was before. For one waiter at a time, who gives the call up then.
    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// The call is over: its id is free for another.
    pub(super) fn release(&self) {
        let mut under_way = self.calls.under_way();
        let is_ours = |call: &Arc<Notify>| Arc::ptr_eq(call, &self.cancelled);
        if under_way.get(&self.call_id).is_some_and(is_ours) {
            under_way.remove(&self.call_id);
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.call_id).finish()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}
