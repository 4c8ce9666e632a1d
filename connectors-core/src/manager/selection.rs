//! Which tools the model may see.

use std::collections::HashSet;
use std::sync::Arc;

use super::cell::Cell;
#[cfg(feature = "car-engine")]
use super::routes::{Route, withheld};
use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::events::EventKind;

impl Shared {
    /// Enables tools as they are defined now. Returns how many got a route that had none.
    ///
    /// Names that the catalogue does not hold, and tools whose schema cannot be used, are ignored.
    pub(super) async fn enable(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        tools: &[String],
    ) -> Result<usize, ConnectorError> {
        let catalog = cell.catalog.load_full();
        let mut seen = HashSet::new();
        let wanted: Vec<(String, String)> = tools
            .iter()
            .filter(|name| seen.insert(name.as_str()))
            .filter_map(|name| catalog.as_ref()?.get(name))
            .filter(|tool| tool.validator().is_ok())
            .map(|tool| (tool.name.clone(), tool.fingerprint().to_owned()))
            .collect();
        let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
        let before = self.routes.load_full();
        self.edit(cell, move |definition| {
            for (name, fingerprint) in &wanted {
                if !definition.enabled_tools.contains(name) {
                    definition.enabled_tools.push(name.clone());
                    definition.tool_pins.insert(name.clone(), fingerprint.clone());
                }
            }
        })
        .await?;
        let after = self.routes.load();
        let is_new =
            |name: &&String| after.get(&cell.slug, name).is_some() && before.get(&cell.slug, name).is_none();
        Ok(names.iter().filter(is_new).count())
    }

    /// Disables tools. Returns how many were enabled.
    pub(super) async fn disable(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        tools: &[String],
    ) -> Result<usize, ConnectorError> {
        let tools: HashSet<String> = tools.iter().cloned().collect();
        self.edit(cell, move |definition| {
            let before = definition.enabled_tools.len();
            definition.enabled_tools.retain(|name| !tools.contains(name));
            definition.tool_pins.retain(|name, _| !tools.contains(name));
            before - definition.enabled_tools.len()
        })
        .await
    }

    /// Accepts the present definitions of enabled tools. Returns how many had changed.
    pub(super) async fn accept(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        tools: &[String],
    ) -> Result<usize, ConnectorError> {
        let catalog = cell.catalog.load_full();
        let present: Vec<(String, String)> = tools
            .iter()
            .filter_map(|name| catalog.as_ref()?.get(name))
            .map(|tool| (tool.name.clone(), tool.fingerprint().to_owned()))
            .collect();
        self.edit(cell, move |definition| {
            let mut accepted = 0;
            for (name, fingerprint) in &present {
                if definition.enabled_tools.contains(name)
                    && definition
                        .tool_pins
                        .insert(name.clone(), fingerprint.clone())
                        .is_some_and(|pin| pin != *fingerprint)
                {
                    accepted += 1;
                }
            }
            accepted
        })
        .await
    }

    /// Tells the world what the user has decided about a connector's tools since its definition was `before`.
    pub(super) fn selection_changed(&self, cell: &Cell, before: &ConnectorDefinition) {
        let after = cell.definition.load();
        let without = |tools: &[String], others: &[String]| -> Vec<String> {
            tools.iter().filter(|tool| !others.contains(tool)).cloned().collect()
        };
        let enabled = without(&after.enabled_tools, &before.enabled_tools);
        let disabled = without(&before.enabled_tools, &after.enabled_tools);
        let is_accepted = |tool: &&String| {
            let pins = (before.tool_pins.get(*tool), after.tool_pins.get(*tool));
            before.enabled_tools.contains(*tool)
                && matches!(pins, (Some(before), Some(after)) if before != after)
        };
        let accepted: Vec<String> = after.enabled_tools.iter().filter(is_accepted).cloned().collect();
        if !(enabled.is_empty() && disabled.is_empty() && accepted.is_empty()) {
            self.tell(cell, EventKind::Selection { enabled, disabled, accepted });
        }
    }

    /// Why a route is to go, in a few words; `None` where nothing is known against its tool.
    #[cfg(feature = "car-engine")]
    pub(super) fn why_withdrawn(&self, route: &Route) -> Option<String> {
        let cell = &route.cell;
        if cell.was_removed() || !self.is_current(cell) {
            return Some("the connector was removed".to_owned());
        }
        let definition = cell.definition.load();
        if definition.disabled {
            return Some("the connector is switched off".to_owned());
        }
        if !definition.enabled_tools.contains(&route.tool.name) {
            return Some("disabled by the user".to_owned());
        }
        let catalog = cell.catalog.load_full();
        let Some(tool) = catalog.as_ref().and_then(|catalog| catalog.get(&route.tool.name)) else {
            return Some("its server offers it no longer".to_owned());
        };
        withheld(&definition, tool, &self.gates)
    }

    /// Pins tools that are enabled and have no fingerprint, such as those that were enabled before fingerprints were kept, or by
    /// hand, as they are now.
    pub(super) fn pin_enabled(self: &Arc<Self>, cell: &Arc<Cell>) {
        let Some(catalog) = cell.catalog.load_full() else { return };
        let definition = cell.definition.load_full();
        let pins: Vec<(String, String)> = definition
            .enabled_tools
            .iter()
            .filter(|name| !definition.tool_pins.contains_key(*name))
            .filter_map(|name| Some((name.clone(), catalog.get(name)?.fingerprint().to_owned())))
            .collect();
        if pins.is_empty() {
            return;
        }
        let (shared, cell) = (Arc::clone(self), Arc::clone(cell));
        tokio::spawn(async move {
            let pinned = shared.edit(&cell, move |definition| {
                for (tool, pin) in &pins {
                    if definition.enabled_tools.contains(tool) {
                        definition.tool_pins.entry(tool.clone()).or_insert_with(|| pin.clone());
                    }
                }
            });
            if let Err(error) = pinned.await {
                tracing::warn!(slug = %cell.slug, %error, "could not record the definitions of enabled tools");
            }
        });
    }
}
