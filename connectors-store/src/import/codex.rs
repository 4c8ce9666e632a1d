//! Codex: `[mcp_servers.NAME]` in `config.toml`.

use connectors_core::import::{FileProblem, FoundConnector, FoundFile};
use serde_json::Value;

use super::entry::Entry;
use super::fields::Fields;
use super::{Opened, decode, json};

const SERVERS: &str = "mcp_servers";

pub(super) fn read(opened: &Opened<'_>) -> Vec<FoundFile> {
    let document = match decode::toml(opened.bytes) {
        Ok(document) => document,
        Err(problem) => return vec![opened.failed(problem)],
    };
    let mut file = opened.file();
    file.problem = json::problem(&document, SERVERS).map(|problem| FileProblem { problem, position: None });
    let servers = document.get(SERVERS).and_then(Value::as_object);
    for (name, value) in servers.into_iter().flatten() {
        file.connectors.push(match value.as_object().map(|members| entry(name, Fields(members))) {
            Some(Ok(entry)) => entry.found(opened.scope()),
            Some(Err(problem)) => FoundConnector::unusable(name, problem),
            None => FoundConnector::unusable(name, "it has to be a table"),
        });
    }
    vec![file]
}

fn entry(name: &str, fields: Fields<'_>) -> Result<Entry, String> {
    let mut notes = Vec::new();
    if fields.has(&["enabled_tools", "disabled_tools", "tools", "default_tools_approval_mode"]) {
        notes.push(json::TOOLS.to_owned());
    }
    if fields.has(&["oauth", "scopes", "oauth_resource"]) {
        notes.push(json::SIGN_IN.to_owned());
    }
    let mut headers = fields.pairs("http_headers")?;
    if let Some(token) = fields.text("bearer_token")? {
        // Codex no longer reads it; files of earlier versions have it.
        headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    }
    Ok(Entry {
        name: name.to_owned(),
        command: fields.text("command")?,
        args: fields.list("args")?,
        env: fields.pairs("env")?,
        handed_on: handed_on(fields)?,
        leaves_out_unset: true,
        cwd: fields.text("cwd")?,
        url: fields.text("url")?,
        headers,
        header_variables: fields.pairs("env_http_headers")?,
        bearer_variable: fields.text("bearer_token_env_var")?,
        disabled: fields.flag("enabled")? == Some(false),
        notes,
        ..Entry::default()
    })
}

/// Names, or tables with a `name`.
fn handed_on(fields: Fields<'_>) -> Result<Vec<String>, String> {
    let problem = || "`env_vars` has to be a list of names".to_owned();
    match fields.0.get("env_vars") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let name =
                |item: &Value| item.as_str().or_else(|| item.get("name")?.as_str()).map(ToOwned::to_owned);
            items.iter().map(|item| name(item).ok_or_else(problem)).collect()
        }
        Some(_) => Err(problem()),
    }
}
