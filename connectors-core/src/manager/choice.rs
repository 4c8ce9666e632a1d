//! What a user enters about signing in, and what becomes of it where a connector moves.

use super::secrets::SecretChange;
use crate::definition::{ConnectorDefinition, OAuthSettings, Registration};
use crate::error::ConnectorError;
use crate::sign_in::{ClientCredentials, SignInChoice};
use crate::store::CredentialKey;
use crate::transport::InvalidDefinition;

/// The secrets that a user enters beside a client's.
const ENTERED: [&str; 3] = ["private_key", "assertion", "id_token"];

/// Longest client identifier, in bytes: one may be the URL of a metadata document.
const MAX_CLIENT_ID: usize = 4_096;

/// Where a connector leads, compared with before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// To the same resource.
    None,
    /// To another resource of the same origin.
    Within,
    /// To another origin.
    Away,
}

impl Move {
    pub(super) fn between(before: &str, after: &str) -> Self {
        if before == after {
            return Self::None;
        }
        match (url::Url::parse(before), url::Url::parse(after)) {
            (Ok(before), Ok(after)) if before.origin().is_tuple() && before.origin() == after.origin() => {
                Self::Within
            }
            _ => Self::Away,
        }
    }

    /// Takes back what the sign-in at the old address has brought. Tokens are bound to the resource (RFC 8707); nothing at all is
    /// carried to another origin.
    pub(super) fn apply(self, definition: &mut ConnectorDefinition, secrets: &mut SecretChange) {
        match self {
            Self::None => {}
            Self::Within => {
                secrets.delete("tokens");
                if let Some(oauth) = &mut definition.oauth {
                    oauth.resource = None;
                    oauth.scopes.clear();
                }
            }
            Self::Away => {
                CredentialKey::SIGN_IN_NAMES.into_iter().for_each(|name| secrets.delete(name));
                definition.oauth = None;
            }
        }
    }
}

/// Puts a choice into a definition, and its secrets beside it.
///
/// # Errors
///
/// [`InvalidDefinition`] for what cannot be meant.
pub(super) fn apply(
    choice: SignInChoice,
    definition: &mut ConnectorDefinition,
    secrets: &mut SecretChange,
) -> Result<(), ConnectorError> {
    let SignInChoice { grant, client, secrets: entered, exceptions } = choice;
    let mut oauth = definition.oauth.take().unwrap_or_default();
    if grant.is_some() && grant != oauth.grant {
        oauth.grant = grant;
        secrets.delete("tokens");
    }
    if let Some(exceptions) = exceptions {
        oauth.exceptions = exceptions;
    }
    if let Some(client) = client {
        enter_client(client, &mut oauth, secrets)?;
    }
    for (name, value) in entered {
        if !ENTERED.contains(&name) {
            return invalid("oauth", format!("{name} is not a secret that is entered"));
        }
        secrets.put(name, value);
    }
    definition.oauth = (oauth != OAuthSettings::default()).then_some(oauth);
    Ok(())
}

fn enter_client(
    client: ClientCredentials,
    oauth: &mut OAuthSettings,
    secrets: &mut SecretChange,
) -> Result<(), ConnectorError> {
    let ClientCredentials { id, secret, issuer } = client;
    // RFC 6749, appendix A.1.
    if id.is_empty() || id.len() > MAX_CLIENT_ID || !id.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return invalid("client_id", "this cannot be the identifier of a client".to_owned());
    }
    if (&oauth.client_id, &oauth.issuer) != (&id, &issuer) {
        // What the other client was given is not this one's.
        secrets.delete("tokens");
        *oauth = OAuthSettings {
            client_id: id,
            issuer,
            grant: oauth.grant.take(),
            exceptions: std::mem::take(&mut oauth.exceptions),
            ..OAuthSettings::default()
        };
    }
    oauth.registration = Some(Registration::Manual);
    oauth.has_client_secret = secret.is_some();
    match secret {
        Some(secret) => secrets.put("client_secret", secret),
        None => secrets.delete("client_secret"),
    }
    Ok(())
}

fn invalid<T>(field: &'static str, problem: String) -> Result<T, ConnectorError> {
    Err(InvalidDefinition { field, problem }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_moves_away_with_its_scheme_host_or_port() {
        let cases = [
            ("https://h/mcp", "https://h/mcp", Move::None),
            ("https://h/mcp", "https://h:443/other?q=1", Move::Within),
            ("https://h/mcp", "http://h/mcp", Move::Away),
            ("https://h/mcp", "https://h:8443/mcp", Move::Away),
            ("https://h/mcp", "https://evil.h/mcp", Move::Away),
            ("nonsense", "https://h/mcp", Move::Away),
            ("data:a", "data:b", Move::Away),
        ];
        for (before, after, expected) in cases {
            assert_eq!(Move::between(before, after), expected, "{before} -> {after}");
        }
    }
}
