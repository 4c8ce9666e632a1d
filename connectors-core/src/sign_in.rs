//! The border to signing in: what the manager asks of the OAuth sibling.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::Serialize;

use crate::authorizer::Authorizer;
use crate::definition::{ConnectorDefinition, OAuthException, OAuthSettings};
use crate::error::ConnectorError;
use crate::limits::Limits;
use crate::store::CredentialStore;
use crate::trace::Trace;

/// How long a sign-in that was begun can be completed.
pub const SIGN_IN_LIFETIME: Duration = Duration::from_secs(600);

/// Opens the sign-in of a connector. Composed into the manager by the host.
pub trait SignInProvider: Send + Sync + 'static {
    /// The sign-in of a connector. Costs nothing and reaches nobody. Opened anew for every dial; for a connector that does not
    /// exist yet, its definition has no credentials in the store.
    fn open(&self, target: SignInTarget) -> Arc<dyn SignIn>;
}

/// What a sign-in is for, and what it works with.
#[derive(Clone)]
pub struct SignInTarget {
    /// The connector.
    pub definition: Arc<ConnectorDefinition>,
    /// Where its tokens are.
    pub credentials: Arc<dyn CredentialStore>,
    /// The limits that hold for it.
    pub limits: Arc<Limits>,
    /// Where every step is recorded.
    pub trace: Trace,
}

/// One connector's sign-in. As an [`Authorizer`] it supplies the tokens.
///
/// What an [`Authorizer`] says of a refusal is final where it is an error: [`ConnectorError::SignInRequired`] with the reason,
/// [`ConnectorError::InsufficientScope`] where the user has to grant more, [`ConnectorError::Authorization`] where the
/// servers' set-up is broken.
///
/// *Concurrency.* Everything at once. *Cancellation.* A token request that has begun is finished, and what it brought is
/// stored, though its caller has gone.
#[async_trait]
pub trait SignIn: Authorizer {
    /// Finds the authorization server, registers where necessary, and says where to send the user.
    async fn begin(&self, request: SignInRequest) -> Result<SignInStarted, ConnectorError>;

    /// Exchanges what the redirect brought for tokens. Each state is good once, within [`SIGN_IN_LIFETIME`]. Stores nothing.
    async fn complete(&self, callback: SignInCallback) -> Result<Grant, ConnectorError>;

    /// Takes what is in the store now into use: a [`Grant`] has been written.
    async fn reload(&self);

    /// Revokes the tokens at the authorization server where it offers that (RFC 7009), bounded in time; deletes them from the
    /// store in any case. The registration stays.
    async fn sign_out(&self) -> Result<(), ConnectorError>;
}

/// How the user wants to sign in.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SignInRequest {
    /// Where the authorization server sends the browser back to. Not needed for a device or without a user.
    pub redirect_uri: Option<String>,
    /// True to sign in on another device, with a code (RFC 8628).
    pub device: bool,
    /// Scopes to ask for instead of those that the servers suggest.
    pub scopes: Option<Vec<String>>,
    /// A client that was registered by hand.
    pub client: Option<ClientCredentials>,
}

/// A client that was registered with an authorization server by hand.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// Its identifier.
    pub id: String,
    /// Its secret; none for a public client.
    pub secret: Option<SecretString>,
    /// The authorization server that knows it; any if `None`.
    pub issuer: Option<String>,
}

/// What was begun.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SignInView {
    /// The page to open in a browser. `https`, or `http` on this machine; nothing else. Absent where no user is needed: the
    /// connector is then signed in already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// Names the sign-in.
    pub state: String,
    /// The issuer that the user will deal with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Where the browser is sent back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// The scopes that are asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The code to enter at `authorize_url`, on any device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// When it is too late (Unix seconds).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::view::unix_seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub expires_at: Option<SystemTime>,
}

/// What was begun, and how it ends.
pub struct SignInStarted {
    /// What the user is shown.
    pub view: SignInView,
    /// Where no redirect will come: resolves when the user is done elsewhere, or fails. Dropping it gives up.
    pub outcome: Option<BoxFuture<'static, Result<Grant, ConnectorError>>>,
}

/// What came back with the browser. Parameters of the redirect, unchecked.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SignInCallback {
    /// `state`.
    pub state: String,
    /// `code`: as good as a token until it is used.
    pub code: Option<SecretString>,
    /// `iss` (RFC 9207).
    pub iss: Option<String>,
    /// `error`.
    pub error: Option<String>,
    /// `error_description`.
    pub error_description: Option<String>,
    /// The address that the browser was sent to, without its query, where it is known: has to be the one of this sign-in.
    pub arrived_at: Option<String>,
}

impl SignInCallback {
    /// Reads the address that a browser was sent to, as it came to a callback or was pasted by a user. `None` if it is none, has no
    /// `state`, or a parameter twice (RFC 6749, section 3.1).
    pub fn from_url(url: &str) -> Option<Self> {
        let url = url::Url::parse(url.trim()).ok()?;
        let mut callback = Self::default();
        let mut state = None;
        for (name, value) in url.query_pairs() {
            let value = value.into_owned();
            let taken = match &*name {
                "state" => state.replace(value).is_some(),
                "code" => callback.code.replace(value.into()).is_some(),
                "iss" => callback.iss.replace(value).is_some(),
                "error" => callback.error.replace(value).is_some(),
                "error_description" => callback.error_description.replace(value).is_some(),
                _ => false,
            };
            if taken {
                return None;
            }
        }
        callback.state = state?;
        callback.arrived_at = Some(without_query(&url));
        Some(callback)
    }
}

/// An address without query and fragment: where it leads, whatever is handed over there.
pub fn without_query(url: &url::Url) -> String {
    let mut place = url.clone();
    place.set_query(None);
    place.set_fragment(None);
    place.into()
}

/// What a sign-in brought, to be stored.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The part that is not secret.
    pub settings: OAuthSettings,
    /// The secrets, by the name of their [`CredentialKey`](crate::CredentialKey).
    pub secrets: Vec<(&'static str, SecretString)>,
    /// Names of secrets that are of no use any more.
    pub obsolete: Vec<&'static str>,
}

/// What a user enters about signing in to a connector; `None` keeps.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SignInChoice {
    /// How tokens are obtained, where it is not by a user in a browser.
    pub grant: Option<crate::definition::GrantKind>,
    /// A client that was registered by hand.
    pub client: Option<ClientCredentials>,
    /// Further secrets, by the name of their [`CredentialKey`](crate::CredentialKey): `private_key`, `assertion`, `id_token`.
    pub secrets: Vec<(&'static str, SecretString)>,
    /// Deviations from the rules that the user accepts for this connector, all of them.
    pub exceptions: Option<Vec<OAuthException>>,
}
