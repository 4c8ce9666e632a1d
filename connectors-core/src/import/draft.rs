//! What an entry becomes with what is known of it, and how much of that may be seen.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::template::{Defaults, Rendered, Template};
use super::{FoundConnector, FoundEndpoint, MAX_NAME};
use crate::secret_like::{hidden_argument, looks_secret, secret_arguments, see_url};
use crate::text::display;

/// Most arguments, variables or headers that are shown of an entry.
pub(super) const MAX_LISTED: usize = 200;
/// Longest URL, command, argument or value that is shown, in bytes.
pub(super) const MAX_VALUE: usize = 4 << 10;

/// What an entry becomes, with what is known now.
pub(super) struct Draft {
    pub(super) endpoint: Option<DraftEndpoint>,
    /// Names of what the user still has to give.
    pub(super) missing: Vec<String>,
    /// Where the settings would hold a secret in the clear.
    pub(super) plain_secrets: Vec<String>,
    pub(super) has_user: bool,
    /// What keeps it from being shown in full.
    pub(super) unseen: Option<String>,
}

pub(super) enum DraftEndpoint {
    Http { url: Value, headers: Vec<(String, SecretString)> },
    Stdio { command: Value, args: Vec<Value>, env: Vec<Variable>, cwd: Option<Value> },
}

/// Something that the settings hold in the clear.
pub(super) struct Value {
    pub(super) text: SecretString,
    /// As the file has it, with what looks like a secret hidden. What is hidden is among [`Draft::plain_secrets`].
    pub(super) shown: String,
    is_secret: bool,
}

pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: SecretString,
    /// As the file has it; `None` for one that is kept as a secret.
    pub(super) shown: Option<String>,
}

