//! The tools of one `McpToolExecutor`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{McpSession, McpToolExecutor};
use tokio::sync::Mutex;

use super::listing::List;
use super::session::ConnectorSession;
use crate::manager::Route;
use crate::manager::weak::WeakManager;
use crate::names::Slug;

type Session = Arc<Mutex<dyn McpSession>>;

/// The sessions and routes of an executor that are connectors'. Neither it nor the manager is kept alive.
pub(super) struct McpRoutes {
    executor: Weak<McpToolExecutor>,
    manager: WeakManager,
    connectors: HashMap<Slug, Connected>,
}

struct Connected {
    session: Session,
    routes: HashSet<Arc<str>>,
}

impl McpRoutes {
    pub(super) fn of(executor: &Arc<McpToolExecutor>, manager: WeakManager) -> Self {
        Self { executor: Arc::downgrade(executor), manager, connectors: HashMap::new() }
    }

    /// The session of a connector under its slug; `None` where a server of the host's own has the name.
    async fn connected(&mut self, executor: &McpToolExecutor, slug: &Slug) -> Option<&mut Connected> {
        if !self.connectors.contains_key(slug) {
            if executor.session(slug.as_str()).await.is_some() {
                tracing::warn!(%slug, "another MCP server of this host has the connector's name: its tools are not routed");
                return None;
            }
            let session: Session =
                Arc::new(Mutex::new(ConnectorSession::lent(self.manager.clone(), slug.clone())));
            executor.add_session(slug.as_str(), Arc::clone(&session)).await;
            self.connectors.insert(slug.clone(), Connected { session, routes: HashSet::new() });
        }
        self.connectors.get_mut(slug)
    }
}

#[async_trait]
impl List for McpRoutes {
    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        let Some(executor) = self.executor.upgrade() else { return false };
        for route in routes {
            let Some(connected) = self.connectors.get_mut(&route.slug) else { continue };
            if connected.routes.remove(&route.canonical) {
                executor.remove_route(&route.canonical).await;
            }
        }
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
        true
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        let Some(executor) = self.executor.upgrade() else { return false };
        for route in routes {
            let Some(connected) = self.connected(&executor, &route.slug).await else { continue };
            if !connected.routes.contains(&route.canonical) && executor.handles(&route.canonical).await {
                tracing::warn!(tool = %route.canonical, slug = %route.slug, "another MCP server of this host has a tool of the name: the connector's is not routed");
                continue;
            }
            connected.routes.insert(Arc::clone(&route.canonical));
            executor.set_route(&*route.canonical, route.slug.as_str()).await;
        }
        true
    }
}
