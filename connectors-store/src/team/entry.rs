//! One `[[connector]]` of a team file.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use connectors_core::definition::AcceptedProposal;
use connectors_core::secret_like::secret_arguments;
use connectors_core::{ConnectorDefinition, Proposal, Slug, StdioCommand, looks_secret, text};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::expand;
use super::parse::Report;
use super::{hash, secret};

/// Longest name, in bytes.
const MAX_NAME: usize = 200;

/// Most arguments, variables or names of one kind that an entry has: more than a user can look through.
const MAX_ITEMS: usize = 200;

/// What an entry may say, and which kind of server it says it of.
const KEYS: &[(&str, Kind)] = &[
    ("name", Kind::Any),
    ("url", Kind::Remote),
    ("secret_headers", Kind::Remote),
    ("headers", Kind::Any),
    ("command", Kind::Local),
    ("args", Kind::Local),
    ("env", Kind::Local),
    ("secret_env", Kind::Local),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Remote,
    Local,
}

/// An entry that is being read.
pub(super) struct Entry<'a, 'r, 't> {
    table: &'a DeTable<'t>,
    span: Range<usize>,
    report: &'a mut Report<'r>,
    name: String,
    name_span: Range<usize>,
}

/// The entry is not proposed; why was reported.
struct Spoiled;

type Item<'a, 't> = &'a Spanned<DeValue<'t>>;

impl<'a, 'r, 't> Entry<'a, 'r, 't> {
    /// An entry, if it has a name.
    pub(super) fn new(
        table: &'a DeTable<'t>,
        span: Range<usize>,
        report: &'a mut Report<'r>,
    ) -> Option<Self> {
        let Some(item) = table.get("name") else {
            report.add(span, "this entry has no `name`, and is not proposed");
            return None;
        };
        let name = item.get_ref().as_str().map(str::trim).unwrap_or_default();
        if name.is_empty() || name.len() > MAX_NAME || !is_visible(name) || name.contains(['\n', '\t']) {
            let problem = format!(
                "`name` has to be one line of visible text, of at most {MAX_NAME} bytes; this entry is not proposed"
            );
            report.add(item.span(), problem);
            return None;
        }
        Some(Self { table, span, name: name.to_owned(), name_span: item.span(), report })
    }

    /// What it proposes, if it is in order. Its slug must not be among `slugs`, and is then.
    pub(super) fn read(mut self, slugs: &mut HashSet<Slug>) -> Option<Proposal> {
        let slug = Slug::from_name(&self.name);
        if !slugs.insert(slug.clone()) {
            self.spoil(
                self.name_span.clone(),
                &format!("another entry before it goes by `{slug}` as well, and counts"),
            );
            return None;
        }
        let mut definition = self.definition(slug).ok()?;
        let (hash, file) = (hash::of(&definition), self.report.origin.file.to_owned());
        definition.proposal = Some(AcceptedProposal { file: file.clone(), hash: hash.clone() });
        Some(Proposal { definition, hash, file, line: self.report.line(&self.span) })
    }

    fn definition(&mut self, slug: Slug) -> Result<ConnectorDefinition, Spoiled> {
        let kind = match (self.table.get("url"), self.table.get("command")) {
            (Some(_), None) => Kind::Remote,
            (None, Some(_)) => Kind::Local,
            (Some(_), Some(command)) => {
                return Err(self
                    .spoil(command.span(), "it has a `url` and a `command`; only one of them can be meant"));
            }
            (None, None) => {
                return Err(self.spoil(self.name_span.clone(), "it has neither a `url` nor a `command`"));
            }
        };
        self.check_keys(kind);
        // Every mistake is reported, not only the first.
        let headers = self.no_headers();
        let definition = match kind {
            Kind::Local => self.local(slug),
            Kind::Remote | Kind::Any => self.remote(slug),
        };
        headers.and(definition)
    }

    fn check_keys(&mut self, kind: Kind) {
        for (key, value) in self.table.iter() {
            let name: &str = key.get_ref();
            match KEYS.iter().find(|(known, _)| *known == name) {
                Some((_, of)) if *of == Kind::Any || *of == kind => {}
                Some((known, Kind::Remote)) => {
                    self.report.add(
                        key.span(),
                        format!("`{known}` goes with `url`, not with `command`, and is ignored"),
                    );
                }
                Some((known, _)) => {
                    self.report.add(
                        key.span(),
                        format!("`{known}` goes with `command`, not with `url`, and is ignored"),
                    );
                }
                None => self.report.unknown(key, value, "an entry"),
            }
        }
    }

