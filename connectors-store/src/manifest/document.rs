//! The manifest as text that is edited one connector at a time.

use std::borrow::Cow;
use std::collections::HashSet;

use connectors_core::{ConnectorDefinition, Slug, looks_secret};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::merge::merged;
use super::pretty::pretty;
use super::raw::{RawObject, raw};

const LIST: &str = "connectors";

/// What a later format would say of itself; this one says nothing.
const VERSION: &str = "version";

/// The latest format that is known here.
const KNOWN_VERSION: u64 = 1;

/// Why a file is not a manifest, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) problem: String,
    /// True for what a later version of this program may well have written.
    pub(super) is_newer: bool,
}

/// A manifest: what it says, and how it is written.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    top: RawObject<'a>,
    entries: Vec<Cow<'a, RawValue>>,
    /// What the entries say, in the same order.
    definitions: Vec<ConnectorDefinition>,
    changed: bool,
    /// True if the version before holds secrets in plain text that have been taken out of this one.
    hides_secrets: bool,
    /// True if the version before has a connector that is unfinished.
    continues: bool,
}

impl<'a> Document<'a> {
    /// Reads a manifest. A byte order mark is accepted, and gone with the next change.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        #[derive(Deserialize)]
        struct Manifest {
            #[serde(default)]
            connectors: Vec<ConnectorDefinition>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct List<'a> {
            #[serde(borrow)]
            connectors: Vec<&'a RawValue>,
        }

        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Flaw::at(bytes, error.valid_up_to(), "this is not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(Flaw::at(bytes, 0, "the file is empty; delete it to start with no connectors"));
        }
        let top: RawObject<'a> = match serde_json::from_str(text) {
            Ok(top) => top,
            // Says more about what is wrong.
            Err(error) => return Err(serde_json::from_str::<Manifest>(text).err().unwrap_or(error).into()),
        };
        if let Some((part, problem)) = later_format(&top) {
            let flaw = Flaw::at(bytes, offset(text, part.get()), problem);
            return Err(Flaw { is_newer: true, ..flaw });
        }
        let definitions = serde_json::from_str::<Manifest>(text)?.connectors;
        let entries = serde_json::from_str::<List<'a>>(text)?.connectors;

        let mut slugs = HashSet::new();
        for (definition, entry) in definitions.iter().zip(&entries) {
            let flaw = |problem: String| Flaw::at(bytes, offset(text, entry.get()), problem);
            if !entry.get().starts_with('{') {
                return Err(flaw("a connector has to be an object".to_owned()));
            }
            // The names of secrets could not be told from those of another connector: `a:b` has a secret of `a`.
            if definition.slug.as_str().contains(':') {
                return Err(flaw(format!("the slug `{}` must not hold a colon", definition.slug)));
            }
            if !slugs.insert(&definition.slug) {
                return Err(flaw(format!("a second connector with the slug `{}`", definition.slug)));
            }
        }
        let entries = entries.into_iter().map(Cow::Borrowed).collect();
        let continues = definitions.iter().any(|definition| definition.unfinished);
        Ok(Self { top, entries, definitions, changed: false, hides_secrets: false, continues })
    }

    pub(super) fn into_definitions(self) -> Vec<ConnectorDefinition> {
        self.definitions
    }

    /// True if [`to_text`](Self::to_text) says something else than the file.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// True if a secret that stood in the file is not in it any more: no earlier version of the file may stay beside it.
    pub(super) fn hides_secrets(&self) -> bool {
        self.hides_secrets
    }

    /// True if the file stands in the middle of another change: the version before that one is beside it.
    pub(super) fn continues(&self) -> bool {
        self.continues
    }

    /// Adds a connector, unless its slug is taken.
    pub(super) fn insert(&mut self, definition: &ConnectorDefinition) -> bool {
        if self.position(&definition.slug).is_some() {
            return false;
        }
        self.entries.push(Cow::Owned(raw(definition)));
        self.definitions.push(definition.clone());
        self.changed = true;
        true
    }

    /// Makes the connector with this slug say what `definition` says, and keeps what else it says.
    pub(super) fn replace(&mut self, definition: &ConnectorDefinition) {
        let Some(at) = self.position(&definition.slug) else {
            self.insert(definition);
            return;
        };
        if self.definitions[at] == *definition {
            return;
        }
        self.hides_secrets |= hides_secrets(&self.definitions[at], Some(definition));
        let merged = merged(&self.entries[at], &self.definitions[at], definition);
        self.entries[at] = Cow::Owned(merged);
        self.definitions[at] = definition.clone();
        self.changed = true;
    }

    /// Replaces the connector with `new`'s slug if it says what `expected` does; false if it does not, or there is none.
    pub(super) fn compare_and_swap(
        &mut self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> bool {
        let is_expected = self.position(&new.slug).is_some_and(|at| self.definitions[at] == *expected);
        if is_expected {
            self.replace(new);
        }
        is_expected
    }

    /// Removes the connector with this slug, if there is one.
    pub(super) fn remove(&mut self, slug: &Slug) {
        if let Some(at) = self.position(slug) {
            self.entries.remove(at);
            self.hides_secrets |= hides_secrets(&self.definitions.remove(at), None);
            self.changed = true;
        }
    }

    /// The manifest as it is to be written.
    pub(super) fn to_text(&self) -> String {
        let mut top = self.top.clone();
        let list = Cow::Owned(raw(&self.entries));
        match top.0.iter_mut().find(|(name, _)| name == LIST) {
            Some((_, value)) => *value = list,
            None => top.0.push((LIST.into(), list)),
        }
        pretty(raw(&top).get())
    }

    fn position(&self, slug: &Slug) -> Option<usize> {
        self.definitions.iter().position(|definition| definition.slug == *slug)
    }
}

