//! From an entry of a file to a connector: everything filled in, and each secret where it belongs.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::FoundConnector;
use super::draft::{Draft, DraftEndpoint, Value, Variable, draft};
use crate::authorizer::SecretHeader;
use crate::definition::{SecretVariable, StdioCommand};
use crate::manager::NewConnector;

/// Why an entry is not taken over, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Unusable(String),
    #[error("it needs values for {}: give them as `values`", .0.join(", "))]
    Missing(Vec<String>),
    #[error("its URL names a user or a password: give these in a header")]
    UserInUrl,
    #[error("it cannot be shown in full: {0}")]
    Unseen(String),
    #[error(
        "what looks like a secret in its {} would be in the settings in the clear: move it to a header or a variable, or import \
         it with `allow_plain_secrets`", .0.join(", ")
    )]
    PlainSecrets(Vec<String>),
}

/// Where a connector leads. Two that lead to the same place are most likely the same.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Url(String),
    Command { command: String, args: Vec<String>, cwd: Option<String> },
}

impl Destination {
    /// Where an entry leads, as far as that is known without the user.
    pub(crate) fn of(found: &FoundConnector) -> Option<Self> {
        Some(match draft(found, &BTreeMap::new()).endpoint? {
            DraftEndpoint::Http { url, .. } => Self::url(url.text.expose_secret()),
            DraftEndpoint::Stdio { command, args, cwd, .. } => Self::Command {
                command: text(&command),
                args: args.iter().map(text).collect(),
                cwd: cwd.as_ref().map(text),
            },
        })
    }

    /// Where a command line leads.
    pub(crate) fn command(stdio: &StdioCommand) -> Self {
        let StdioCommand { command, args, cwd, .. } = stdio.clone();
        Self::Command { command, args, cwd }
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
    let Draft { endpoint, missing, plain_secrets, has_user, unseen } = draft(found, values);
    let Some(endpoint) = endpoint else {
        return Err(Refusal::Unusable("it does not say where its server is".to_owned()));
    };
    if has_user {
        return Err(Refusal::UserInUrl);
    }
    if let Some(what) = unseen {
        return Err(Refusal::Unseen(what));
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
            NewConnector::http(&found.name, url.text.expose_secret(), headers.collect())
        }
        DraftEndpoint::Stdio { command, args, env, cwd } => {
            let (plain, secret): (Vec<_>, Vec<_>) =
                env.into_iter().partition(|variable| variable.shown.is_some());
            let command = StdioCommand {
                command: text(&command),
                args: args.iter().map(text).collect(),
                env: plain
                    .into_iter()
                    .map(|Variable { name, value, .. }| (name, value.expose_secret().to_owned()))
                    .collect(),
                secret_env: Vec::new(),
                cwd: cwd.as_ref().map(text),
            };
            let secret =
                secret.into_iter().map(|Variable { name, value, .. }| SecretVariable { name, value });
            NewConnector::stdio(&found.name, command).with_secret_env(secret.collect())
        }
    };
    Ok(new.with_disabled(found.disabled))
}

fn text(value: &Value) -> String {
    value.text.expose_secret().to_owned()
}
