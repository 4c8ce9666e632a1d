//! The OpenRPC document, from the types that the handlers read and write.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::error::{ErrorData, code};
use crate::events::{self, Event};
use crate::handshake;
use crate::methods::{self, Method};

/// Where the document's schemas are.
const SCHEMAS: &str = "/components/schemas";

/// Describes the whole interface, the daemon's handshake included.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut methods = handshake::describe(&mut schemas);
    methods.extend(methods::describe(&mut schemas));
    let event = schemas.written.subschema_for::<Event>();
    let error_data = schemas.written.subschema_for::<ErrorData>();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Connectors",
            "description": "MCP servers as connectors of a host: JSON-RPC 2.0 over a WebSocket, one message per text \
                frame of at most 32 MiB, at most 64 requests in flight per connection. Unknown members of parameters \
                are ignored; results may gain members.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0"}
        },
        "methods": methods,
        "x-notifications": [{
            "name": events::METHOD,
            "summary": "What happens, after `connectors.subscribe`.",
            "params": event
        }],
        "components": {
            "schemas": schemas.into_definitions(),
            "errors": errors(),
            "x-error-data": error_data
        }
    })
}

/// The generators of both directions, which share the document's schemas.
pub(crate) struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings =
            || SchemaSettings::draft07().with(|settings| settings.definitions_path = SCHEMAS.into());
        Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
        }
    }

    /// The description of one method.
    pub(crate) fn method<M: Method>(&mut self) -> Value {
        self.describe::<M::Params, M::Output>(M::NAME, M::SUMMARY, M::ERRORS)
    }

    /// The description of a method with these parameters, result, and `data.code` of errors.
    pub(crate) fn describe<P: JsonSchema, O: JsonSchema>(
        &mut self,
        name: &str,
        summary: &str,
        errors: &[&str],
    ) -> Value {
        let params = P::json_schema(&mut self.read).to_value();
        let result = self.written.subschema_for::<O>();
        let mut method = json!({
            "name": name,
            "summary": summary,
            "paramStructure": "by-name",
            "params": parameters(&params),
            "result": {"name": "result", "schema": result}
        });
        if !errors.is_empty() {
            let refer = |error: &&str| json!({"$ref": format!("#/components/errors/{error}")});
            method["errors"] = errors.iter().map(refer).collect();
        }
        method
    }

    fn into_definitions(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        all.extend(self.written.take_definitions(true));
        all
    }
}

/// The members of a parameters object as OpenRPC's content descriptors.
fn parameters(schema: &Value) -> Vec<Value> {
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|required| required.iter().any(|other| other == name))
    };
    let describe = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({"name": name, "required": is_required(name), "schema": schema});
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    schema["properties"].as_object().into_iter().flatten().map(describe).collect()
}

fn errors() -> Map<String, Value> {
    let describe = |(name, number, meaning): &(&str, i64, &str)| {
        ((*name).to_owned(), json!({"code": number, "message": meaning, "data": {"code": name}}))
    };
    code::CONNECTOR.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_document_in_docs_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openrpc.json");
        let current = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENRPC").is_some() {
            std::fs::write(&file, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == current,
            "docs/openrpc.json is out of date; run `UPDATE_OPENRPC=1 cargo test -p connectors-ws openrpc`"
        );
    }

    #[test]
    fn every_method_is_described_and_every_reference_resolves() {
        let document = document();
        let names: Vec<_> = document["methods"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
        let mut expected = vec!["session.auth", "server.handshake"];
        expected.extend(methods::NAMES);
        assert_eq!(names, expected);
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(references.len() > 20);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect_references(value: &Value, found: &mut Vec<String>) {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            found.push(reference.to_owned());
        }
        match value {
            Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
            Value::Object(members) => members.values().for_each(|member| collect_references(member, found)),
            _ => {}
        }
    }
}
