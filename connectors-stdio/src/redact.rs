//! Taking the secrets of a process's environment out of what it says.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Write};
use std::iter;
use std::path::Path;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// Shorter values are no secrets, and occur in ordinary words.
const SHORTEST_SECRET: usize = 8;

/// The same for what is known to be a secret.
const SHORTEST_KNOWN_SECRET: usize = 4;

/// Replaces the values that a definition sets in the environment, many of which are keys.
///
/// It is meant for text that comes line by line. So a value of several lines is found by each of its lines as well, also where its
/// line ends are written as `\n`; and all of these in the forms in which programs write them: as they are, escaped, percent-encoded.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// By their first bytes, so that the time for a text does not grow with their number.
    secrets: HashMap<[u8; SHORTEST_KNOWN_SECRET], BTreeSet<String>>,
}

impl Redactor {
    /// Redacts these values, except short ones and files that exist, which an error may have to name.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let is_file = |value: &str| Path::new(value).is_absolute() && Path::new(value).exists();
        let mut redactor = Self::default();
        for value in values.into_iter().filter(|value| !is_file(value)) {
            parts(value).filter(|part| part.len() >= SHORTEST_SECRET && !is_file(part)).for_each(|part| {
                redactor.add(part);
            });
        }
        redactor
    }

    /// Redacts these as well, which are secrets whatever they look like; only the shortest are left, which are part of everything.
    pub(crate) fn with_secrets<'a>(mut self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let parts = secrets.into_iter().flat_map(parts);
        parts.filter(|part| part.len() >= SHORTEST_KNOWN_SECRET).for_each(|part| self.add(part));
        self
    }

    fn add(&mut self, part: &str) {
        for form in forms(part) {
            if let Some(start) = form.as_bytes().first_chunk() {
                self.secrets.entry(*start).or_default().insert(form);
            }
        }
    }

    /// `text` without the secrets. Those that overlap go as one.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.secrets.is_empty() {
            return text.to_owned();
        }
        let mut shown = String::with_capacity(text.len());
        // Where what is shown already, or hidden, ends. Secrets begin and end at characters.
        let mut done = 0;
        for at in 0..text.len() {
            let Some(length) = self.longest_at_start(&text.as_bytes()[at..]) else { continue };
            if at >= done {
                shown.push_str(&text[done..at]);
                shown.push_str(REDACTED);
            }
            done = done.max(at + length);
        }
        shown.push_str(&text[done..]);
        shown
    }

    /// The length of the longest secret that `text` begins with.
    fn longest_at_start(&self, text: &[u8]) -> Option<usize> {
        let alike = self.secrets.get(text.first_chunk::<SHORTEST_KNOWN_SECRET>()?)?;
        alike.iter().filter(|secret| text.starts_with(secret.as_bytes())).map(String::len).max()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: usize = self.secrets.values().map(BTreeSet::len).sum();
        f.debug_struct("Redactor").field("secrets", &secrets).finish()
    }
}

/// A value, and what of it may come as a line of its own.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let lines = value.split(['\n', '\r']);
    // Keys in JSON, and in files of variables, have their line ends written out; the program that reads them has them as lines.
    let written_out =
        value.split("\\n").flat_map(|line| line.split("\\r")).flat_map(|line| line.split(['\n', '\r']));
    iter::once(value).chain(lines.chain(written_out).map(str::trim))
}

/// How programs write a value.
fn forms(part: &str) -> impl Iterator<Item = String> {
    // JSON, and what is much alike: a debugging dump.
    let quoted = serde_json::to_string(part).unwrap_or_default();
    let escaped =
        quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned();
    // Between other quotes.
    let in_quotes = escaped.replace("\\\"", "\"");
    // RFC 3986; `encodeURIComponent` of JavaScript; `urllib.parse.quote` of Python.
    let encoded = ["", "!*'()", "/"].map(|kept| percent_encoded(part, kept));
    [part.to_owned(), escaped, in_quotes].into_iter().chain(encoded)
}

