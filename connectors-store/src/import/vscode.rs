//! Visual Studio Code: `mcp.json` with `servers` and `inputs`, and the same under `mcp` in its `settings.json`.

use std::collections::BTreeMap;

use connectors_core::import::{FileProblem, FoundFile, Placeholder};
use secrecy::SecretString;
use serde_json::Value;

use super::expand::Scope;
use super::{Opened, decode, json};

const SERVERS: &str = "servers";

/// `mcp.json`.
pub(super) fn read(opened: &Opened<'_>) -> Vec<FoundFile> {
    match decode::jsonc(opened.bytes) {
        Ok(document) => vec![file(opened, &document, SERVERS)],
        Err(problem) => vec![opened.failed(problem)],
    }
}

/// `settings.json`.
pub(super) fn read_settings(opened: &Opened<'_>) -> Vec<FoundFile> {
    match decode::jsonc(opened.bytes) {
        Ok(document) => match document.get("mcp") {
            Some(mcp) => vec![file(opened, mcp, SERVERS)],
            // A dot in a setting's name is as good as another object.
            None => vec![file(opened, &document, "mcp.servers")],
        },
        // An editor's settings that have nothing to do with servers are none of our business.
        Err(problem) if contains(opened.bytes, b"\"mcp") => vec![opened.failed(problem)],
        Err(_) => Vec::new(),
    }
}

fn file(opened: &Opened<'_>, document: &Value, member: &str) -> FoundFile {
    let inputs = inputs(document);
    let mut file = opened.file();
    file.connectors = json::servers(document, member, Scope { inputs: &inputs, ..opened.scope() });
    file.problem = json::problem(document, member).map(|problem| FileProblem { problem, position: None });
    file
}

/// What the file asks the user for, by id.
fn inputs(document: &Value) -> BTreeMap<String, Placeholder> {
    let inputs = document.get("inputs").and_then(Value::as_array);
    let input = |input: &Value| {
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let default = text("default").filter(|default| !default.is_empty());
        let placeholder = Placeholder {
            description: text("description"),
            secret: input.get("password").and_then(Value::as_bool).unwrap_or(false),
            default: default.map(SecretString::from),
            ..Placeholder::default()
        };
        Some((text("id")?, placeholder))
    };
    inputs.into_iter().flatten().filter_map(input).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
