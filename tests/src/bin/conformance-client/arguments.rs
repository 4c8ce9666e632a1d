//! Arguments for a tool of which nothing is known but its schema.

use connectors_core::ToolView;
use serde_json::{Map, Value, json};

/// A value for every property of the tool's input schema. A property called `schema` gets the input schema of the first
/// tool, verbatim: something to be echoed.
pub(crate) fn for_tool(tool: &ToolView, all: &[ToolView]) -> Value {
    let schema = input_schema(tool);
    let mut arguments = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let value = match (name.as_str(), all.first()) {
            ("schema", Some(first)) => input_schema(first),
            _ => sample(property),
        };
        arguments.insert(name.clone(), value);
    }
    Value::Object(arguments)
}

fn input_schema(tool: &ToolView) -> Value {
    let definition: Value = serde_json::from_str(tool.definition.get()).unwrap_or_default();
    definition["inputSchema"].clone()
}

fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("number" | "integer") => json!(3),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            Value::Object(properties.map(|(name, property)| (name.clone(), sample(property))).collect())
        }
        _ => json!("x"),
    }
}
