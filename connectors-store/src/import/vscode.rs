//! Visual Studio Code: `mcp.json` with `servers` and `inputs`, and the same under `mcp` in its `settings.json`.

use std::collections::BTreeMap;

use connectors_core::import::{FileProblem, FoundFile, Placeholder};
use secrecy::SecretString;
use serde_json::Value;

use super::expand::Scope;
use super::{Opened, decode, json};

const SERVERS: &str = "servers";
const INPUTS: &str = "inputs";

/// `mcp.json`.
pub(super) fn read(opened: &Opened<'_>) -> Vec<FoundFile> {
    match decode::jsonc(opened.bytes) {
        Ok(document) => vec![file(opened, &document)],
        Err(problem) => vec![opened.failed(problem)],
    }
}

/// `settings.json`.
pub(super) fn read_settings(opened: &Opened<'_>) -> Vec<FoundFile> {
    match decode::jsonc(opened.bytes) {
        Ok(document) => {
            // A dot in a setting's name is as good as another object.
            let setting = |name: &str| {
                let nested = document.get("mcp").and_then(|mcp| mcp.get(name));
                let found = nested.or_else(|| document.get(format!("mcp.{name}")))?;
                Some((name.to_owned(), found.clone()))
            };
            let settings = Value::Object([SERVERS, INPUTS].into_iter().filter_map(setting).collect());
            vec![file(opened, &settings)]
        }
        // An editor's settings that have nothing to do with servers are none of our business.
        Err(problem) if contains(opened.bytes, b"\"mcp") => vec![opened.failed(problem)],
        Err(_) => Vec::new(),
    }
}

fn file(opened: &Opened<'_>, document: &Value) -> FoundFile {
    let inputs = inputs(document);
    let mut file = opened.file();
    file.connectors = json::servers(document, SERVERS, Scope { inputs: &inputs, ..opened.scope() });
    file.problem = json::problem(document, SERVERS).map(|problem| FileProblem { problem, position: None });
    file
}

/// What the file asks the user for, by id.
fn inputs(document: &Value) -> BTreeMap<String, Placeholder> {
    let inputs = document.get(INPUTS).and_then(Value::as_array);
    let input = |input: &Value| {
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let default = text("default").filter(|default| !default.is_empty());
        let placeholder = Placeholder {
            description: described(text("description"), input),
            secret: input.get("password").and_then(Value::as_bool).unwrap_or(false),
            default: default.map(SecretString::from),
            ..Placeholder::default()
        };
        Some((text("id")?, placeholder))
    };
    inputs.into_iter().flatten().filter_map(input).collect()
}

/// What an input asks for, with what there is to choose from.
fn described(description: Option<String>, input: &Value) -> Option<String> {
    let options = input.get("options").and_then(Value::as_array);
    let options: Vec<&str> = options.into_iter().flatten().filter_map(Value::as_str).collect();
    if options.is_empty() {
        return description;
    }
    let options = format!("one of: {}", options.join(", "));
    Some(description.map_or_else(|| options.clone(), |description| format!("{description} ({options})")))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