/// Fills in what is known.
pub(super) fn draft(found: &FoundConnector, values: &BTreeMap<String, SecretString>) -> Draft {
    let mut missing = Vec::new();
    let mut render = |template: &Template| -> Rendered {
        let rendered = template.render(values);
        for name in &rendered.missing {
            if !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        rendered
    };
    let mut plain_secrets = Vec::new();
    let mut has_user = false;
    let endpoint = match &found.endpoint {
        Some(FoundEndpoint::Http { url, headers }) => {
            let filled = render(url);
            has_user = see_url(filled.text.expose_secret().trim()).has_user;
            let url = see_location(url, filled);
            if url.is_secret {
                plain_secrets.push("URL".to_owned());
            }
            let headers = headers.iter().map(|(name, value)| (name, render(value)));
            let headers = headers.filter(|(_, filled)| !filled.is_left_out);
            let headers = headers.map(|(name, filled)| (name.clone(), filled.text)).collect();
            Some(DraftEndpoint::Http { url, headers })
        }
        Some(FoundEndpoint::Stdio { command, args, env, cwd }) => {
            let command = see_alone(command, render(command));
            if command.is_secret {
                plain_secrets.push("command".to_owned());
            }
            let filled = args.iter().map(&mut render).collect();
            let args = see_arguments(args, filled);
            let secret = args.iter().enumerate().filter(|(_, arg)| arg.is_secret);
            plain_secrets.extend(secret.map(|(at, _)| format!("argument {}", at + 1)));
            let env = env.iter().map(|(name, value)| (name, value, render(value)));
            let env = env.filter(|(_, _, filled)| !filled.is_left_out);
            let env = env.map(|(name, value, filled)| see_variable(name, value, filled)).collect();
            let cwd = cwd.as_ref().map(|cwd| see_alone(cwd, render(cwd)));
            if cwd.as_ref().is_some_and(|cwd| cwd.is_secret) {
                plain_secrets.push("folder".to_owned());
            }
            Some(DraftEndpoint::Stdio { command, args, env, cwd })
        }
        None => None,
    };
    let unseen = endpoint.as_ref().and_then(unseen);
    Draft { endpoint, missing, plain_secrets, has_user, unseen }
}

fn see_location(url: &Template, filled: Rendered) -> Value {
    let by_value = see_url(filled.text.expose_secret().trim()).secret.is_some();
    let by_name = see_url(&url.source_text(Defaults::Left)).secret.is_some();
    let mut seen = see_url(&url.source_text(Defaults::Shown));
    // Defaults may be parts of a secret.
    if seen.secret.is_none() && see_url(&url.source_text(Defaults::InPlace)).secret.is_some() {
        seen = see_url(&url.source_text(Defaults::Hidden));
    }
    let is_secret = by_value || by_name || seen.secret.is_some() || filled.has_secret;
    Value { text: filled.text, shown: seen.shown.trim().to_owned(), is_secret }
}

/// Whether a text looks like a secret: with places by their names, with open defaults in them, and with all filled in.
struct Looks {
    by_name: bool,
    by_default: bool,
    by_value: bool,
}

/// The arguments by the names of what is filled in. One that looks like a secret, as written or filled in, is hidden.
fn see_arguments(args: &[Template], filled: Vec<Rendered>) -> Vec<Value> {
    let texts = |defaults| args.iter().map(|arg| arg.source_text(defaults)).collect::<Vec<_>>();
    let values: Vec<&str> = filled.iter().map(|arg| arg.text.expose_secret()).collect();
    let by_name = secret_arguments(&texts(Defaults::Left)).into_iter();
    let by_default = secret_arguments(&texts(Defaults::InPlace)).into_iter();
    let looks = by_name.zip(by_default).zip(secret_arguments(&values));
    let looks = looks.map(|((by_name, by_default), by_value)| Looks { by_name, by_default, by_value });
    let see = |((arg, filled), looks): ((&Template, Rendered), Looks)| see_argument(arg, filled, &looks);
    args.iter().zip(filled).zip(looks).map(see).collect()
}

/// A text that no other says anything about.
fn see_alone(template: &Template, filled: Rendered) -> Value {
    let looks = |defaults| looks_secret("", &template.source_text(defaults));
    let looks = Looks {
        by_name: looks(Defaults::Left),
        by_default: looks(Defaults::InPlace),
        by_value: looks_secret("", filled.text.expose_secret()),
    };
    see_argument(template, filled, &looks)
}

fn see_argument(template: &Template, filled: Rendered, looks: &Looks) -> Value {
    let Looks { by_name, by_default, by_value } = *looks;
    // What this machine fills in is not in the text: only what the file itself says can give something away.
    let shown = if by_name || by_value && template.is_written() {
        hidden_argument(&template.source_text(Defaults::Left))
    } else {
        template.source_text(if by_default { Defaults::Hidden } else { Defaults::Shown })
    };
    Value { text: filled.text, shown, is_secret: by_name || by_default || by_value || filled.has_secret }
}

fn see_variable(name: &str, template: &Template, filled: Rendered) -> Variable {
    let is_secret = filled.has_secret
        || filled.is_entered
        // Whoever keeps a value out of the file has a reason.
        || filled.is_taken
        || !filled.missing.is_empty()
        || looks_secret(name, filled.text.expose_secret())
        || looks_secret(name, &template.source_text(Defaults::Left));
    let shown = (!is_secret).then(|| template.source_text(Defaults::Shown));
    Variable { name: name.to_owned(), value: filled.text, shown }
}

/// The first thing that would be shown otherwise than it is.
fn unseen(endpoint: &DraftEndpoint) -> Option<String> {
    let too_many = |count: usize, what: &str| {
        (count > MAX_LISTED).then(|| format!("it has more than {MAX_LISTED} {what}"))
    };
    match endpoint {
        DraftEndpoint::Http { url, headers } => {
            let name = |(at, (name, _)): (usize, &(String, SecretString))| {
                altered(name, MAX_NAME).map(|how| format!("the name of its header {} {how}", at + 1))
            };
            too_many(headers.len(), "headers")
                .or_else(|| altered(&url.shown, MAX_VALUE).map(|how| format!("its URL {how}")))
                .or_else(|| headers.iter().enumerate().find_map(name))
        }
        DraftEndpoint::Stdio { command, args, env, cwd } => {
            let arg = |(at, arg): (usize, &Value)| {
                altered(&arg.shown, MAX_VALUE).map(|how| format!("its argument {} {how}", at + 1))
            };
            let variable = |(at, variable): (usize, &Variable)| {
                let of = |what, how| format!("the {what} of its variable {} {how}", at + 1);
                let value = || altered(variable.shown.as_deref()?, MAX_VALUE).map(|how| of("value", how));
                altered(&variable.name, MAX_NAME).map(|how| of("name", how)).or_else(value)
            };
            too_many(args.len(), "arguments")
                .or_else(|| too_many(env.len(), "variables"))
                .or_else(|| altered(&command.shown, MAX_VALUE).map(|how| format!("its command {how}")))
                .or_else(|| altered(&cwd.as_ref()?.shown, MAX_VALUE).map(|how| format!("its folder {how}")))
                .or_else(|| args.iter().enumerate().find_map(arg))
                .or_else(|| env.iter().enumerate().find_map(variable))
        }
    }
}

/// How a text is changed to make it fit for display.
fn altered(text: &str, max_bytes: usize) -> Option<&'static str> {
    if text.len() > max_bytes {
        Some("is too long")
    } else {
        (display(text, max_bytes) != text).then_some("has invisible characters")
    }
}
