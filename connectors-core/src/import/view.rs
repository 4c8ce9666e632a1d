//! What is shown of what was found: names, and no secret value.

use std::collections::BTreeMap;

use serde::Serialize;

use super::draft::{Draft, DraftEndpoint, MAX_LISTED, MAX_VALUE, draft};
use super::template::Template;
use super::{FoundConnector, FoundEndpoint, FoundFile, MAX_TEXT, Refusal, fingerprint, shown_name};
use crate::names::Slug;
use crate::text::display;

/// A file that defines servers, or should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImportableFile {
    /// Names it, for `connectors.import`.
    pub source: String,
    /// Whose file it is: `claude_code`, `claude_desktop`, `codex`, `cursor`, `goose`, `mcp_json`, `vscode` or `windsurf`.
    pub client: &'static str,
    /// Where it is.
    pub path: String,
    /// The project that this part of it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What is wrong with the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The line of the problem, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column of the problem, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What it defines, in its order.
    pub connectors: Vec<ImportableConnector>,
}

/// A server that another client knows. Holds no secret value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImportableConnector {
    /// Its name in the file, for `connectors.import`.
    pub name: String,
    /// Stands for everything that the entry says, for `hashes` of `connectors.import`. Another in each process.
    pub hash: String,
    /// `http` or `stdio`; absent where the file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    /// The MCP endpoint, with what looks like a secret hidden. `${NAME:-text}` stands for `text`, unless there is a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The executable, in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its arguments, in the same way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The folder that it is started in, in the same way; absent where that is this program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Names of the variables that are set for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Values, by name, of those variables that are not among `secrets`, in the same way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env_values: BTreeMap<String, String>,
    /// Names of the headers that are sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// True if the client has it switched off; it stays so.
    pub disabled: bool,
    /// Names of the headers and variables whose values go to the secret store.
    pub secrets: Vec<String>,
    /// What the user has to give.
    pub wanted: Vec<WantedValue>,
    /// Variables of the daemon's environment, and folders, that are filled in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Where the settings would hold what looks like a secret in the clear: `URL`, `argument 2`. Taken over only with
    /// `allow_plain_secrets`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plain_secrets: Vec<String>,
    /// The connector that leads to the same place already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Slug>,
    /// Why it cannot be taken over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What is not taken over, or is changed on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A value that the user has to give before an entry can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WantedValue {
    /// Its name, for `values`.
    pub name: String,
    /// What the file says of it. Untrusted, made fit for display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// True if it may be left out: the file has a value of its own, or the client does without it as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl ImportableFile {
    /// Shows a file; `existing` finds the connector that leads to the same place as an entry.
    pub(crate) fn of(file: &FoundFile, existing: impl Fn(&FoundConnector) -> Option<Slug>) -> Self {
        let (problem, position) = match &file.problem {
            Some(problem) => (Some(display(&problem.problem, MAX_TEXT)), problem.position),
            None => (None, None),
        };
        Self {
            source: file.source.clone(),
            client: file.client,
            path: display(&file.path, MAX_TEXT),
            project: file.project.as_deref().map(|project| display(project, MAX_TEXT)),
            problem,
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            connectors: file
                .connectors
                .iter()
                .map(|found| ImportableConnector::of(found, existing(found)))
                .collect(),
        }
    }
}

impl ImportableConnector {
    fn of(found: &FoundConnector, existing: Option<Slug>) -> Self {
        let Draft { endpoint, plain_secrets, has_user, unseen, .. } = draft(found, &BTreeMap::new());
        let refusal = if has_user { Some(Refusal::UserInUrl) } else { unseen.map(Refusal::Unseen) };
        let problem = found.problem.clone().or_else(|| Some(refusal?.to_string()));
        let mut shown = Self {
            name: shown_name(&found.name),
            hash: fingerprint(found),
            transport: None,
            url: None,
            command: None,
            args: Vec::new(),
            cwd: None,
            env: Vec::new(),
            env_values: BTreeMap::new(),
            headers: Vec::new(),
            disabled: found.disabled,
            secrets: Vec::new(),
            wanted: wanted(found),
            uses: uses(found),
            plain_secrets,
            existing,
            problem: problem.map(|problem| display(&problem, MAX_TEXT)),
            note: (!found.notes.is_empty()).then(|| display(&found.notes.join("; "), MAX_TEXT)),
        };
        match endpoint {
            Some(DraftEndpoint::Http { url, headers }) => {
                shown.transport = Some("http");
                shown.url = Some(display(&url.shown, MAX_VALUE));
                shown.headers = names(headers.iter().map(|(name, _)| name));
                shown.secrets = shown.headers.clone();
            }
            Some(DraftEndpoint::Stdio { command, args, env, cwd }) => {
                shown.transport = Some("stdio");
                shown.command = Some(display(&command.shown, MAX_VALUE));
                let args = args.iter().take(MAX_LISTED);
                shown.args = args.map(|arg| display(&arg.shown, MAX_VALUE)).collect();
                shown.cwd = cwd.map(|cwd| display(&cwd.shown, MAX_VALUE));
                shown.env = names(env.iter().map(|variable| &variable.name));
                for variable in env.iter().take(MAX_LISTED) {
                    let name = shown_name(&variable.name);
                    match &variable.shown {
                        Some(value) => _ = shown.env_values.insert(name, display(value, MAX_VALUE)),
                        None => shown.secrets.push(name),
                    }
                }
            }
            None => {}
        }
        shown
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.take(MAX_LISTED).map(|name| shown_name(name)).collect()
}

fn templates(found: &FoundConnector) -> Vec<&Template> {
    match &found.endpoint {
        Some(FoundEndpoint::Http { url, headers }) => {
            std::iter::once(url).chain(headers.iter().map(|(_, value)| value)).collect()
        }
        Some(FoundEndpoint::Stdio { command, args, env, cwd }) => std::iter::once(command)
            .chain(args)
            .chain(env.iter().map(|(_, value)| value))
            .chain(cwd)
            .collect(),
        None => Vec::new(),
    }
}

fn wanted(found: &FoundConnector) -> Vec<WantedValue> {
    let mut wanted: Vec<WantedValue> = Vec::new();
    for placeholder in templates(found).into_iter().flat_map(Template::wanted) {
        if wanted.len() < MAX_LISTED && !wanted.iter().any(|known| known.name == placeholder.name) {
            wanted.push(WantedValue {
                name: placeholder.name.clone(),
                description: placeholder.description.as_deref().map(|text| display(text, MAX_TEXT)),
                optional: placeholder.default.is_some() || placeholder.optional,
            });
        }
    }
    wanted
}

fn uses(found: &FoundConnector) -> Vec<String> {
    let mut uses: Vec<String> = Vec::new();
    for name in templates(found).into_iter().flat_map(Template::filled) {
        let name = shown_name(name);
        if uses.len() < MAX_LISTED && !uses.contains(&name) {
            uses.push(name);
        }
    }
    uses
}
