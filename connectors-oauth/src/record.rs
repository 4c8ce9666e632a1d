//! The tokens of a connector as they are stored: everything that a refresh needs, in one atomic value.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connectors_core::{GrantKind, OAuthSettings};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::client_auth::{AuthMethod, SigningAlgorithm};
use crate::token::{TokenType, Tokens};

/// A stored value that is not a record. Says where, and quotes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the stored tokens cannot be read (line {line}, column {column})")]
    Unreadable { line: usize, column: usize },
    #[error("the stored tokens are of a type that is not understood")]
    UnknownType,
    #[error("the tokens cannot be written")]
    Unwritable,
}

/// Tokens, and where they are from.
///
/// Stored as JSON under `connector:<slug>:tokens`, in the format of car-connectors 0.60 with additional fields. Fields that
/// are not known here survive.
#[derive(Clone)]
pub(crate) struct TokenRecord {
    pub(crate) access_token: SecretString,
    pub(crate) token_type: TokenType,
    pub(crate) refresh_token: Option<SecretString>,
    /// Unix seconds.
    pub(crate) expires_at: Option<u64>,
    /// Unix seconds. Unknown in what car-connectors wrote.
    pub(crate) obtained_at: Option<u64>,
    pub(crate) provenance: Provenance,
    unknown: Map<String, Value>,
}

/// Whom tokens were given to, by whom, and what for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) issuer: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    pub(crate) revocation_endpoint: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) auth_method: Option<AuthMethod>,
    /// The `resource` that was sent.
    pub(crate) resource: Option<String>,
    /// What was granted; what was asked for where the server did not say.
    pub(crate) scope: Vec<String>,
    /// What was asked for.
    pub(crate) asked: Vec<String>,
    /// The origin that the tokens may be shown to.
    pub(crate) resource_server: Option<String>,
    /// How they were obtained, where it was not by a user.
    pub(crate) grant: Option<GrantKind>,
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRecord")
            .field("token_type", &self.token_type)
            .field("has_refresh_token", &self.refresh_token.is_some())
            .field("expires_at", &self.expires_at)
            .field("obtained_at", &self.obtained_at)
            .field("provenance", &self.provenance)
            .finish_non_exhaustive()
    }
}

impl TokenRecord {
    /// What a sign-in brought. `now` is when it was asked for, in Unix seconds; `provenance.scope` what was asked for.
    pub(crate) fn new(tokens: Tokens, now: u64, mut provenance: Provenance) -> Self {
        if let Some(scope) = tokens.scope {
            provenance.scope = scope;
        }
        Self {
            expires_at: expires_at(&tokens.access_token, tokens.expires_in, now),
            access_token: tokens.access_token,
            token_type: tokens.token_type,
            refresh_token: tokens.refresh_token,
            obtained_at: Some(now),
            provenance,
            unknown: Map::new(),
        }
    }

    /// What a refresh at `now` makes of it: whatever the answer does not mention stays (RFC 6749, section 6).
    pub(crate) fn renewed(&self, tokens: Tokens, now: u64) -> Self {
        let mut renewed = Self::new(tokens, now, self.provenance.clone());
        renewed.refresh_token = renewed.refresh_token.or_else(|| self.refresh_token.clone());
        renewed.unknown.clone_from(&self.unknown);
        renewed
    }

    /// Reads a stored value.
    pub(crate) fn parse(stored: &SecretString) -> Result<Self, RecordError> {
        let read: Read = serde_json::from_str(stored.expose_secret())
            .map_err(|error| RecordError::Unreadable { line: error.line(), column: error.column() })?;
        let algorithm = read.signing_algorithm.as_deref().and_then(SigningAlgorithm::parse);
        let auth_method = match read.auth_method.as_deref().and_then(AuthMethod::parse) {
            Some(AuthMethod::PrivateKeyJwt { .. }) => Some(AuthMethod::PrivateKeyJwt { algorithm }),
            method => method,
        };
        Ok(Self {
            access_token: read.access_token.into(),
            token_type: match &read.token_type {
                None => TokenType::Bearer,
                Some(name) => TokenType::parse(name).ok_or(RecordError::UnknownType)?,
            },
            refresh_token: read.refresh_token.filter(|token| !token.is_empty()).map(SecretString::from),
            expires_at: read.expires_at,
            obtained_at: read.obtained_at,
            provenance: Provenance {
                issuer: read.issuer,
                token_endpoint: read.token_endpoint,
                revocation_endpoint: read.revocation_endpoint,
                client_id: read.client_id,
                auth_method,
                resource: read.resource,
                scope: read.scope,
                asked: read.asked,
                resource_server: read.resource_server,
                grant: read.grant,
            },
            unknown: read.unknown,
        })
    }

