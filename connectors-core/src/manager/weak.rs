//! A manager that is somebody else's to keep.

use std::sync::{Arc, Weak};

use super::{ConnectorManager, Owner};

/// A manager that is not kept alive. Cloning is cheap.
#[derive(Clone, Default)]
pub(crate) struct WeakManager(Weak<Owner>);

impl WeakManager {
    /// The manager; `None` once its last clone is dropped.
    pub(crate) fn upgrade(&self) -> Option<ConnectorManager> {
        self.0.upgrade().map(|owner| ConnectorManager { owner })
    }
}

impl ConnectorManager {
    /// For what must not keep the manager alive.
    pub(crate) fn downgrade(&self) -> WeakManager {
        WeakManager(Arc::downgrade(&self.owner))
    }
}
