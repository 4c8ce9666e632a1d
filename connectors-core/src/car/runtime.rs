//! The tools of one runtime.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{Runtime, ToolRegistry};
use car_ir::ToolSchema;
use tokio::sync::RwLock;

use super::listing::List;
use super::tools::{Permissions, source, tool_entry};
use crate::manager::Route;

/// Both places in which a runtime keeps its tools: the registry, and the schemas that models are shown and actions validated by.
pub(super) struct RuntimeTools {
    registry: Weak<ToolRegistry>,
    schemas: Weak<RwLock<HashMap<String, ToolSchema>>>,
    permissions: Permissions,
}

impl RuntimeTools {
    pub(super) fn of(runtime: &Runtime, permissions: Permissions) -> Self {
        Self {
            registry: Arc::downgrade(&runtime.registry),
            schemas: Arc::downgrade(&runtime.tools),
            permissions,
        }
    }
}

#[async_trait]
impl List for RuntimeTools {
    // The schemas are locked throughout, so that nobody sees the two differ.

    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        let (Some(registry), Some(schemas)) = (self.registry.upgrade(), self.schemas.upgrade()) else {
            return false;
        };
        let mut schemas = schemas.write().await;
        for route in routes {
            let name = &*route.canonical;
            // A tool of somebody else's that has taken the name is not ours to remove.
            if registry.get(name).await.is_some_and(|entry| entry.source == source(&route.slug)) {
                registry.remove(name).await;
                schemas.remove(name);
            }
        }
        true
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        let (Some(registry), Some(schemas)) = (self.registry.upgrade(), self.schemas.upgrade()) else {
            return false;
        };
        let mut schemas = schemas.write().await;
        for route in routes {
            let entry = tool_entry(route, (self.permissions)(route));
            schemas.insert(entry.schema.name.clone(), entry.schema.clone());
            registry.register(entry).await;
        }
        true
    }
}