/// `text` with all but letters, digits, `-._~` and what is `kept` as `%XX`.
fn percent_encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_longest_first_and_short_ones_and_files_left() {
        let file = std::env::current_exe().unwrap();
        let file = file.to_str().unwrap();
        let redactor = Redactor::new(["password", "password-2", "on", file]);
        let text = format!("password-2 on password in {file}");
        assert_eq!(redactor.redact(&text), format!("[redacted] on [redacted] in {file}"));
        assert_eq!(format!("{redactor:?}"), "Redactor { secrets: 2 }");
    }

    #[test]
    fn of_known_secrets_only_the_shortest_are_left() {
        let file = std::env::current_exe().unwrap();
        let file = file.to_str().unwrap();
        let redactor = Redactor::new(["password"]).with_secrets(["4711", "on", "password-2", file]);
        let text = format!("password-2 on 4711 in {file}, password");
        assert_eq!(redactor.redact(&text), "[redacted] on [redacted] in [redacted], [redacted]");
    }

    const KEY: &str =
        "-----BEGIN KEY-----\r\n  MIIEvQIBADANBgkq\r\n/hkiG9w0BAQEFAAS+\r\nQ==\r\n-----END KEY-----\r\n";

    #[test]
    fn a_value_of_several_lines_is_found_by_each_of_its_lines() {
        for redactor in [Redactor::new([KEY]), Redactor::default().with_secrets([KEY])] {
            let lines = ["-----BEGIN KEY-----", "\tkey: MIIEvQIBADANBgkq;", "/hkiG9w0BAQEFAAS+"];
            assert_eq!(
                lines.map(|line| redactor.redact(line)),
                ["[redacted]", "\tkey: [redacted];", "[redacted]"]
            );
            assert_eq!(redactor.redact(&format!("the key {KEY}.")), "the key [redacted].");
        }
        assert_eq!(Redactor::new(["a-password\n"]).redact("bad a-password"), "bad [redacted]");
    }

    #[test]
    fn line_ends_that_are_written_out_count_as_line_ends() {
        let value = r#"{"key":"-----BEGIN KEY-----\nMIIEvQIBADANBgkq\r\nhkiG9w0BAQEFAASC\n"}"#;
        let redactor = Redactor::default().with_secrets([value]);
        assert_eq!(
            ["MIIEvQIBADANBgkq", "hkiG9w0BAQEFAASC"].map(|line| redactor.redact(line)),
            ["[redacted]", "[redacted]"]
        );
    }

    #[test]
    fn escaped_and_encoded_values_are_found() {
        let secret = "p\"w\\d/é!\n+=x y";
        let redactor = Redactor::default().with_secrets([secret]);
        let written = [
            r#"{"env":{"KEY":"p\"w\\d/é!\n+=x y"}}"#,
            r#"{'KEY': 'p"w\\d/é!\n+=x y'}"#,
            "?key=p%22w%5Cd%2F%C3%A9%21%0A%2B%3Dx%20y&a=b",
            "?key=p%22w%5Cd%2F%C3%A9!%0A%2B%3Dx%20y&a=b",
            "?key=p%22w%5Cd/%C3%A9%21%0A%2B%3Dx%20y&a=b",
            "?key=p%22w%5Cd%2F%C3%A9%21&a=b",
        ];
        assert_eq!(
            written.map(|text| redactor.redact(text)),
            [
                r#"{"env":{"KEY":"[redacted]"}}"#,
                r#"{'KEY': '[redacted]'}"#,
                "?key=[redacted]&a=b",
                "?key=[redacted]&a=b",
                "?key=[redacted]&a=b",
                "?key=[redacted]&a=b",
            ]
        );
        let debugged = format!("{:?}", "a \"quoted\"\n\\ value");
        assert_eq!(Redactor::new(["a \"quoted\"\n\\ value"]).redact(&debugged), "\"[redacted]\"");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_each_other() {
        let redactor = Redactor::default().with_secrets(["abcdef", "defghi", "redacted"]);
        assert_eq!(redactor.redact("abcdefghi, édefghiabcdefé"), "[redacted], é[redacted][redacted]é");
    }
}