impl Flaw {
    fn at(bytes: &[u8], offset: usize, problem: impl Into<String>) -> Self {
        let before = &bytes[..offset];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Self { line, column: offset - line_start + 1, problem: problem.into(), is_newer: false }
    }
}

impl From<serde_json::Error> for Flaw {
    fn from(error: serde_json::Error) -> Self {
        let message = error.to_string();
        let problem = message.rsplit_once(" at line ").map_or(message.as_str(), |(problem, _)| problem);
        // A string that stands in the wrong place may be anything, so it is not repeated.
        let problem = match problem.split_once(": string \"") {
            Some((kind, rest)) => match rest.rsplit_once("\", expected ") {
                Some((_, expected)) => format!("{kind}: a string, expected {expected}"),
                None => kind.to_owned(),
            },
            None => problem.to_owned(),
        };
        Self { line: error.line(), column: error.column(), problem, is_newer: false }
    }
}

/// True if the value of a variable is gone that looks like a secret, or is in the secret store from now on.
fn hides_secrets(before: &ConnectorDefinition, after: Option<&ConnectorDefinition>) -> bool {
    let after = after.and_then(|after| after.stdio.as_ref());
    let mut variables = before.stdio.iter().flat_map(|before| &before.env);
    variables.any(|(name, value)| {
        let now = after.and_then(|after| after.env.get(name));
        let is_stored = now.is_none() && after.is_some_and(|after| after.secret_env.contains(name));
        is_stored || now != Some(value) && looks_secret(name, value)
    })
}

/// What of a manifest this version has no notion of, and why.
fn later_format<'a, 'd>(top: &'a RawObject<'d>) -> Option<(&'a RawValue, String)> {
    let member = |wanted: &str| {
        let found = top.0.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| &**value)
    };
    if let Some(version) = member(VERSION)
        && !serde_json::from_str::<Option<u64>>(version.get())
            .is_ok_and(|version| version.unwrap_or(KNOWN_VERSION) <= KNOWN_VERSION)
    {
        return Some((version, format!("`{VERSION}` is not {KNOWN_VERSION}")));
    }
    let list = member(LIST)?;
    (!list.get().starts_with('[')).then(|| (list, format!("`{LIST}` is not a list")))
}

/// Where `part`, a slice of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

#[cfg(test)]
#[path = "document_tests.rs"]
pub(super) mod tests;
