//! From an entry of a file to a connector: everything filled in, and each secret where it belongs.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::clear::{secret_arguments, see_url};
use super::template::{Rendered, Template};
use super::{FoundConnector, FoundEndpoint};
use crate::authorizer::SecretHeader;
use crate::definition::{SecretVariable, StdioCommand};
use crate::manager::NewConnector;
use crate::secret_like::looks_secret;

/// Why an entry is not taken over, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Unusable(String),
    #[error("it needs values for {}: give them as `values`", .0.join(", "))]
    Missing(Vec<String>),
    #[error("its URL names a user or a password: give these in a header")]
    UserInUrl,
    #[error(
        "what looks like a secret in its {} would be in the settings in the clear: move it to a header or a variable, or import \
         it with `allow_plain_secrets`", .0.join(", ")
    )]
    PlainSecrets(Vec<String>),
}

/// What an entry becomes, with what is known now.
pub(super) struct Draft {
    pub(super) endpoint: Option<DraftEndpoint>,
    /// Names of what the user still has to give.
    pub(super) missing: Vec<String>,
    /// Where the settings would hold a secret in the clear.
    pub(super) plain_secrets: Vec<String>,
    pub(super) has_user: bool,
}

pub(super) enum DraftEndpoint {
    Http { url: SecretString, headers: Vec<(String, SecretString)> },
    Stdio { command: String, args: Vec<SecretString>, env: Vec<Variable> },
}

pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: SecretString,
    pub(super) is_secret: bool,
}

/// Fills in what is known.
pub(super) fn draft(found: &FoundConnector, values: &BTreeMap<String, SecretString>) -> Draft {
    let mut draft = Draft { endpoint: None, missing: Vec::new(), plain_secrets: Vec::new(), has_user: false };
    let missing = &mut draft.missing;
    let mut render = |template: &Template| -> Rendered {
        let rendered = template.render(values);
        for name in &rendered.missing {
            if !missing.contains(name) {
                missing.push(name.clone());
            }
        }
        rendered
    };
    match &found.endpoint {
        Some(FoundEndpoint::Http { url, headers }) => {
            let url = render(url);
            let seen = see_url(url.text.expose_secret().trim());
            draft.has_user = seen.has_user;
            if seen.has_secret || url.has_secret {
                draft.plain_secrets.push("URL".to_owned());
            }
            let headers = headers.iter().map(|(name, value)| (name.clone(), render(value).text)).collect();
            draft.endpoint = Some(DraftEndpoint::Http { url: url.text, headers });
        }
        Some(FoundEndpoint::Stdio { command, args, env }) => {
            let command = render(command);
            let args: Vec<Rendered> = args.iter().map(&mut render).collect();
            let env = env.iter().map(|(name, value)| {
                let value = render(value);
                let is_secret = value.has_secret
                    || value.is_entered
                    || !value.missing.is_empty()
                    || looks_secret(name, value.text.expose_secret());
                Variable { name: name.clone(), value: value.text, is_secret }
            });
            let env = env.collect();
            if command.has_secret || looks_secret("", command.text.expose_secret()) {
                draft.plain_secrets.push("command".to_owned());
            }
            let texts: Vec<&str> = args.iter().map(|arg| arg.text.expose_secret()).collect();
            let looks = secret_arguments(&texts);
            for (at, (arg, looks_secret)) in args.iter().zip(looks).enumerate() {
                if looks_secret || arg.has_secret {
                    draft.plain_secrets.push(format!("argument {}", at + 1));
                }
            }
            draft.endpoint = Some(DraftEndpoint::Stdio {
                command: command.text.expose_secret().to_owned(),
                args: args.into_iter().map(|arg| arg.text).collect(),
                env,
            });
        }
        None => {}
    }
    draft
}

/// Where a connector leads. Two that lead to the same place are most likely the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Url(String),
    Command(String, Vec<String>),
}

impl Destination {
    /// Where an entry leads, as far as that is known without the user.
    pub(crate) fn of(found: &FoundConnector) -> Option<Self> {
        Some(match draft(found, &BTreeMap::new()).endpoint? {
            DraftEndpoint::Http { url, .. } => Self::url(url.expose_secret()),
            DraftEndpoint::Stdio { command, args, .. } => {
                Self::Command(command, args.iter().map(|arg| arg.expose_secret().to_owned()).collect())
            }
        })
    }

    /// The same for URLs that differ in nothing but how they are written.
    pub(crate) fn url(url: &str) -> Self {
        let url = url.trim();
        Self::Url(url::Url::parse(url).map_or_else(|_| url.to_owned(), String::from))
    }
}

/// The connector that an entry becomes, or why it does not.
pub(crate) fn plan(
    found: &FoundConnector,
    values: &BTreeMap<String, SecretString>,
    allow_plain_secrets: bool,
) -> Result<NewConnector, Refusal> {
    if let Some(problem) = &found.problem {
        return Err(Refusal::Unusable(problem.clone()));
    }
    let Draft { endpoint, missing, plain_secrets, has_user } = draft(found, values);
    let Some(endpoint) = endpoint else {
        return Err(Refusal::Unusable("it does not say where its server is".to_owned()));
    };
    if has_user {
        return Err(Refusal::UserInUrl);
    }
    if !missing.is_empty() {
        return Err(Refusal::Missing(missing));
    }
    if !plain_secrets.is_empty() && !allow_plain_secrets {
        return Err(Refusal::PlainSecrets(plain_secrets));
    }
    let new = match endpoint {
        DraftEndpoint::Http { url, headers } => {
            let headers = headers.into_iter().map(|(name, value)| SecretHeader { name, value });
            NewConnector::http(&found.name, url.expose_secret(), headers.collect())
        }
        DraftEndpoint::Stdio { command, args, env } => {
            let (secret, plain): (Vec<_>, Vec<_>) = env.into_iter().partition(|variable| variable.is_secret);
            let command = StdioCommand {
                command,
                args: args.iter().map(|arg| arg.expose_secret().to_owned()).collect(),
                env: plain
                    .into_iter()
                    .map(|Variable { name, value, .. }| (name, value.expose_secret().to_owned()))
                    .collect(),
                ..StdioCommand::default()
            };
            let secret =
                secret.into_iter().map(|Variable { name, value, .. }| SecretVariable { name, value });
            NewConnector::stdio(&found.name, command).with_secret_env(secret.collect())
        }
    };
    Ok(new.with_disabled(found.disabled))
}
