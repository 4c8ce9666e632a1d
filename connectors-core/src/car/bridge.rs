//! What a host holds.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use car_engine::{EventLog, McpToolExecutor, Runtime, ToolPermission};
use tokio::sync::Mutex as AsyncMutex;

use super::executor::ConnectorExecutor;
use super::listing::{Listing, Owned};
use super::mcp::McpRoutes;
use super::record::Recorder;
use super::runtime::{Attached, RuntimeTools, Runtimes};
use super::session::ConnectorSession;
use super::tools::Permissions;
use crate::manager::weak::WeakManager;
use crate::manager::{ConnectorManager, Route};
use crate::names::Slug;
use crate::observer::RouteObserver;

/// What records into one log.
struct Recording {
    log: Weak<AsyncMutex<EventLog>>,
    recorder: Recorder,
    /// Whether it follows the listing.
    follows: bool,
}

/// The connectors of one manager in any number of runtimes. Cloning is cheap; all clones are the same bridge.
///
/// Lists follow the routes for as long as the bridge, or an executor made by it, lives. What is attached is not kept alive.
///
/// The manager is kept alive by the bridge, and by each executor and [`session`](Self::session) made by it; not by what is
/// attached, by a log that is recorded into, or by a rule.
#[derive(Clone)]
pub struct CarBridge {
    names: Names,
    permissions: Permissions,
    /// One for each log.
    recordings: Arc<Mutex<Vec<Recording>>>,
    runtimes: Runtimes,
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
        Self {
            names: Names { manager, listing },
            permissions,
            recordings: Arc::default(),
            runtimes: Runtimes::default(),
        }
    }

    /// The manager.
    pub fn manager(&self) -> &ConnectorManager {
        self.names.manager()
    }

    /// Lists the connectors' tools in a runtime, from now on and as they come and go, and records in its event log what becomes
    /// of them. Its actions reach them through an [`executor`](Self::executor), which is to be set before, so that nothing is
    /// listed that cannot be called. A runtime that is attached already stays as it is.
    ///
    /// A tool of the runtime's own keeps its name: a connector's tool of that name is not listed, nor called.
    pub async fn attach(&self, runtime: &Runtime) {
        self.record_into(&runtime.log).await;
        let attached = self.attached(runtime);
        if attached.is_followed() {
            return;
        }
        let tools = RuntimeTools::of(attached, Arc::clone(&self.permissions));
        self.names.listing.follow(tools).await;
    }

    /// The way from a runtime's actions to connectors: to be set as its tool executor. Calls nothing before the runtime is
    /// [attached](Self::attach).
    pub fn executor(&self, runtime: &Runtime) -> ConnectorExecutor {
        ConnectorExecutor::new(self.names.clone(), self.attached(runtime), self.recorder(&runtime.log))
    }

    /// Keeps sessions and routes of an `McpToolExecutor` in step, and so of all that share them. Servers that the host has added
    /// stay as they are; one under the slug of a connector keeps that connector's tools out. So does a tool of the host's own in any
    /// runtime that is attached: its name leads to no connector, in none of them. Once the manager is no more, the sessions refuse
    /// every call.
    pub async fn attach_mcp(&self, executor: &Arc<McpToolExecutor>) {
        let routes = McpRoutes::of(executor, self.manager().downgrade(), self.runtimes.clone());
        self.names.listing.follow(routes).await;
    }

    /// One connector as a session of the engine's.
    pub fn session(&self, slug: &Slug) -> ConnectorSession {
        ConnectorSession::new(self.manager().clone(), slug.clone())
    }

    /// Records in an event log which tools can be called and which definitions have changed. A log is recorded into once, however
    /// often this is asked for.
    pub async fn record_into(&self, log: &Arc<AsyncMutex<EventLog>>) {
        let unfollowed = self.recording(log, |recording| {
            let had_followed = std::mem::replace(&mut recording.follows, true);
            (!had_followed).then(|| recording.recorder.clone())
        });
        if let Some(recorder) = unfollowed {
            self.names.listing.follow(recorder).await;
        }
    }

    /// Returns once all that has happened is in the logs. What the manager's events could not hold is named there as lost.
    pub async fn recorded(&self) {
        let recorders: Vec<Recorder> = {
            let recordings = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
            recordings.iter().map(|recording| recording.recorder.clone()).collect()
        };
        for recorder in recorders {
            recorder.written().await;
        }
    }

    pub(super) fn owners(&self) -> Owners {
        Owners { manager: self.manager().downgrade(), owned: self.names.listing.owned.clone() }
    }

    pub(super) fn recorder(&self, log: &Arc<AsyncMutex<EventLog>>) -> Recorder {
        self.recording(log, |recording| recording.recorder.clone())
    }

    pub(super) fn attached(&self, runtime: &Runtime) -> Arc<Attached> {
        self.runtimes.attached(runtime)
    }

    fn recording<R>(&self, log: &Arc<AsyncMutex<EventLog>>, then: impl FnOnce(&mut Recording) -> R) -> R {
        let mut recordings = self.recordings.lock().unwrap_or_else(PoisonError::into_inner);
        recordings.retain(|recording| recording.log.strong_count() > 0);
        let is_this = |recording: &Recording| std::ptr::eq(recording.log.as_ptr(), Arc::as_ptr(log));
        if let Some(known) = recordings.iter_mut().find(|recording| is_this(recording)) {
            return then(known);
        }
        let recorder = Recorder::on(log, self.manager().downgrade(), self.manager().events().decisions());
        let mut recording = Recording { log: Arc::downgrade(log), recorder, follows: false };
        let result = then(&mut recording);
        recordings.push(recording);
        result
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
        self.route(canonical).map(|route| route.slug.clone()).or_else(|| self.listing.owned.owner(canonical))
    }
}

/// Whose names are, for what may outlive the manager and the listing: neither is kept alive.
pub(super) struct Owners {
    manager: WeakManager,
    owned: Owned,
}

impl Owners {
    /// As [`Names::owner`]; once the manager is no more, the connector that a name belonged to.
    pub(super) fn of(&self, canonical: &str) -> Option<Slug> {
        let routed = self
            .manager
            .upgrade()
            .and_then(|manager| manager.routes().by_name(canonical).map(|route| route.slug.clone()));
        routed.or_else(|| self.owned.owner(canonical))
    }
}
