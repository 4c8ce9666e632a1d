//! One entry, whichever client it is from: what all formats are read into, and what it comes to.

use std::path::{MAIN_SEPARATOR, Path};

use connectors_core::import::{FoundConnector, FoundEndpoint, Part, Template, is_set_by_connection};
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
    /// True if the client does without those of them, and of `header_variables`, that are not set.
    pub(super) leaves_out_unset: bool,
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
            Ok(Wire::Http) => FoundConnector::new(name, self.remote(scope, &mut notes)),
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

    fn remote(&self, scope: Scope<'_>, notes: &mut Vec<String>) -> FoundEndpoint {
        let own = self.variables(scope);
        let scope = Scope { own: &own, ..scope };
        let expand = |text: &str| scope.expand(text.trim(), Place::Request);
        let mut headers: Vec<(String, Template)> =
            self.headers.iter().map(|(name, value)| (name.clone(), expand(value))).collect();
        for (header, variable) in &self.header_variables {
            headers.push((header.clone(), self.of_environment(&scope, variable)));
        }
        if let Some(variable) = &self.bearer_variable {
            let mut parts = vec![Part::Written(SecretString::from("Bearer "))];
            parts.extend(of_variable(&scope, variable));
            headers.push(("Authorization".to_owned(), Template::new(parts)));
        }
        let ours = headers.extract_if(.., |(name, _)| is_set_by_connection(name));
        let ours: Vec<String> = ours.map(|(name, _)| name).collect();
        if !ours.is_empty() {
            notes.push(format!("headers that the connection sets itself are left out: {}", ours.join(", ")));
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
            return direct.remote(scope, notes);
        }
        let env = self.variables(scope);
        let cwd = self.folder(scope, notes);
        let command = scope.expand(command.trim(), Place::Program);
        let command = match &cwd {
            // A command is looked for before its folder is entered.
            Some(folder) if is_relative(&command) && has_separator(&command) => below(folder, command),
            _ => command,
        };
        let args = self.args.iter().map(|arg| scope.expand(arg, Place::Program)).collect();
        FoundEndpoint::Stdio { command, args, env, cwd }
    }

    /// The folder that the client starts the command in, if it can be known.
    fn folder(&self, scope: Scope<'_>, notes: &mut Vec<String>) -> Option<Template> {
        let project = scope.folder.and_then(Path::to_str).map(Template::written);
        let Some(cwd) = self.cwd.as_deref().map(str::trim).filter(|cwd| !cwd.is_empty()) else {
            return project;
        };
        let cwd = scope.expand(cwd, Place::Program);
        if !is_relative(&cwd) {
            return Some(cwd);
        }
        if project.is_none() {
            notes.push(
                "the folder that its client starts it in (`cwd`) is not an absolute path: it starts in the daemon's folder"
                    .to_owned(),
            );
        }
        Some(below(&project?, cwd))
    }

    fn variables(&self, scope: Scope<'_>) -> Vec<(String, Template)> {
        let set = self.env.iter().map(|(name, value)| (name.clone(), scope.expand(value, Place::Program)));
        let is_set = |name: &String| self.env.iter().any(|(set, _)| set == name);
        let handed_on = self.handed_on.iter().filter(|name| !is_set(name));
        let handed_on = handed_on.map(|name| (name.clone(), self.of_environment(&scope, name)));
        set.chain(handed_on).collect()
    }

    /// The value of a variable of the client's environment.
    fn of_environment(&self, scope: &Scope<'_>, variable: &str) -> Template {
        let mut parts = of_variable(scope, variable);
        for part in &mut parts {
            if let Part::Wanted(wanted) = part {
                wanted.optional = self.leaves_out_unset;
            }
        }
        Template::new(parts)
    }
}

/// True for a path that is meant from some folder. What begins with a place may become anything.
fn is_relative(path: &Template) -> bool {
    matches!(path.parts(), [Part::Written(text), ..] if !Path::new(text.expose_secret()).is_absolute())
}

/// True for the path of a program. Another is looked up in `PATH`.
fn has_separator(command: &Template) -> bool {
    let is_path = |text: &SecretString| text.expose_secret().contains(std::path::is_separator);
    command.parts().iter().any(|part| matches!(part, Part::Written(text) if is_path(text)))
}

/// A relative path, as it is found below a folder.
fn below(folder: &Template, path: Template) -> Template {
    let mut parts = path.into_parts();
    if let Some(Part::Written(text)) = parts.first_mut() {
        let whole = text.expose_secret();
        let rest = whole.strip_prefix("./").or_else(|| whole.strip_prefix(".\\")).unwrap_or(whole);
        *text = SecretString::from(format!("{MAIN_SEPARATOR}{rest}"));
    }
    Template::new([folder.parts().to_vec(), parts].concat())
}
