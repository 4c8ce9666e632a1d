//! What a host holds.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use car_engine::{EventLog, McpToolExecutor, Runtime, ToolPermission};
use tokio::sync::Mutex as AsyncMutex;

use super::executor::ConnectorExecutor;
use super::listing::Listing;
use super::mcp::McpRoutes;
use super::record::Recorder;
use super::runtime::RuntimeTools;
use super::session::ConnectorSession;
use super::tools::Permissions;
use crate::manager::{ConnectorManager, Route};
use crate::names::Slug;
use crate::observer::RouteObserver;

/// One for each log.
type Recorders = Arc<Mutex<Vec<(Weak<AsyncMutex<EventLog>>, Recorder)>>>;

/// The connectors of one manager in any number of runtimes. Cloning is cheap; all clones are the same bridge.
///
/// Lists follow the routes for as long as the bridge, or an executor made by it, lives. What is attached is not kept alive.
#[derive(Clone)]
pub struct CarBridge {
    names: Names,
    permissions: Permissions,
    recorders: Recorders,
}

impl std::fmt::Debug for CarBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CarBridge").finish_non_exhaustive()
    }
}

impl CarBridge {
    /// A bridge to the connectors of `manager`. What the user has enabled is allowed without asking again.
    pub async fn new(manager: ConnectorManager) -> Self {
        Self::with_permissions(manager, Arc::new(|_| ToolPermission::Allow)).await
    }

    /// As [`new`](Self::new), with a rule of the host's own for what the user is asked.
    pub async fn with_permissions(manager: ConnectorManager, permissions: Permissions) -> Self {
        let listing = Arc::new(Listing::default());
        let observer: Arc<dyn RouteObserver> = Arc::<Listing>::clone(&listing);
        manager.observe_routes(&observer).await;
        Self { names: Names { manager, listing }, permissions, recorders: Arc::default() }
    }

    /// The manager.
    pub fn manager(&self) -> &ConnectorManager {
        self.names.manager()
    }

    /// Lists the connectors' tools in a runtime, from now on and as they come and go, and records in its event log what becomes
    /// of them. Its actions reach them through an [`executor`](Self::executor). To be done once for each runtime.
    pub async fn attach(&self, runtime: &Runtime) {
        self.record_into(&runtime.log).await;
        self.names.listing.follow(RuntimeTools::of(runtime, Arc::clone(&self.permissions))).await;
    }

    /// The way from a runtime's actions to connectors: to be set as its tool executor.
    pub fn executor(&self, runtime: &Runtime) -> ConnectorExecutor {
        ConnectorExecutor::new(self.names.clone(), runtime, self.recorder(&runtime.log))
    }

    /// Keeps sessions and routes of an `McpToolExecutor` in step, and so of all that share them. Servers that the host has added
    /// stay as they are; one under the slug of a connector keeps that connector's tools out.
    pub async fn attach_mcp(&self, executor: &Arc<McpToolExecutor>) {
        self.names.listing.follow(McpRoutes::of(executor, self.names.clone())).await;
    }

    /// One connector as a session of the engine's.
    pub fn session(&self, slug: &Slug) -> ConnectorSession {
        ConnectorSession::new(self.names.clone(), slug.clone())
    }

    /// Records in an event log which tools can be called and which definitions have changed. A log is recorded into once, however
    /// often this is asked for.
    pub async fn record_into(&self, log: &Arc<AsyncMutex<EventLog>>) {
        let (recorder, is_new) = self.recorder_of(log);
        if is_new {
            self.names.listing.follow(recorder).await;
        }
    }

    /// Returns once all that has happened is in the logs.
    pub async fn recorded(&self) {
        let recorders: Vec<Recorder> = {
            let recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
            recorders.iter().map(|(_, recorder)| recorder.clone()).collect()
        };
        for recorder in recorders {
            recorder.written().await;
        }
    }

    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }

    pub(super) fn recorder(&self, log: &Arc<AsyncMutex<EventLog>>) -> Recorder {
        self.recorder_of(log).0
    }

    fn recorder_of(&self, log: &Arc<AsyncMutex<EventLog>>) -> (Recorder, bool) {
        let mut recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|(log, _)| log.strong_count() > 0);
        if let Some((_, recorder)) =
            recorders.iter().find(|(other, _)| std::ptr::eq(other.as_ptr(), Arc::as_ptr(log)))
        {
            return (recorder.clone(), false);
        }
        let recorder = Recorder::on(log, self.manager().events().subscribe());
        recorders.push((Arc::downgrade(log), recorder.clone()));
        (recorder, true)
    }
}

/// What leads from model-visible names to connectors.
#[derive(Clone)]
pub(super) struct Names {
    manager: ConnectorManager,
    pub(super) listing: Arc<Listing>,
}

impl Names {
    pub(super) fn manager(&self) -> &ConnectorManager {
        &self.manager
    }

    pub(super) fn route(&self, canonical: &str) -> Option<Arc<Route>> {
        self.manager.routes().by_name(canonical).cloned()
    }

    /// The connector that a name belongs to; for one that is not routed any more, the one that it belonged to.
    pub(super) fn owner(&self, canonical: &str) -> Option<Slug> {
        match self.manager.routes().by_name(canonical) {
            Some(route) => Some(route.slug.clone()),
            None => self.listing.owner(canonical),
        }
    }
}
