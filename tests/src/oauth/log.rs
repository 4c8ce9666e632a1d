//! What an authorization server or a guard has seen and done.

use std::time::Instant;

use axum::http::{HeaderMap, Method};
use serde_json::Value;

use super::fault::Endpoint;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it asked for.
    pub endpoint: Endpoint,
    /// When it came.
    pub at: Instant,
    /// Its HTTP method.
    pub method: Method,
    /// The path and query asked for.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The parameters of its query, or of its form.
    pub parameters: Vec<(String, String)>,
    /// Its JSON body; `null` if it had none.
    pub json: Value,
    /// The status that it was answered with; none before it is, or if the answer was withheld.
    pub status: Option<u16>,
}

impl Asked {
    /// The path asked for.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The value of a parameter; empty if there is none.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// True if it has the parameter, empty or not.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|(key, _)| key == name)
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Tokens that were issued together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The `grant_type`.
    pub grant: String,
    /// The client.
    pub client_id: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token, where a new one was given.
    pub refresh_token: Option<String>,
    /// The scopes.
    pub scope: Vec<String>,
    /// The resource that the access token is good at; every one if `None`.
    pub resource: Option<String>,
    /// The consent that all tokens come from which were refreshed from each other.
    pub family: usize,
    /// The thumbprint of the key that they are bound to (RFC 9449).
    pub bound_to: Option<String>,
}

/// Everything that was seen and done so far.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Every request, in order.
    pub requests: Vec<Asked>,
    /// Tokens, in the order in which they were issued.
    pub issued: Vec<Issued>,
    /// Refreshes that brought tokens.
    pub refreshes: usize,
    /// Uses of refresh tokens that had been rotated away.
    pub reuses: usize,
    /// Families revoked because of that, or because a code was used twice.
    pub families_revoked: usize,
    /// Tokens that were given back, revoked with their families.
    pub revocations: Vec<String>,
    /// The identifiers of clients that have registered themselves.
    pub registered: Vec<String>,
    /// Every secret issued, and every one received that was not issued here (verifiers, assertions).
    pub secrets: Vec<String>,
}

impl Log {
    /// The requests for one endpoint.
    pub fn to(&self, endpoint: Endpoint) -> impl Iterator<Item = &Asked> {
        self.requests.iter().filter(move |asked| endpoint == Endpoint::Any || asked.endpoint == endpoint)
    }
}
