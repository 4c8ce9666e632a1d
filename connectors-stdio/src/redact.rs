//! Taking the secrets of a process's environment out of what it says.

use std::fmt;
use std::path::Path;

/// Shorter values are no secrets, and occur in ordinary words.
const SHORTEST_SECRET: usize = 8;

/// The same for what is known to be a secret.
const SHORTEST_KNOWN_SECRET: usize = 4;

/// Replaces the values that a definition sets in the environment, many of which are keys.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a value which contains another goes as a whole.
    secrets: Vec<String>,
}

impl Redactor {
    /// Redacts these values, except short ones and files that exist, which an error may have to name.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let is_file = |value: &str| Path::new(value).is_absolute() && Path::new(value).exists();
        let mut secrets: Vec<String> = values
            .into_iter()
            .filter(|value| value.len() >= SHORTEST_SECRET && !is_file(value))
            .map(str::to_owned)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// Redacts these as well, which are secrets whatever they look like; only the shortest are left, which are part of everything.
    pub(crate) fn with_secrets<'a>(mut self, secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_KNOWN_SECRET);
        self.secrets.extend(secrets.map(str::to_owned));
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self
    }

    /// `text` without the secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets.len()).finish()
    }
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
}
