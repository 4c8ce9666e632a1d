//! The border to credentials: what a request carries, and what a refusal means.

mod combined;

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

pub(crate) use self::combined::Combined;
use crate::error::ConnectorError;

/// Supplies the credentials of one connector's requests.
///
/// Implemented by [`StaticHeaders`] and by the OAuth sibling; called by transports that have headers, for every request.
///
/// *Concurrency.* Called from any number of requests at once. *Cancellation.* Work that must not be lost (a token
/// refresh) goes on when the future is dropped. *Errors.* [`ConnectorError::SignInRequired`] where only the user can help.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The headers to add to a request. Called once per request, retries included.
    async fn headers(&self, request: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError>;

    /// What to do about a 401 or 403. A transport obeys, and asks once per request, or again after
    /// [`ChallengeResponse::Outdated`]. `sent` are the headers that [`headers`](Self::headers) gave for the refused request.
    async fn challenged(
        &self,
        challenge: &Challenge,
        sent: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError>;

    /// Told of a `DPoP-Nonce` that an answer other than a challenge carried (RFC 9449, section 8.2).
    fn nonce(&self, _url: &str, _nonce: &str) {}
}

/// A header whose value is a secret.
#[derive(Debug, Clone)]
pub struct SecretHeader {
    /// The header's name.
    pub name: String,
    /// Its value.
    pub value: SecretString,
}

/// The request that credentials are wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget {
    /// HTTP method, in capitals.
    pub method: &'static str,
    /// The URL, as it is requested.
    pub url: Arc<Url>,
}

/// A server's refusal of a request's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Challenge {
    /// 401 or 403.
    pub status: u16,
    /// The URL that was refused.
    pub url: String,
    /// The `WWW-Authenticate` fields, unparsed, in order.
    pub www_authenticate: Vec<String>,
    /// The `DPoP-Nonce` field.
    pub dpop_nonce: Option<String>,
}

impl Challenge {
    /// A challenge with no fields.
    pub fn new(status: u16, url: impl Into<String>) -> Self {
        Self { status, url: url.into(), www_authenticate: Vec::new(), dpop_nonce: None }
    }
}

/// What a transport does after a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeResponse {
    /// Send the request once more: the credentials have changed.
    Retry,
    /// Send the request once more, and ask again if that is refused too: others have changed the credentials since, and whether
    /// these are any good is not known yet. Transports bound how often they ask.
    Outdated,
    /// Give up: the user has to sign in.
    SignIn,
    /// Give up: signed in, but not allowed to do this.
    Forbidden,
}

/// Fixed headers from the credential store, as for an API key. Cannot do anything about a challenge.
#[derive(Debug, Default)]
pub struct StaticHeaders {
    headers: Vec<SecretHeader>,
}

impl StaticHeaders {
    /// Sends these headers with every request.
    pub fn new(headers: Vec<SecretHeader>) -> Self {
        Self { headers }
    }
}

#[async_trait]
impl Authorizer for StaticHeaders {
    async fn headers(&self, _: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        Ok(self.headers.clone())
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        _: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        Ok(if challenge.status == 403 { ChallengeResponse::Forbidden } else { ChallengeResponse::SignIn })
    }
}
