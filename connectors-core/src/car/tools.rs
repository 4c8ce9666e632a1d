//! What a route is to a registry of tools.

use std::sync::Arc;

use car_engine::{ToolEntry, ToolPermission, ToolSource};
use car_ir::{ToolSchema, ToolSourceKind};

use crate::manager::Route;
use crate::names::Slug;
use crate::tool::{ToolAnnotations, ToolDefinition};

/// What a host asks of its user before a tool is called.
///
/// Enabling a tool is the user's choice, so that without a rule of the host's own every tool that has a route is allowed.
pub type Permissions = Arc<dyn Fn(&Route) -> ToolPermission + Send + Sync>;

/// The schema of a tool under its model-visible name: the input schema as the server wrote it, the description made fit for
/// display.
///
/// Hints of the server's never make a call cheaper: nothing is marked as idempotent, so that nothing is cached or sent twice on
/// a server's word.
pub fn tool_schema(canonical: &str, tool: &ToolDefinition) -> ToolSchema {
    ToolSchema {
        name: canonical.to_owned(),
        source: ToolSourceKind::Mcp,
        description: described(tool),
        parameters: tool.input_schema(),
        // Results come out as text, as those of the engine's own MCP servers do: an output schema would not describe them.
        returns: None,
        idempotent: false,
        cache_ttl_secs: None,
        rate_limit: None,
    }
}

/// The entry of a tool: from the MCP server `slug`, with its risk as category (`connector:read`, `connector:write`,
/// `connector:destructive`, and `:local` where it reaches nothing beyond its server), and with side effects unless the server says that
/// it only reads.
pub fn tool_entry(route: &Route, permission: ToolPermission) -> ToolEntry {
    ToolEntry::new(tool_schema(&route.canonical, &route.tool))
        .with_source(source(&route.slug))
        .with_permission(permission)
        .with_side_effects(has_side_effects(route.tool.annotations))
        .with_category(category(route.tool.annotations))
}

fn source(slug: &Slug) -> ToolSource {
    ToolSource::Mcp { server_name: slug.to_string() }
}

/// The connector whose [`tool_entry`] an entry is. An MCP server of the host's own may be called as a connector is, but gives its
/// tools no such category.
pub(super) fn connector_of(entry: &ToolEntry) -> Option<&str> {
    match &entry.source {
        ToolSource::Mcp { server_name } if entry.category.as_deref()?.starts_with("connector:") => {
            Some(server_name)
        }
        _ => None,
    }
}

/// A registry complains of tools without a description.
fn described(tool: &ToolDefinition) -> String {
    let description = tool.description();
    if !description.trim().is_empty() {
        return description;
    }
    tool.title().unwrap_or_else(|| crate::text::display(&tool.name, 200))
}

/// What a tool is taken to do to the world. A missing hint is the riskier one.
fn has_side_effects(annotations: ToolAnnotations) -> bool {
    !annotations.read_only_hint.unwrap_or(false)
}

/// `connector:read`, `connector:write` or `connector:destructive`, with `:local` where the server says that the tool reaches
/// nothing beyond itself.
fn category(annotations: ToolAnnotations) -> &'static str {
    let is_local = annotations.open_world_hint == Some(false);
    let destroys = annotations.destructive_hint.unwrap_or(true);
    match (has_side_effects(annotations), destroys, is_local) {
        (false, _, false) => "connector:read",
        (false, _, true) => "connector:read:local",
        (true, false, false) => "connector:write",
        (true, false, true) => "connector:write:local",
        (true, true, false) => "connector:destructive",
        (true, true, true) => "connector:destructive:local",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::limits::Limits;

    fn tool(definition: serde_json::Value) -> ToolDefinition {
        ToolDefinition::read(&to_raw_value(&definition).unwrap(), &Limits::default(), false).unwrap()
    }

    #[test]
    fn the_schema_is_the_servers_own() {
        let input = json!({"type": "object", "properties": {"b": {"type": "integer"}, "a": {"x-own": [1.0]}}, "required": ["b"]});
        let tool = tool(
            json!({"name": "t", "description": "Does.", "inputSchema": input, "outputSchema": {"type": "object"},
            "annotations": {"idempotentHint": true}}),
        );
        let expected = ToolSchema {
            name: "mcp_x_t".to_owned(),
            source: ToolSourceKind::Mcp,
            description: "Does.".to_owned(),
            parameters: input.clone(),
            returns: None,
            idempotent: false,
            cache_ttl_secs: None,
            rate_limit: None,
        };
        let schema = tool_schema("mcp_x_t", &tool);
        assert_eq!(schema, expected);
        assert_eq!(
            serde_json::to_string(&schema.parameters).unwrap(),
            serde_json::to_string(&input).unwrap()
        );
    }

    #[test]
    fn a_tool_without_words_is_described_by_its_name() {
        assert_eq!(tool_schema("n", &tool(json!({"name": "t", "title": "T!"}))).description, "T!");
        assert_eq!(tool_schema("n", &tool(json!({"name": "t", "description": " "}))).description, "t");
    }

    #[test]
    fn what_a_server_does_not_say_counts_as_the_risk() {
        let of = |hints: serde_json::Value| {
            let annotations = tool(json!({"name": "t", "annotations": hints})).annotations;
            (has_side_effects(annotations), category(annotations))
        };
        assert_eq!(of(json!({})), (true, "connector:destructive"));
        assert_eq!(of(json!({"readOnlyHint": false, "destructiveHint": false})), (true, "connector:write"));
        assert_eq!(of(json!({"readOnlyHint": true})), (false, "connector:read"));
        assert_eq!(
            of(json!({"readOnlyHint": true, "destructiveHint": true, "openWorldHint": false})),
            (false, "connector:read:local")
        );
    }
}
