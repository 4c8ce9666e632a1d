//! The tools of one runtime.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock as StdRwLock, Weak};

use async_trait::async_trait;
use car_engine::{PolicyEngine, Runtime, ToolEntry, ToolRegistry};
use car_ir::{ToolSchema, ToolSourceKind};
use tokio::sync::RwLock;

use super::listing::{List, Purpose};
use super::tools::{Permissions, connector_of, tool_entry, tool_schema};
use crate::manager::Route;
use crate::names::Slug;

/// One runtime, as its list, its executors and its rules know it in common. It is not kept alive.
pub(super) struct Attached {
    registry: Weak<ToolRegistry>,
    schemas: Weak<RwLock<HashMap<String, ToolSchema>>>,
    policies: Weak<RwLock<PolicyEngine>>,
    /// Tools that are not listed, because a tool of somebody else's has the name.
    crowded_out: StdRwLock<HashMap<Arc<str>, Arc<Route>>>,
    /// The connectors that rules deny, by rule.
    denials: StdRwLock<HashMap<String, Slug>>,
    /// Whether its list follows the connectors.
    follows: AtomicBool,
}

/// Who has a name in a runtime.
pub(super) enum Holder {
    /// The connector in question.
    Connector,
    /// A tool that is no connector's.
    Somebody,
    /// Nobody, or a connector that is about to lose it.
    Nobody,
}

impl Attached {
    pub(super) fn to(runtime: &Runtime) -> Self {
        Self {
            registry: Arc::downgrade(&runtime.registry),
            schemas: Arc::downgrade(&runtime.tools),
            policies: Arc::downgrade(&runtime.policies),
            crowded_out: StdRwLock::default(),
            denials: StdRwLock::default(),
            follows: AtomicBool::new(false),
        }
    }

    pub(super) fn is_to(&self, runtime: &Runtime) -> bool {
        std::ptr::eq(self.registry.as_ptr(), Arc::as_ptr(&runtime.registry))
            && std::ptr::eq(self.schemas.as_ptr(), Arc::as_ptr(&runtime.tools))
            && std::ptr::eq(self.policies.as_ptr(), Arc::as_ptr(&runtime.policies))
    }

    /// Whether somebody has its list follow the connectors; if nobody does, whoever asks is to.
    pub(super) fn is_followed(&self) -> bool {
        self.follows.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.registry.strong_count() == 0 || self.schemas.strong_count() == 0
    }

    /// Who has the name of a tool of the connector `slug`.
    pub(super) async fn holder(&self, slug: &Slug, tool: &str) -> Holder {
        let (Some(registry), Some(schemas)) = (self.registry.upgrade(), self.schemas.upgrade()) else {
            return Holder::Nobody;
        };
        if let Some(entry) = registry.get(tool).await {
            return holder(slug, &entry);
        }
        // While they are locked, nothing is published or withdrawn.
        let schemas = schemas.read().await;
        match registry.get(tool).await {
            Some(entry) => holder(slug, &entry),
            None if schemas.contains_key(tool) => Holder::Somebody,
            None => Holder::Nobody,
        }
    }

    /// A rule of the name is replaced: the connector that it denied.
    pub(super) fn deny(&self, rule: &str, target: Slug) -> Option<Slug> {
        self.denials.write().unwrap_or_else(PoisonError::into_inner).insert(rule.to_owned(), target)
    }

    /// The connector that the rule denied.
    pub(super) fn allow(&self, rule: &str) -> Option<Slug> {
        self.denials.write().unwrap_or_else(PoisonError::into_inner).remove(rule)
    }

    /// The rule that denies a connector.
    pub(super) fn denied_by(&self, slug: &Slug) -> Option<String> {
        let denials = self.denials.read().unwrap_or_else(PoisonError::into_inner);
        denials.iter().filter(|(_, target)| *target == slug).map(|(rule, _)| rule.clone()).min()
    }
}

/// The runtimes of one bridge.
#[derive(Clone, Default)]
pub(super) struct Runtimes(Arc<Mutex<Vec<Arc<Attached>>>>);

