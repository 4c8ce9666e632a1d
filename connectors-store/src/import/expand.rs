//! The places in values that are filled in: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${input:id}`, `${workspaceFolder}`, ...

use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR_STR, Path};

use connectors_core::import::{Part, Placeholder, Template};
use secrecy::SecretString;

use super::locations::Locations;

/// Most places in one value. What is beyond is left as it is written.
const MAX_PLACES: usize = 100;
/// Longest name of a place, in bytes.
const MAX_NAME: usize = 200;

/// Which places a client fills in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// None.
    Plain,
    /// `${VAR}` and `${VAR:-default}`.
    Braces,
    /// `${env:VAR}`, `${input:id}`, `${workspaceFolder}` and the like.
    Editor,
    /// `${VAR}` and `$VAR`, in what is sent to a server.
    Dollar,
}

/// Where a value is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a command line or its environment. What the client does not fill in may be for the program.
    Program,
    /// In what is sent to a server: a `${VAR}` there is for nobody else.
    Request,
}

/// What values of one entry may refer to.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) syntax: Syntax,
    pub(super) locations: &'a Locations,
    /// The folder of the project, where the file belongs to one.
    pub(super) folder: Option<&'a Path>,
    /// What the file asks the user for, by id.
    pub(super) inputs: &'a BTreeMap<String, Placeholder>,
    /// The entry's own variables, which come before those of the environment.
    pub(super) own: &'a [(String, Template)],
}

impl Scope<'_> {
    /// Finds the places in a value, and fills in those that this machine can.
    pub(super) fn expand(&self, text: &str, place: Place) -> Template {
        let mut parts = Vec::new();
        let (mut rest, mut written, mut places) = (text, String::new(), 0);
        while let Some(at) = rest.find('$').filter(|_| places < MAX_PLACES) {
            let (before, after) = rest.split_at(at);
            written.push_str(before);
            let found = self.placed(&after[1..], place).map(|(found, length)| (found, length + 1));
            let Some((found, length)) = found else {
                written.push('$');
                rest = &after[1..];
                continue;
            };
            places += 1;
            if !written.is_empty() {
                parts.push(Part::Written(SecretString::from(std::mem::take(&mut written))));
            }
            parts.extend(found);
            rest = &after[length..];
        }
        written.push_str(rest);
        if !written.is_empty() || parts.is_empty() {
            parts.push(Part::Written(SecretString::from(written)));
        }
        Template::new(parts)
    }

    /// What stands at the place that begins after a `$`, and how long that is.
    fn placed(&self, text: &str, place: Place) -> Option<(Vec<Part>, usize)> {
        if let Some(inner) = text.strip_prefix('{') {
            let end = inner.find('}')?;
            return Some((self.named(&inner[..end], place)?, end + 2));
        }
        if self.syntax == Syntax::Dollar && place == Place::Request {
            let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
            return is_variable(&text[..end]).then(|| (self.variable(&text[..end], None), end));
        }
        None
    }

    fn named(&self, name: &str, place: Place) -> Option<Vec<Part>> {
        let is_fit =
            |name: &str| !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control);
        // goose has white space there.
        let name = if self.syntax == Syntax::Dollar { name.trim() } else { name };
        let is_editor = self.syntax == Syntax::Editor;
        if let Some(variable) = name.strip_prefix("env:").filter(|_| is_editor || place == Place::Request) {
            return is_fit(variable).then(|| self.variable(variable, None));
        }
        if is_editor && let Some(parts) = self.of_editor(name) {
            return is_fit(name).then_some(parts);
        }
        // The program may mean it for itself.
        if self.syntax != Syntax::Braces && place == Place::Program {
            return None;
        }
        let (variable, default) = match name.split_once(":-") {
            Some((variable, default)) => (variable, Some(default)),
            None => (name, None),
        };
        (is_fit(variable) && is_variable(variable)).then(|| self.variable(variable, default))
    }

    fn of_editor(&self, name: &str) -> Option<Vec<Part>> {
        let folder = |folder: Option<&Path>| match folder.and_then(Path::to_str) {
            Some(path) => filled(name, path),
            None => wanted(name),
        };
        Some(match name {
            "workspaceFolder" => folder(self.folder),
            "workspaceFolderBasename" => folder(self.folder.and_then(Path::file_name).map(Path::new)),
            "userHome" => folder(self.locations.home()),
            "pathSeparator" | "/" => filled(name, MAIN_SEPARATOR_STR),
            _ => match name.split_once(':')? {
                ("input", id) => {
                    let known = self.inputs.get(id).cloned().unwrap_or_default();
                    vec![Part::Wanted(Placeholder { name: name.to_owned(), ..known })]
                }
                // Settings, commands and files of the editor's: their values are the user's to give.
                (kind, _)
                    if !kind.is_empty()
                        && kind.bytes().all(|byte| byte.is_ascii_alphabetic())
                        && !is_default(name) =>
                {
                    wanted(name)
                }
                _ => return None,
            },
        })
    }

    fn variable(&self, name: &str, default: Option<&str>) -> Vec<Part> {
        if let Some((_, own)) = self.own.iter().find(|(own, _)| own == name) {
            return own.clone().into_parts();
        }
        match self.locations.variable(name) {
            Some(value) => vec![Part::Filled { name: name.to_owned(), value: SecretString::from(value) }],
            None => vec![Part::Wanted(Placeholder {
                name: name.to_owned(),
                default: default.map(SecretString::from),
                ..Placeholder::default()
            })],
        }
    }
}

/// A place for a variable, without text around it.
pub(super) fn of_variable(scope: &Scope<'_>, name: &str) -> Vec<Part> {
    scope.variable(name, None)
}

fn filled(name: &str, value: &str) -> Vec<Part> {
    vec![Part::Filled { name: name.to_owned(), value: SecretString::from(value) }]
}

fn wanted(name: &str) -> Vec<Part> {
    vec![Part::Wanted(Placeholder { name: name.to_owned(), ..Placeholder::default() })]
}

fn is_default(name: &str) -> bool {
    name.contains(":-")
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
