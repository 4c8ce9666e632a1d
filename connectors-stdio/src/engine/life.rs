//! How far a connection of the engine's has come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// What ends a connection that was closed or dropped by this side.
pub(super) const CLOSED: &str = "the connection was closed";

#[derive(Debug, Clone)]
enum Stage {
    On,
    /// The process has ended, and what it has left is being read.
    Ending,
    /// Over, for this reason.
    Over(Arc<str>),
}

/// Shared by all who can end a connection, or wait for its end. The first reason counts.
#[derive(Debug, Clone)]
pub(super) struct Life(watch::Sender<Stage>);

impl Life {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Stage::On))
    }

    /// True until the process is seen as ended, or the connection is over.
    pub(super) fn is_on(&self) -> bool {
        matches!(*self.0.borrow(), Stage::On)
    }

    /// From now on nothing is begun; the reason follows.
    pub(super) fn is_ending(&self) {
        self.0.send_if_modified(|stage| {
            let is_on = matches!(stage, Stage::On);
            if is_on {
                *stage = Stage::Ending;
            }
            is_on
        });
    }

    pub(super) fn end(&self, reason: &str) {
        self.0.send_if_modified(|stage| {
            let is_first = !matches!(stage, Stage::Over(_));
            if is_first {
                *stage = Stage::Over(reason.into());
            }
            is_first
        });
    }

    /// Why the connection is over.
    pub(super) fn reason(&self) -> Option<Arc<str>> {
        match &*self.0.borrow() {
            Stage::Over(reason) => Some(Arc::clone(reason)),
            Stage::On | Stage::Ending => None,
        }
    }

    /// Waits for the end; returns its reason.
    pub(super) fn over(&self) -> impl Future<Output = Arc<str>> + Send + use<> {
        let mut stages = self.0.subscribe();
        async move {
            match stages.wait_for(|stage| matches!(stage, Stage::Over(_))).await.as_deref() {
                Ok(Stage::Over(reason)) => Arc::clone(reason),
                _ => CLOSED.into(),
            }
        }
    }

    /// The reason, if the end begins within `limit`.
    pub(super) async fn over_soon(&self, limit: Duration) -> Option<Arc<str>> {
        let mut stages = self.0.subscribe();
        timeout(limit, stages.wait_for(|stage| !matches!(stage, Stage::On))).await.ok()?.ok()?;
        Some(self.over().await)
    }
}
