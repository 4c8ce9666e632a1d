//! One entry, whichever client it is from: what all formats are read into, and what it comes to.

use std::path::Path;

use connectors_core::import::{FoundConnector, FoundEndpoint, Part, Template};
use secrecy::{ExposeSecret, SecretString};

use super::expand::{Place, Scope, of_variable};
use super::mcp_remote;

/// What an entry says, in the words of the file.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) name: String,
    /// The kind of connection, where the file names it.
    pub(super) kind: Option<String>,
    pub(super) command: Option<String>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Names of variables that are handed on from the client's environment.
    pub(super) handed_on: Vec<String>,
    /// The folder that the command is started in.
    pub(super) cwd: Option<String>,
    /// True if variables come from a file besides.
    pub(super) has_env_file: bool,
    pub(super) url: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    /// Headers, and the variables that their values are in.
    pub(super) header_variables: Vec<(String, String)>,
    /// The variable with the bearer token.
    pub(super) bearer_variable: Option<String>,
    pub(super) disabled: bool,
    pub(super) notes: Vec<String>,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Stdio,
    Http,
}

impl Entry {
    /// What there is to take over.
    pub(super) fn found(mut self, scope: Scope<'_>) -> FoundConnector {
        let (name, disabled) = (std::mem::take(&mut self.name), self.disabled);
        let problem = self.has_env_file.then(|| {
            "some of its variables are in a file of their own (`envFile`): put them into `env`, or add it by hand".to_owned()
        });
        let mut notes = std::mem::take(&mut self.notes);
        let mut found = match self.wire() {
            Ok(Wire::Stdio) => FoundConnector::new(name, self.local(scope, &mut notes)),
            Ok(Wire::Http) => FoundConnector::new(name, self.remote(scope)),
            Err(problem) => FoundConnector::unusable(name, problem),
        };
        found.disabled = disabled;
        found.problem = found.problem.or(problem);
        found.notes = notes;
        found
    }

    fn wire(&self) -> Result<Wire, String> {
        let kind = self.kind.as_deref().map(|kind| kind.to_ascii_lowercase().replace(['-', '_'], ""));
        let wire = match (kind.as_deref(), &self.command, &self.url) {
            (Some("stdio"), ..) => Wire::Stdio,
            (Some("http" | "sse" | "streamablehttp"), ..) => Wire::Http,
            (Some(_), ..) => {
                return Err("its `type` is not one that connectors speak: stdio, http or sse".to_owned());
            }
            (None, Some(_), Some(_)) => return Err("it has both a command and a URL".to_owned()),
            (None, Some(_), None) => Wire::Stdio,
            (None, None, Some(_)) => Wire::Http,
            (None, None, None) => return Err("it has neither a command nor a URL".to_owned()),
        };
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
        match wire {
            Wire::Stdio if is_empty(&self.command) => Err("it has no command".to_owned()),
            Wire::Http if is_empty(&self.url) => Err("it has no URL".to_owned()),
            wire => Ok(wire),
        }
    }

    fn remote(&self, scope: Scope<'_>) -> FoundEndpoint {
        let own = self.variables(scope);
        let scope = Scope { own: &own, ..scope };
        let expand = |text: &str| scope.expand(text.trim(), Place::Request);
        let mut headers: Vec<(String, Template)> =
            self.headers.iter().map(|(name, value)| (name.clone(), expand(value))).collect();
        for (header, variable) in &self.header_variables {
            headers.push((header.clone(), Template::new(of_variable(&scope, variable))));
        }
        if let Some(variable) = &self.bearer_variable {
            let mut parts = vec![Part::Written(SecretString::from("Bearer "))];
            parts.extend(of_variable(&scope, variable));
            headers.push(("Authorization".to_owned(), Template::new(parts)));
        }
        FoundEndpoint::Http { url: expand(self.url.as_deref().unwrap_or_default()), headers }
    }