    /// Values of headers are secrets, or would be soon.
    fn no_headers(&mut self) -> Result<(), Spoiled> {
        match self.table.get_key_value("headers") {
            Some((key, value)) if !value.get_ref().as_table().is_some_and(DeTable::is_empty) => Err(self
                .spoil(
                    key.span(),
                    &format!("values of headers do not belong in this file; {}", secret::HEADERS),
                )),
            _ => Ok(()),
        }
    }

    fn remote(&mut self, slug: Slug) -> Result<ConnectorDefinition, Spoiled> {
        let (url, headers) = (self.url(), self.names("secret_headers"));
        let mut definition = ConnectorDefinition::http(slug, self.name.clone(), url?);
        definition.secret_headers = headers?;
        Ok(definition)
    }

    fn url(&mut self) -> Result<String, Spoiled> {
        let item = self.item("url")?;
        let url = self.expanded(item, "url")?.trim().to_owned();
        if url.contains(['\n', '\t', ' ']) {
            return Err(self.spoil(item.span(), "`url` holds white space"));
        }
        if let Some(what) = secret::in_url(&url) {
            return Err(self.secret(
                item.span(),
                &format!("`url`: {what} looks like a secret"),
                secret::HEADERS,
            ));
        }
        Ok(url)
    }

    fn local(&mut self, slug: Slug) -> Result<ConnectorDefinition, Spoiled> {
        let parts = (self.command(), self.args(), self.env(), self.names("secret_env"));
        let (command, args, env, secret_env) = (parts.0?, parts.1?, parts.2?, parts.3?);
        let project = self.report.origin.project;
        let Some(cwd) = project.to_str() else {
            return Err(self.spoil(self.name_span.clone(), "the name of this project's folder is not UTF-8"));
        };
        let stdio = StdioCommand { command, args, env, secret_env, cwd: Some(cwd.to_owned()) };
        Ok(ConnectorDefinition::stdio(slug, self.name.clone(), stdio))
    }

    fn command(&mut self) -> Result<String, Spoiled> {
        let item = self.item("command")?;
        let command = self.expanded(item, "command")?;
        if looks_secret("", &command) {
            return Err(self.secret(item.span(), "`command` looks like a secret", secret::VARIABLES));
        }
        let is_bare = !command.contains(std::path::is_separator);
        if is_bare {
            return Ok(command);
        }
        // Tidied of `.`, so that one file has one name.
        let resolved: std::path::PathBuf = self.report.origin.project.join(&command).components().collect();
        match resolved.into_os_string().into_string() {
            Ok(resolved) => Ok(resolved),
            Err(_) => Err(self.spoil(item.span(), "the name of this project's folder is not UTF-8")),
        }
    }

    fn args(&mut self) -> Result<Vec<String>, Spoiled> {
        let items = self.list("args")?;
        let raw: Vec<String> =
            items.iter().filter_map(|item| item.get_ref().as_str()).map(ToOwned::to_owned).collect();
        let expanded: Vec<_> = items.iter().map(|item| self.expanded(item, "args")).collect();
        let args = expanded.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut outcome = Ok(());
        let is_secret = secret_arguments(&raw).into_iter().zip(secret_arguments(&args));
        for (item, (written, expanded)) in items.iter().zip(is_secret) {
            if written || expanded {
                outcome =
                    Err(self.secret(item.span(), "this argument looks like a secret", secret::VARIABLES));
            }
        }
        outcome.map(|()| args)
    }

