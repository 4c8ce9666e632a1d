//! Connectors as sessions of the engine's own MCP executor.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use car_engine::{McpSession, McpToolInfo};
use serde_json::Value;

use super::bridge::Names;
use super::call;
use super::result::ResultShape;
use crate::manager::Route;
use crate::names::Slug;

/// One connector as an `McpSession`, for hosts that keep `McpToolExecutor`.
///
/// That executor makes one call at a time on each session. It cuts `mcp_{slug}_` off a tool's model-visible name and asks for
/// the rest, so that this takes names as they are left by that, besides the model-visible ones themselves; shortened names
/// lead where their routes do. Only what has a route can be called or is listed.
#[derive(Clone)]
pub struct ConnectorSession {
    names: Names,
    slug: Slug,
}

impl ConnectorSession {
    pub(super) fn new(names: Names, slug: Slug) -> Self {
        Self { names, slug }
    }

    fn prefix(&self) -> String {
        format!("mcp_{}_", self.slug)
    }

    fn route(&self, name: &str) -> Option<Arc<Route>> {
        let of_ours = |route: &Arc<Route>| route.slug == self.slug;
        self.names
            .route(&format!("{}{name}", self.prefix()))
            .filter(of_ours)
            // The prefix of a long slug is not whole in the name, and so not cut off.
            .or_else(|| self.names.route(name).filter(of_ours))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl McpSession for ConnectorSession {
    async fn list_tools(&mut self) -> Result<Vec<McpToolInfo>, String> {
        let prefix = self.prefix();
        let routes = self.names.manager().routes();
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
        let Some(route) = self.route(name) else {
            return Err(format!("the connector `{}` has no enabled tool `{name}`", self.slug));
        };
        let arguments = if arguments.is_null() { Value::Object(serde_json::Map::new()) } else { arguments };
        call::call(self.names.manager(), &route, &arguments, timeout, ResultShape::Text)
            .await
            .map_err(|failure| failure.message)
    }

    fn name(&self) -> &str {
        self.slug.as_str()
    }
}
