//! Connectors as sessions of the engine's own MCP executor.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use car_engine::{McpSession, McpToolInfo};
use serde_json::Value;

use super::call;
use super::result::ResultShape;
use super::runtime::Runtimes;
use crate::manager::weak::WeakManager;
use crate::manager::{ConnectorManager, Route, RouteTable};
use crate::names::Slug;

/// One connector as an `McpSession`, for hosts that keep `McpToolExecutor`.
///
/// That executor makes one call at a time on each session. It cuts `mcp_{slug}_` off a tool's model-visible name and asks for
/// the rest, so that this takes names as they are left by that, besides the model-visible ones themselves; shortened names
/// lead where their routes do. Only what has a route can be called or is listed.
#[derive(Clone)]
pub struct ConnectorSession {
    manager: Reach,
    slug: Slug,
    runtimes: Runtimes,
}

/// How a session comes to its manager.
#[derive(Clone)]
enum Reach {
    /// It keeps the manager alive.
    Kept(ConnectorManager),
    /// It does not.
    Lent(WeakManager),
}

impl ConnectorSession {
    /// A session that keeps the manager alive.
    pub(super) fn new(manager: ConnectorManager, slug: Slug) -> Self {
        Self { manager: Reach::Kept(manager), slug, runtimes: Runtimes::default() }
    }

    /// A session that lasts as long as the manager. What is somebody else's in one of the runtimes is not called by it.
    pub(super) fn lent(manager: WeakManager, slug: Slug, runtimes: Runtimes) -> Self {
        Self { manager: Reach::Lent(manager), slug, runtimes }
    }

    fn manager(&self) -> Result<ConnectorManager, String> {
        match &self.manager {
            Reach::Kept(manager) => Ok(manager.clone()),
            Reach::Lent(manager) => manager
                .upgrade()
                .ok_or_else(|| format!("the connector `{}` is gone with all others of this host", self.slug)),
        }
    }

    fn prefix(&self) -> String {
        format!("mcp_{}_", self.slug)
    }

    fn route(&self, routes: &RouteTable, name: &str) -> Option<Arc<Route>> {
        let of_ours = |route: &&Arc<Route>| route.slug == self.slug;
        routes
            .by_name(&format!("{}{name}", self.prefix()))
            .filter(of_ours)
            // The prefix of a long slug is not whole in the name, and so not cut off.
            .or_else(|| routes.by_name(name).filter(of_ours))
            .cloned()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl McpSession for ConnectorSession {
    async fn list_tools(&mut self) -> Result<Vec<McpToolInfo>, String> {
        let prefix = self.prefix();
        let routes = self.manager()?.routes();
        let mut tools: Vec<McpToolInfo> = routes
            .iter()
            .filter(|route| route.slug == self.slug)
            // The engine puts the prefix before what is listed. A name without it cannot be told to the engine.
            .filter_map(|route| Some((route.canonical.strip_prefix(&prefix)?, &route.tool)))
            .map(|(name, tool)| McpToolInfo {
                name: name.to_owned(),
                description: Some(tool.description()),
                input_schema: Some(tool.input_schema()),
            })
            .collect();
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tools)
    }

    async fn call_tool(&mut self, name: &str, arguments: Value) -> Result<Value, String> {
        self.call_tool_with_timeout(name, arguments, None).await
    }

    async fn call_tool_with_timeout(
        &mut self,
        name: &str,
        arguments: Value,
        timeout: Option<Duration>,
    ) -> Result<Value, String> {
        let manager = self.manager()?;
        let Some(route) = self.route(&manager.routes(), name) else {
            return Err(format!("the connector `{}` has no enabled tool `{name}`", self.slug));
        };
        if self.runtimes.is_taken(&self.slug, &route.canonical).await {
            // The executor that asks does not know by which of the two tools it was asked.
            return Err(format!("the tool `{}` is not the connector's in this host", route.canonical));
        }
        let arguments = if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments };
        call::call(&manager, &route, arguments, timeout, ResultShape::Text)
            .await
            .map_err(|failure| failure.message)
    }

    fn name(&self) -> &str {
        self.slug.as_str()
    }
}
