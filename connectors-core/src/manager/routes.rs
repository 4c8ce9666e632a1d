//! What is dispatchable: one immutable snapshot, replaced as a whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::cell::Cell;
use crate::definition::ConnectorDefinition;
use crate::gate::{Admission, EnablementGate};
use crate::names::{Slug, canonical_name, hashed_name};
use crate::tool::ToolDefinition;

/// The way from a model-visible name to a server's tool.
///
/// It exists only while the user has enabled the tool and every gate admits it. A call keeps the route it started with.
pub struct Route {
    /// The model-visible name.
    pub canonical: Arc<str>,
    /// The connector.
    pub slug: Slug,
    /// The tool, with the server's own name.
    pub tool: Arc<ToolDefinition>,
    pub(super) cell: Arc<Cell>,
}

/// A snapshot of every route.
#[derive(Default)]
pub struct RouteTable {
    by_name: HashMap<Arc<str>, Arc<Route>>,
    by_connector: HashMap<Slug, HashMap<String, Arc<Route>>>,
}

impl RouteTable {
    /// The route of a model-visible name.
    pub fn by_name(&self, canonical: &str) -> Option<&Arc<Route>> {
        self.by_name.get(canonical)
    }

    /// The route of a connector's tool, by the server's name.
    pub fn get(&self, slug: &Slug, tool: &str) -> Option<&Arc<Route>> {
        self.by_connector.get(slug)?.get(tool)
    }

    /// How many tools of a connector have a route.
    pub fn count(&self, slug: &Slug) -> usize {
        self.by_connector.get(slug).map_or(0, HashMap::len)
    }

    /// Every route, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_name.values()
    }

    /// The name that a tool has, or would get if it were enabled now.
    pub(super) fn canonical(&self, slug: &Slug, tool: &str) -> String {
        if let Some(route) = self.get(slug, tool) {
            return route.canonical.to_string();
        }
        let plain = canonical_name(slug, tool);
        if self.by_name.contains_key(plain.as_str()) { hashed_name(slug, tool) } else { plain }
    }

    /// Builds the table. Where two tools have one plain name, the connector that was created first keeps it.
    pub(super) fn build(cells: &[Arc<Cell>], gates: &[Arc<dyn EnablementGate>]) -> Self {
        let mut table = Self::default();
        for cell in cells {
            let Some(catalog) = cell.catalog.load_full() else { continue };
            let definition = cell.definition.load();
            if definition.disabled || definition.enabled_tools.is_empty() {
                continue;
            }
            let enabled: HashSet<&str> = definition.enabled_tools.iter().map(String::as_str).collect();
            for tool in catalog.tools.iter().filter(|tool| enabled.contains(tool.name.as_str())) {
                if withheld(&definition, tool, gates).is_none() {
                    table.insert(cell, tool);
                }
            }
        }
        table
    }

    fn insert(&mut self, cell: &Arc<Cell>, tool: &Arc<ToolDefinition>) {
        let mut canonical = canonical_name(&cell.slug, &tool.name);
        if self.by_name.contains_key(canonical.as_str()) {
            canonical = hashed_name(&cell.slug, &tool.name);
            if self.by_name.contains_key(canonical.as_str()) {
                tracing::warn!(slug = %cell.slug, "two tools have one name even with a hash; the later is left out");
                return;
            }
        }
        let canonical: Arc<str> = canonical.into();
        let route = Arc::new(Route {
            canonical: Arc::clone(&canonical),
            slug: cell.slug.clone(),
            tool: Arc::clone(tool),
            cell: Arc::clone(cell),
        });
        self.by_name.insert(canonical, Arc::clone(&route));
        self.by_connector.entry(cell.slug.clone()).or_default().insert(tool.name.clone(), route);
    }
}

/// Why a tool that the user has enabled gets no route; `None` if it does.
pub(super) fn withheld(
    definition: &ConnectorDefinition,
    tool: &ToolDefinition,
    gates: &[Arc<dyn EnablementGate>],
) -> Option<String> {
    if is_changed(definition, tool) {
        return Some(
            "its definition has changed since you enabled it; review and accept the change".to_owned(),
        );
    }
    if let Err(problem) = tool.validator() {
        return Some(problem.to_string());
    }
    gates.iter().find_map(|gate| match gate.admit(&definition.slug, tool) {
        Admission::Admit => None,
        Admission::Withhold { reason } => Some(reason),
    })
}

/// True if the definition is not the one that the user approved.
pub(super) fn is_changed(definition: &ConnectorDefinition, tool: &ToolDefinition) -> bool {
    definition.tool_pins.get(&tool.name).is_some_and(|pin| pin != tool.fingerprint())
}