    fn local(&self, scope: Scope<'_>, notes: &mut Vec<String>) -> FoundEndpoint {
        let command = self.command.as_deref().unwrap_or_default();
        if let Some(remote) = mcp_remote::recognise(command, &self.args) {
            notes.push(
                "it runs `mcp-remote` to reach a remote server; it becomes a direct connection, with a sign-in of its own"
                    .to_owned(),
            );
            notes.extend(remote.notes);
            let direct = Entry {
                url: Some(remote.url),
                headers: remote.headers,
                env: self.env.clone(),
                handed_on: self.handed_on.clone(),
                ..Entry::default()
            };
            return direct.remote(scope);
        }
        let env = self.variables(scope);
        let folder = self.folder(scope, notes);
        let absolute = |text: &str| {
            let template = scope.expand(text, Place::Program);
            match &folder {
                Some(folder) if is_relative(text) => in_folder(folder, template),
                _ => template,
            }
        };
        let args = self.args.iter().map(|arg| absolute(arg)).collect();
        if folder.is_some()
            && self
                .args
                .iter()
                .chain([&self.command.clone().unwrap_or_default()])
                .any(|text| is_relative(text))
        {
            notes.push("what began with `./` or `../` is made absolute".to_owned());
        }
        FoundEndpoint::Stdio { command: absolute(command.trim()), args, env }
    }

    /// The folder that the client starts the command in, if it can be known.
    fn folder(&self, scope: Scope<'_>, notes: &mut Vec<String>) -> Option<String> {
        let project = scope.folder.and_then(Path::to_str).map(ToOwned::to_owned);
        let Some(cwd) = self.cwd.as_deref().filter(|cwd| !cwd.trim().is_empty()) else { return project };
        notes.push(
            "its client starts it in a folder of its own (`cwd`), a connector starts in the daemon's: what it reads or writes by \
             relative paths it will not find"
                .to_owned(),
        );
        let cwd = known(&scope.expand(cwd.trim(), Place::Program))?;
        match project {
            Some(project) => Some(Path::new(&project).join(cwd).to_str()?.to_owned()),
            None => Path::new(&cwd).is_absolute().then_some(cwd),
        }
    }

    fn variables(&self, scope: Scope<'_>) -> Vec<(String, Template)> {
        let set = self.env.iter().map(|(name, value)| (name.clone(), scope.expand(value, Place::Program)));
        let is_set = |name: &String| self.env.iter().any(|(set, _)| set == name);
        let handed_on = self.handed_on.iter().filter(|name| !is_set(name));
        let handed_on = handed_on.map(|name| (name.clone(), Template::new(of_variable(&scope, name))));
        set.chain(handed_on).collect()
    }
}

/// True for a path that can only be meant from the folder that a command is started in.
fn is_relative(text: &str) -> bool {
    matches!(text, "." | "..") || ["./", "../", ".\\", "..\\"].iter().any(|start| text.starts_with(start))
}

/// The same below a folder.
fn in_folder(folder: &str, template: Template) -> Template {
    let start = format!("{}{}", folder.trim_end_matches(['/', '\\']), std::path::MAIN_SEPARATOR);
    let mut parts = template.into_parts();
    let is_here = |text: &str| matches!(text, "." | "./" | ".\\");
    match parts.first_mut() {
        Some(Part::Written(text)) if is_here(text.expose_secret()) => *text = SecretString::from(folder),
        Some(Part::Written(text)) => {
            let written = text.expose_secret();
            let rest = written.strip_prefix("./").or_else(|| written.strip_prefix(".\\")).unwrap_or(written);
            *text = SecretString::from(format!("{start}{rest}"));
        }
        _ => {}
    }
    Template::new(parts)
}

/// The text of a value in which nothing is missing.
fn known(template: &Template) -> Option<String> {
    let mut text = String::new();
    for part in template.parts() {
        match part {
            Part::Written(part) | Part::Filled { value: part, .. } => text.push_str(part.expose_secret()),
            Part::Wanted(_) => return None,
        }
    }
    Some(text)
}
