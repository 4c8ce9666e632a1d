//! From the text of a team file to what it proposes, and to its mistakes.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use connectors_core::proposal::{Mistake, Proposals};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::Entry;
use super::expand::{Variables, position};

/// The one key of the file.
const LIST: &str = "connector";

/// Most entries that are read.
const MAX_ENTRIES: usize = 200;

/// Most mistakes that are reported.
const MAX_MISTAKES: usize = 50;

/// Where a text comes from.
pub struct Origin<'a> {
    /// The file, as the user is shown it.
    pub file: &'a str,
    /// The project's folder: commands are relative to it, and started in it.
    pub project: &'a Path,
    /// The variables that values may refer to.
    pub variables: Variables<'a>,
}

/// Reads a team file.
///
/// A syntax error anywhere leaves nothing proposed: what stands around it may not be what was meant. Any other mistake costs
/// the entry that it is in, and no more.
pub fn parse(text: &str, origin: &Origin<'_>) -> Proposals {
    let mut report = Report { text, origin, mistakes: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.add(
            error.span().unwrap_or_default(),
            format!("{}; nothing of this file is proposed", one_line(error.message())),
        );
    }
    let entries = match errors.is_empty() {
        true => entries(document.get_ref(), &mut report),
        false => Vec::new(),
    };
    Proposals { entries, mistakes: report.mistakes }
}

fn entries(document: &DeTable<'_>, report: &mut Report<'_>) -> Vec<connectors_core::Proposal> {
    let mut proposals = Vec::new();
    for (key, value) in document.iter() {
        if key.get_ref() != LIST {
            report.unknown(key, value, "the file");
            continue;
        }
        let Some(list) = value.get_ref().as_array() else {
            report.add(key.span(), format!("`{LIST}` has to be a list: write `[[{LIST}]]`"));
            continue;
        };
        let mut slugs = HashSet::new();
        for (n, item) in list.iter().enumerate() {
            if n >= MAX_ENTRIES {
                report.add(
                    item.span(),
                    format!("there are more than {MAX_ENTRIES} entries; those from here on are ignored"),
                );
                break;
            }
            let Some(table) = item.get_ref().as_table() else {
                report.add(item.span(), format!("an entry has to be a table: write `[[{LIST}]]`"));
                continue;
            };
            proposals.extend(Entry::new(table, item.span(), report).and_then(|entry| entry.read(&mut slugs)));
        }
    }
    proposals
}

/// The mistakes of a file, as they are found.
pub(super) struct Report<'a> {
    text: &'a str,
    pub(super) origin: &'a Origin<'a>,
    mistakes: Vec<Mistake>,
}

impl Report<'_> {
    /// Reports what is wrong with this part of the text.
    pub(super) fn add(&mut self, span: Range<usize>, problem: impl Into<String>) {
        // Finding the place reads the text from its beginning, which is not for mistakes that nobody will see.
        if self.mistakes.len() > MAX_MISTAKES {
            return;
        }
        let (line, column) = position(self.text, &span);
        let mistake = Mistake {
            file: self.origin.file.to_owned(),
            line: Some(line),
            column: Some(column),
            problem: problem.into(),
        };
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(mistake);
        } else {
            let problem = "there are more mistakes from here on".to_owned();
            self.mistakes.push(Mistake { problem, ..mistake });
        }
    }

    /// Reports a key that means nothing here.
    pub(super) fn unknown(
        &mut self,
        key: &Spanned<toml::de::DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        place: &str,
    ) {
        let name = connectors_core::text::display(key.get_ref(), 60);
        let is_secret =
            value.get_ref().as_str().is_some_and(|value| connectors_core::looks_secret(&name, value));
        let more =
            if is_secret { "; it looks like a secret, which does not belong in this file" } else { "" };
        self.add(key.span(), format!("`{name}` is not known in {place}, and is ignored{more}"));
    }

    /// The line that a part of the text begins at.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        position(self.text, span).0
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}