    /// What to store.
    pub(crate) fn to_secret(&self) -> Result<SecretString, RecordError> {
        let Provenance { auth_method, .. } = self.provenance;
        let written = Written {
            access_token: self.access_token.expose_secret(),
            token_type: self.token_type.as_str(),
            refresh_token: self.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            expires_at: self.expires_at,
            obtained_at: self.obtained_at,
            issuer: self.provenance.issuer.as_deref(),
            token_endpoint: self.provenance.token_endpoint.as_deref(),
            revocation_endpoint: self.provenance.revocation_endpoint.as_deref(),
            client_id: self.provenance.client_id.as_deref(),
            auth_method: auth_method.map(AuthMethod::as_str),
            signing_algorithm: match auth_method {
                Some(AuthMethod::PrivateKeyJwt { algorithm }) => algorithm.map(SigningAlgorithm::as_str),
                _ => None,
            },
            resource: self.provenance.resource.as_deref(),
            scope: &self.provenance.scope,
            asked: &self.provenance.asked,
            resource_server: self.provenance.resource_server.as_deref(),
            grant: self.provenance.grant.as_ref(),
            unknown: &self.unknown,
        };
        let written = serde_json::to_string(&written).map_err(|_| RecordError::Unwritable)?;
        Ok(written.into())
    }

    /// Adds what car-connectors kept in the manifest only.
    ///
    /// Only to a record that names no token endpoint: what belongs together is taken from one place, and a refresh token never
    /// goes to an address out of the manifest when the record has one of its own.
    pub(crate) fn complete(&mut self, settings: &OAuthSettings) {
        let provenance = &mut self.provenance;
        if provenance.token_endpoint.is_some() || settings.token_endpoint.is_empty() {
            return;
        }
        let method = settings.token_endpoint_auth_method.as_deref().and_then(AuthMethod::parse);
        // car-connectors put the secret into the form.
        let usual = if settings.has_client_secret { AuthMethod::Post } else { AuthMethod::None };
        provenance.token_endpoint = Some(settings.token_endpoint.clone());
        provenance.client_id = Some(settings.client_id.clone());
        provenance.auth_method = method.or(Some(usual));
        provenance.issuer.clone_from(&settings.issuer);
        provenance.resource.clone_from(&settings.resource);
        provenance.scope.clone_from(&settings.scopes);
        provenance.asked.clone_from(&settings.scopes);
        provenance.grant.clone_from(&settings.grant);
    }

    /// Seconds that the access token was given for.
    pub(crate) fn lifetime(&self) -> Option<u64> {
        Some(self.expires_at?.saturating_sub(self.obtained_at?))
    }
}

/// When an access token expires. Where the server does not say, but the token is a JWT that does, that is taken as a hint: it
/// decides only when to renew.
fn expires_at(token: &SecretString, expires_in: Option<u64>, now: u64) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
        iat: Option<u64>,
    }
    let hint = || {
        let payload = token.expose_secret().split('.').nth(1)?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        // By the server's clock, which need not agree with this one.
        let lifetime = claims.exp.checked_sub(claims.iat.unwrap_or(now))?;
        (lifetime > 0).then_some(lifetime)
    };
    expires_in.or_else(hint).map(|lifetime| now.saturating_add(lifetime))
}

#[derive(Deserialize)]
struct Read {
    access_token: String,
    token_type: Option<String>,
    refresh_token: Option<String>,
    #[serde(default, deserialize_with = "unix_seconds")]
    expires_at: Option<u64>,
    #[serde(default, deserialize_with = "unix_seconds")]
    obtained_at: Option<u64>,
    issuer: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    client_id: Option<String>,
    auth_method: Option<String>,
    signing_algorithm: Option<String>,
    resource: Option<String>,
    #[serde(default, deserialize_with = "scopes")]
    scope: Vec<String>,
    #[serde(default, deserialize_with = "scopes")]
    asked: Vec<String>,
    resource_server: Option<String>,
    #[serde(default, deserialize_with = "grant")]
    grant: Option<GrantKind>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize)]
struct Written<'a> {
    access_token: &'a str,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obtained_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scope: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    asked: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a GrantKind>,
    #[serde(flatten)]
    unknown: &'a Map<String, Value>,
}

/// A number of any kind, or nothing.
fn unix_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    // The cast saturates.
    Ok(number.and_then(|number| number.as_u64().or_else(|| number.as_f64().map(|seconds| seconds as u64))))
}

/// A way to obtain tokens; one that a newer version has written keeps its spelling.
fn grant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<GrantKind>, D::Error> {
    let written = Option::<Value>::deserialize(deserializer)?;
    Ok(written.map(|written| GrantKind::deserialize(&written).unwrap_or(GrantKind::Unknown(written))))
}

/// A list, or words in one string.
fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scopes {
        List(Vec<String>),
        Words(String),
    }
    Ok(match Option::<Scopes>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Scopes::List(list)) => list,
        Some(Scopes::Words(words)) => words.split_whitespace().map(ToOwned::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests;