impl Runtimes {
    /// What is shared by all that serve a runtime.
    pub(super) fn attached(&self, runtime: &Runtime) -> Arc<Attached> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|attached| !attached.is_gone());
        if let Some(attached) = all.iter().find(|attached| attached.is_to(runtime)) {
            return Arc::clone(attached);
        }
        let attached = Arc::new(Attached::to(runtime));
        all.push(Arc::clone(&attached));
        attached
    }

    /// True if the name of a tool of the connector `slug` is somebody else's in one of them.
    pub(super) async fn is_taken(&self, slug: &Slug, tool: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for attached in all {
            if matches!(attached.holder(slug, tool).await, Holder::Somebody) {
                return true;
            }
        }
        false
    }
}

fn holder(slug: &Slug, entry: &ToolEntry) -> Holder {
    match connector_of(entry) {
        Some(connector) if connector == slug.as_str() => Holder::Connector,
        Some(_) => Holder::Nobody,
        None => Holder::Somebody,
    }
}

/// Both places in which a runtime keeps its tools: the registry, and the schemas that models are shown and actions validated by.
///
/// A name that is somebody else's stays theirs: the tool of that name is listed once the name is free.
pub(super) struct RuntimeTools {
    runtime: Arc<Attached>,
    permissions: Permissions,
}

impl RuntimeTools {
    pub(super) fn of(runtime: Arc<Attached>, permissions: Permissions) -> Self {
        Self { runtime, permissions }
    }

    async fn list(
        &self,
        registry: &ToolRegistry,
        schemas: &mut HashMap<String, ToolSchema>,
        route: &Arc<Route>,
    ) {
        let name = &*route.canonical;
        let is_free = match registry.get(name).await {
            Some(entry) => connector_of(&entry).is_some(),
            None => !schemas.contains_key(name),
        };
        if is_free {
            let entry = tool_entry(route, (self.permissions)(route));
            schemas.insert(entry.schema.name.clone(), entry.schema.clone());
            registry.register(entry).await;
        }
        let mut crowded_out = self.runtime.crowded_out.write().unwrap_or_else(PoisonError::into_inner);
        if is_free {
            crowded_out.remove(name);
        } else if crowded_out.insert(Arc::clone(&route.canonical), Arc::clone(route)).is_none() {
            tracing::warn!(tool = name, slug = %route.slug, "another tool of this runtime has the name: the connector's is not listed");
        }
    }
}

#[async_trait]
impl List for RuntimeTools {
    fn purpose(&self) -> Purpose {
        Purpose::Show
    }

    // The schemas are locked throughout, so that nobody sees the two differ.

    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        let (Some(registry), Some(schemas)) =
            (self.runtime.registry.upgrade(), self.runtime.schemas.upgrade())
        else {
            return false;
        };
        let mut schemas = schemas.write().await;
        for route in routes {
            let name = &*route.canonical;
            self.runtime.crowded_out.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            // A tool of somebody else's that has taken the name is not ours to remove.
            let is_ours = registry
                .get(name)
                .await
                .is_some_and(|entry| connector_of(&entry) == Some(route.slug.as_str()));
            if is_ours {
                registry.remove(name).await;
            }
            let is_our_schema = schemas.get(name).is_some_and(|schema| {
                (is_ours && schema.source == ToolSourceKind::Mcp) || *schema == tool_schema(name, &route.tool)
            });
            if is_our_schema {
                schemas.remove(name);
            }
        }
        true
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        let (Some(registry), Some(schemas)) =
            (self.runtime.registry.upgrade(), self.runtime.schemas.upgrade())
        else {
            return false;
        };
        let mut schemas = schemas.write().await;
        // Their names may have become free.
        let waiting: Vec<Arc<Route>> = {
            let crowded_out = self.runtime.crowded_out.read().unwrap_or_else(PoisonError::into_inner);
            crowded_out.values().cloned().collect()
        };
        for route in waiting.iter().chain(routes) {
            self.list(&registry, &mut schemas, route).await;
        }
        true
    }
}
