//! goose: `extensions` in `config.yaml`.

use connectors_core::import::{FileProblem, FoundConnector, FoundFile};
use serde_json::Value;

use super::entry::Entry;
use super::fields::Fields;
use super::{Opened, decode, json};

const EXTENSIONS: &str = "extensions";

pub(super) fn read(opened: &Opened<'_>) -> Vec<FoundFile> {
    let document = match decode::yaml(opened.bytes) {
        Ok(document) => document,
        Err(problem) => return vec![opened.failed(problem)],
    };
    let mut file = opened.file();
    file.problem =
        json::problem(&document, EXTENSIONS).map(|problem| FileProblem { problem, position: None });
    let extensions = document.get(EXTENSIONS).and_then(Value::as_object);
    for (name, value) in extensions.into_iter().flatten() {
        let Some(members) = value.as_object() else {
            file.connectors.push(FoundConnector::unusable(name, "it has to be a mapping"));
            continue;
        };
        // Some versions keep all but `enabled` one level deeper.
        let body = members.get("config").and_then(Value::as_object).filter(|_| !members.contains_key("type"));
        let enabled = Fields(members).flag("enabled");
        let read = enabled.and_then(|enabled| entry(name, Fields(body.unwrap_or(members)), enabled));
        file.connectors.push(match read {
            Ok(entry) => entry.found(opened.scope()),
            Err(problem) => FoundConnector::unusable(name, problem),
        });
    }
    vec![file]
}

fn entry(name: &str, fields: Fields<'_>, enabled: Option<bool>) -> Result<Entry, String> {
    let kind = fields.text("type")?;
    if let Some("builtin" | "platform" | "frontend" | "inline_python") = kind.as_deref() {
        return Err("it is part of goose itself, not a server that others can use".to_owned());
    }
    let notes = if fields.has(&["available_tools"]) { vec![json::TOOLS.to_owned()] } else { Vec::new() };
    Ok(Entry {
        name: name.to_owned(),
        kind,
        command: fields.first_text(&["cmd", "command"])?,
        args: fields.list("args")?,
        env: match fields.has(&["envs"]) {
            true => fields.pairs("envs")?,
            false => fields.pairs("env")?,
        },
        // Their values are in goose's own keyring: the user has to give them.
        handed_on: fields.list("env_keys")?,
        cwd: fields.text("cwd")?,
        url: fields.first_text(&["uri", "url"])?,
        headers: fields.pairs("headers")?,
        disabled: enabled == Some(false),
        notes,
        ..Entry::default()
    })
}
