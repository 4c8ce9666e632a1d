//! What ties an import to what was shown.

use std::sync::LazyLock;

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::template::{Part, Placeholder, Template};
use super::{FoundConnector, FoundEndpoint};

/// Drawn anew by each process, so that no secret can be guessed with the help of a hash that was shown or written down.
static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// Stands for everything that an entry says, its secrets and what this machine fills in included. 64 hexadecimal digits, of
/// use in this process alone.
pub(crate) fn fingerprint(found: &FoundConnector) -> String {
    let mut content = Content(Sha256::new_with_prefix(*KEY));
    content.entry(found);
    // Once more, so that nothing can be appended to what was hashed.
    let hash = Sha256::new_with_prefix(*KEY).chain_update(content.0.finalize()).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes values in with their lengths, so that no two entries are the same sequence of bytes.
struct Content(Sha256);

impl Content {
    fn entry(&mut self, found: &FoundConnector) {
        let FoundConnector { name, endpoint, disabled, problem, notes } = found;
        self.text(name);
        self.number(usize::from(*disabled));
        self.optional(problem.as_deref());
        self.number(notes.len());
        notes.iter().for_each(|note| self.text(note));
        match endpoint {
            None => self.number(0),
            Some(FoundEndpoint::Http { url, headers }) => {
                self.number(1);
                self.template(url);
                self.named(headers);
            }
            Some(FoundEndpoint::Stdio { command, args, env, cwd }) => {
                self.number(2);
                self.template(command);
                self.number(args.len());
                args.iter().for_each(|arg| self.template(arg));
                self.named(env);
                self.number(usize::from(cwd.is_some()));
                cwd.iter().for_each(|cwd| self.template(cwd));
            }
        }
    }

    fn named(&mut self, values: &[(String, Template)]) {
        self.number(values.len());
        for (name, value) in values {
            self.text(name);
            self.template(value);
        }
    }

    fn template(&mut self, template: &Template) {
        self.number(template.parts().len());
        for part in template.parts() {
            match part {
                Part::Written(text) => {
                    self.number(0);
                    self.text(text.expose_secret());
                }
                Part::Filled { name, value } => {
                    self.number(1);
                    self.text(name);
                    self.text(value.expose_secret());
                }
                Part::Wanted(Placeholder { name, description, secret, default, optional }) => {
                    self.number(2);
                    self.text(name);
                    self.optional(description.as_deref());
                    self.number(usize::from(*secret));
                    self.number(usize::from(*optional));
                    self.optional(default.as_ref().map(ExposeSecret::expose_secret));
                }
            }
        }
    }

    fn optional(&mut self, text: Option<&str>) {
        self.number(usize::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.update(text);
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_le_bytes());
    }
}
