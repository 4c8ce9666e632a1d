//! `{"mcpServers": {NAME: {...}}}`, which most clients share, and its relatives.

use connectors_core::import::FoundConnector;
use serde_json::{Map, Value};

use super::entry::Entry;
use super::expand::Scope;
use super::fields::Fields;

/// The servers under a member of a document; none if it is not there.
pub(super) fn servers(document: &Value, member: &str, scope: Scope<'_>) -> Vec<FoundConnector> {
    match document.get(member) {
        Some(Value::Object(servers)) => all(servers, scope),
        _ => Vec::new(),
    }
}

/// What is wrong with a document as a whole.
pub(super) fn problem(document: &Value, member: &str) -> Option<String> {
    match document {
        // An empty file.
        Value::Null => None,
        Value::Object(members) => match members.get(member) {
            None | Some(Value::Null | Value::Object(_)) => None,
            Some(_) => Some(format!("`{member}` has to be an object")),
        },
        _ => Some("the file has to hold an object".to_owned()),
    }
}

/// Every server of an object.
pub(super) fn all(servers: &Map<String, Value>, scope: Scope<'_>) -> Vec<FoundConnector> {
    servers.iter().map(|(name, value)| one(name, value, scope)).collect()
}

fn one(name: &str, value: &Value, scope: Scope<'_>) -> FoundConnector {
    let Value::Object(members) = value else {
        return FoundConnector::unusable(name, "it has to be an object");
    };
    match entry(name, Fields(members)) {
        Ok(entry) => entry.found(scope),
        Err(problem) => FoundConnector::unusable(name, problem),
    }
}

fn entry(name: &str, fields: Fields<'_>) -> Result<Entry, String> {
    let mut notes = Vec::new();
    let of_tools = [
        "disabledTools",
        "enabledTools",
        "tools",
        "alwaysAllow",
        "autoApprove",
        "includeTools",
        "excludeTools",
    ];
    if fields.has(&of_tools) {
        notes.push(TOOLS.to_owned());
    }
    if fields.has(&["auth", "oauth"]) {
        notes.push(SIGN_IN.to_owned());
    }
    if fields.has(&["headersHelper"]) {
        notes.push("headers that a command makes (`headersHelper`) are not taken over".to_owned());
    }
    Ok(Entry {
        name: name.to_owned(),
        kind: fields.first_text(&["type", "transport", "transportType"])?,
        command: fields.text("command")?,
        args: fields.list("args")?,
        env: fields.pairs("env")?,
        cwd: fields.text("cwd")?,
        has_env_file: fields.has(&["envFile"]),
        url: fields.first_text(&["url", "serverUrl", "serverURL", "httpUrl"])?,
        headers: fields.pairs("headers")?,
        disabled: fields.flag("disabled")?.unwrap_or(false) || fields.flag("enabled")? == Some(false),
        notes,
        ..Entry::default()
    })
}

/// Said of entries that choose tools.
pub(super) const TOOLS: &str = "its choice of tools is not taken over: enable tools once you have seen them";
/// Said of entries with settings for signing in.
pub(super) const SIGN_IN: &str = "its settings for signing in are not taken over: sign in to the connector";
