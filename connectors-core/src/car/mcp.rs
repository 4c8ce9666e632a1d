//! The tools of one `McpToolExecutor`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{McpSession, McpToolExecutor};
use tokio::sync::Mutex;

use super::listing::{List, Purpose};
use super::runtime::Runtimes;
use super::session::ConnectorSession;
use crate::manager::Route;
use crate::manager::weak::WeakManager;
use crate::names::Slug;

type Session = Arc<Mutex<dyn McpSession>>;

/// The sessions and routes of an executor that are connectors'. Neither it nor the manager is kept alive.
///
/// The executor serves any number of runtimes, and asks none of them: so a name that is somebody else's in one of them is led to no
/// connector.
pub(super) struct McpRoutes {
    executor: Weak<McpToolExecutor>,
    manager: WeakManager,
    runtimes: Runtimes,
    connectors: HashMap<Slug, Connected>,
    /// What has no route here, because the name is taken.
    waiting: HashMap<Arc<str>, Arc<Route>>,
}

struct Connected {
    session: Session,
    routes: HashMap<Arc<str>, Arc<Route>>,
}

impl McpRoutes {
    pub(super) fn of(executor: &Arc<McpToolExecutor>, manager: WeakManager, runtimes: Runtimes) -> Self {
        Self {
            executor: Arc::downgrade(executor),
            manager,
            runtimes,
            connectors: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// The session of a connector under its slug; `None` where a server of the host's own has the name.
    async fn connected(&mut self, executor: &McpToolExecutor, slug: &Slug) -> Option<&mut Connected> {
        if !self.connectors.contains_key(slug) {
            if executor.session(slug.as_str()).await.is_some() {
                return None;
            }
            let session = ConnectorSession::lent(self.manager.clone(), slug.clone(), self.runtimes.clone());
            let session: Session = Arc::new(Mutex::new(session));
            executor.add_session(slug.as_str(), Arc::clone(&session)).await;
            self.connectors.insert(slug.clone(), Connected { session, routes: HashMap::new() });
        }
        self.connectors.get_mut(slug)
    }

    /// Why a tool that has no route here yet is to have none.
    async fn obstacle(&mut self, executor: &McpToolExecutor, route: &Arc<Route>) -> Option<&'static str> {
        if self.runtimes.is_taken(&route.slug, &route.canonical).await {
            return Some("a tool of a runtime's own has the name");
        }
        let Some(connected) = self.connected(executor, &route.slug).await else {
            return Some("another MCP server of this host has the connector's name");
        };
        let is_ours = connected.routes.contains_key(&route.canonical);
        (!is_ours && executor.handles(&route.canonical).await)
            .then_some("another MCP server of this host has a tool of the name")
    }

    async fn lead(&mut self, executor: &McpToolExecutor, route: &Arc<Route>) {
        if let Some(why) = self.obstacle(executor, route).await {
            let name = Arc::clone(&route.canonical);
            if self.waiting.insert(name, Arc::clone(route)).is_none() {
                tracing::warn!(tool = %route.canonical, slug = %route.slug, "{why}: the connector's is not routed");
            }
            return;
        }
        self.waiting.remove(&route.canonical);
        if let Some(connected) = self.connectors.get_mut(&route.slug) {
            connected.routes.insert(Arc::clone(&route.canonical), Arc::clone(route));
            executor.set_route(&*route.canonical, route.slug.as_str()).await;
        }
    }

    /// True if the route was ours.
    async fn take_back(&mut self, executor: &McpToolExecutor, route: &Route) -> bool {
        let Some(connected) = self.connectors.get_mut(&route.slug) else { return false };
        let was_ours = connected.routes.remove(&route.canonical).is_some();
        if was_ours {
            executor.remove_route(&route.canonical).await;
        }
        was_ours
    }

    async fn remove_unused(&mut self, executor: &McpToolExecutor) {
        let unused: Vec<Slug> = self
            .connectors
            .iter()
            .filter(|(_, connected)| connected.routes.is_empty())
            .map(|(slug, _)| slug.clone())
            .collect();
        for slug in unused {
            if let Some(connected) = self.connectors.remove(&slug) {
                executor.remove_session(slug.as_str(), &connected.session).await;
            }
        }
    }
}

#[async_trait]
impl List for McpRoutes {
    fn purpose(&self) -> Purpose {
        Purpose::Dispatch
    }

    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        let Some(executor) = self.executor.upgrade() else { return false };
        for route in routes {
            self.waiting.remove(&route.canonical);
            self.take_back(&executor, route).await;
        }
        self.remove_unused(&executor).await;
        true
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        let Some(executor) = self.executor.upgrade() else { return false };
        // Names may have been taken, or become free.
        let present: Vec<Arc<Route>> =
            self.connectors.values().flat_map(|connected| connected.routes.values().cloned()).collect();
        for route in present {
            if self.runtimes.is_taken(&route.slug, &route.canonical).await
                && self.take_back(&executor, &route).await
            {
                tracing::warn!(tool = %route.canonical, slug = %route.slug, "a tool of a runtime's own has taken the name: the connector's is not routed");
                self.waiting.insert(Arc::clone(&route.canonical), route);
            }
        }
        let waiting: Vec<Arc<Route>> = self.waiting.values().cloned().collect();
        for route in waiting.iter().chain(routes) {
            self.lead(&executor, route).await;
        }
        self.remove_unused(&executor).await;
        true
    }
}
