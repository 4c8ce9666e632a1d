//! Values as files give them: text with places that are filled in.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::secret_like::{HIDDEN, is_folder, looks_secret};

/// A value as a file gives it. May be a secret, whole or in part, so none of it is ever printed.
#[derive(Debug, Clone, Default)]
pub struct Template(Vec<Part>);

/// A piece of a value.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text of the file's own.
    Written(SecretString),
    /// A place that this machine fills in: a variable of the environment, or a folder.
    Filled {
        /// What the file calls it.
        name: String,
        /// What stands there.
        value: SecretString,
    },
    /// A place that the user has to fill in.
    Wanted(Placeholder),
}

/// What a file leaves open.
#[derive(Debug, Clone, Default)]
pub struct Placeholder {
    /// What it is called.
    pub name: String,
    /// What the file says of it.
    pub description: Option<String>,
    /// True if the file says that it is a secret.
    pub secret: bool,
    /// What stands there unless the user says otherwise.
    pub default: Option<SecretString>,
    /// True if the header or the variable is left out where nothing stands there.
    pub optional: bool,
}

impl Placeholder {
    /// What stands there by itself, unless that is a secret.
    fn open_default(&self) -> Option<&str> {
        let default = self.default.as_ref()?.expose_secret();
        (!self.secret && !looks_secret(&self.name, default)).then_some(default)
    }
}

/// What is shown of what stands in a place unless the user says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defaults {
    /// Nothing, not even that there is one.
    Left,
    /// That there is one.
    Hidden,
    /// All, where it is no secret by itself.
    Shown,
    /// The same, as if nothing had been open there. For looking at, not for showing.
    InPlace,
}

/// A value with everything filled in that is known. What is missing stands there by its name.
pub(crate) struct Rendered {
    pub(crate) text: SecretString,
    /// True if what was filled in is, or looks like, a secret.
    pub(crate) has_secret: bool,
    /// True if something of it came from the user.
    pub(crate) is_entered: bool,
    /// True if something of it came from this machine's environment, other than a folder.
    pub(crate) is_taken: bool,
    /// True if it is to be left out, since nothing stands where something may.
    pub(crate) is_left_out: bool,
    /// The names of what is missing.
    pub(crate) missing: Vec<String>,
}

impl Template {
    /// Text that nothing is filled into.
    pub fn written(text: impl Into<String>) -> Self {
        Self(vec![Part::Written(SecretString::from(text.into()))])
    }

    /// Put together from its pieces.
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// The pieces.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The pieces.
    pub fn into_parts(self) -> Vec<Part> {
        self.0
    }

    /// As the file has it: places by their names, which shows nothing of the environment. What the file itself says may be a secret.
    pub(crate) fn source_text(&self, defaults: Defaults) -> String {
        let mut text = String::new();
        for part in &self.0 {
            let (name, default) = match part {
                Part::Written(written) => {
                    text.push_str(written.expose_secret());
                    continue;
                }
                Part::Filled { name, .. } => (name, None),
                Part::Wanted(wanted) => (&wanted.name, wanted.default.as_ref().map(|_| wanted)),
            };
            let open = default.and_then(Placeholder::open_default);
            if let Some(open) = open.filter(|_| defaults == Defaults::InPlace) {
                text.push_str(open);
                continue;
            }
            text.push_str("${");
            text.push_str(name);
            if default.is_some() && matches!(defaults, Defaults::Hidden | Defaults::Shown) {
                text.push_str(":-");
                text.push_str(open.filter(|_| defaults == Defaults::Shown).unwrap_or(HIDDEN));
            }
            text.push('}');
        }
        text
    }

    /// True if there is no place in it.
    pub(crate) fn is_written(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Written(_)))
    }

    /// What the user has to fill in.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Wanted(placeholder) => Some(placeholder),
            Part::Written(_) | Part::Filled { .. } => None,
        })
    }

    /// What this machine fills in.
    pub(crate) fn filled(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Filled { name, .. } => Some(name.as_str()),
            Part::Written(_) | Part::Wanted(_) => None,
        })
    }

    pub(crate) fn render(&self, values: &BTreeMap<String, SecretString>) -> Rendered {
        let mut text = String::new();
        let (mut has_secret, mut is_entered, mut is_taken) = (false, false, false);
        let (mut is_left_out, mut missing) = (false, Vec::new());
        for part in &self.0 {
            match part {
                Part::Written(written) => text.push_str(written.expose_secret()),
                Part::Filled { name, value } => {
                    has_secret |= looks_secret(name, value.expose_secret());
                    is_taken |= !is_folder(value.expose_secret());
                    text.push_str(value.expose_secret());
                }
                Part::Wanted(wanted) => {
                    let entered = values.get(&wanted.name);
                    is_entered |= entered.is_some();
                    has_secret |= wanted.secret;
                    if let Some(value) = entered.or(wanted.default.as_ref()) {
                        has_secret |= looks_secret(&wanted.name, value.expose_secret());
                        text.push_str(value.expose_secret());
                    } else if wanted.optional {
                        is_left_out = true;
                    } else {
                        missing.push(wanted.name.clone());
                        text.push_str("${");
                        text.push_str(&wanted.name);
                        text.push('}');
                    }
                }
            }
        }
        Rendered { text: SecretString::from(text), has_secret, is_entered, is_taken, is_left_out, missing }
    }
}