    fn env(&mut self) -> Result<BTreeMap<String, String>, Spoiled> {
        let Some(item) = self.table.get("env") else { return Ok(BTreeMap::new()) };
        let Some(table) = item.get_ref().as_table() else {
            return Err(self.spoil(item.span(), "`env` has to be a table of strings"));
        };
        if table.len() > MAX_ITEMS {
            return Err(self.spoil(item.span(), &format!("`env` has more than {MAX_ITEMS} variables")));
        }
        let (mut env, mut outcome) = (BTreeMap::new(), Ok(()));
        for (key, item) in table.iter() {
            let name: &str = key.get_ref();
            if !is_visible(name) || name.is_empty() {
                outcome = Err(self.spoil(key.span(), "this is not the name of a variable"));
                continue;
            }
            match self.expanded(item, &format!("env.{name}")) {
                Ok(value)
                    if looks_secret(name, &value)
                        || looks_secret(name, item.get_ref().as_str().unwrap_or_default()) =>
                {
                    let problem = format!("the value of `{name}` looks like a secret");
                    outcome = Err(self.secret(item.span(), &problem, secret::VARIABLES));
                }
                Ok(value) => drop(env.insert(name.to_owned(), value)),
                Err(spoiled) => outcome = Err(spoiled),
            }
        }
        outcome.map(|()| env)
    }

    /// A list of names, without repetitions.
    fn names(&mut self, key: &str) -> Result<Vec<String>, Spoiled> {
        let (mut names, mut seen) = (Vec::new(), HashSet::new());
        for item in self.list(key)? {
            let name = item.get_ref().as_str().unwrap_or_default();
            let is_name = !name.is_empty()
                && name.len() <= MAX_NAME
                && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"=:$\"".contains(&byte));
            if !is_name || looks_secret("", name) {
                return Err(self.spoil(item.span(), &format!("`{key}` has to hold names only")));
            }
            if seen.insert(name.to_ascii_lowercase()) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn item(&mut self, key: &str) -> Result<Item<'a, 't>, Spoiled> {
        let table = self.table;
        table.get(key).ok_or(Spoiled)
    }

    /// The strings of a list, of which there are not too many; none if there is no such key.
    fn list(&mut self, key: &str) -> Result<Vec<Item<'a, 't>>, Spoiled> {
        let table = self.table;
        let Some(item) = table.get(key) else { return Ok(Vec::new()) };
        let list: Option<Vec<_>> = item.get_ref().as_array().map(|list| list.iter().collect());
        match list {
            Some(list) if list.len() > MAX_ITEMS => {
                Err(self.spoil(item.span(), &format!("`{key}` has more than {MAX_ITEMS} items")))
            }
            Some(list) if list.iter().all(|item| item.get_ref().is_str()) => Ok(list),
            _ => Err(self.spoil(item.span(), &format!("`{key}` has to be a list of strings"))),
        }
    }

    /// A string with its variables in place: visible, not empty where it stands alone, and without another's secret.
    fn expanded(&mut self, item: &Spanned<DeValue<'_>>, key: &str) -> Result<String, Spoiled> {
        let Some(raw) = item.get_ref().as_str() else {
            return Err(self.spoil(item.span(), &format!("`{key}` has to be a string")));
        };
        let variables = self.report.origin.variables;
        let expanded = match expand(raw, variables) {
            Ok(expanded) => expanded,
            Err(error) => return Err(self.spoil(item.span(), &format!("`{key}`: {error}"))),
        };
        let secret =
            expanded.used.iter().find(|name| variables(name).is_some_and(|value| looks_secret(name, &value)));
        if let Some(name) = secret {
            let remedy = if key == "url" { secret::HEADERS } else { secret::VARIABLES };
            return Err(self.secret(
                item.span(),
                &format!("`{key}`: the variable {name} holds what looks like a secret"),
                remedy,
            ));
        }
        if !is_visible(&expanded.text) {
            return Err(self.spoil(item.span(), &format!("`{key}` holds characters that cannot be seen")));
        }
        if matches!(key, "url" | "command") && expanded.text.trim().is_empty() {
            return Err(self.spoil(item.span(), &format!("`{key}` is empty")));
        }
        Ok(expanded.text)
    }

    fn secret(&mut self, span: Range<usize>, problem: &str, remedy: &str) -> Spoiled {
        self.spoil(span, &format!("{problem}, which does not belong in this file; {remedy}"))
    }

    fn spoil(&mut self, span: Range<usize>, problem: &str) -> Spoiled {
        self.report.add(span, format!("`{}` is not proposed: {problem}", self.name));
        Spoiled
    }
}

/// True for text that shows everything that is in it: what the user accepts is what they see.
fn is_visible(value: &str) -> bool {
    text::display(value, value.len()) == value
}
