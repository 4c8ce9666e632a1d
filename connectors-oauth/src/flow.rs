//! One authorization by a user in a browser: what is sent along, and what has to come back.

use std::time::Duration;

use connectors_core::sign_in::{SIGN_IN_LIFETIME, SignInCallback, without_query};
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use crate::endpoint;
use crate::quoted::quoted;
use crate::registration::Client;

/// Bytes of randomness in a `state`: 256 bits.
const STATE_BYTES: u32 = 32;

/// What a sign-in in a browser runs into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FlowError {
    #[error("there is no address that the browser could be sent back to")]
    NoRedirectUri,
    #[error("{uri} cannot be a redirect URI: {problem}")]
    BadRedirectUri { uri: String, problem: String },
    #[error("{issuer} offers no sign-in on another device")]
    NoDeviceEndpoint { issuer: String },
    #[error("this sign-in was begun more than {} minutes ago", SIGN_IN_LIFETIME.as_secs() / 60)]
    Expired,
    #[error("this is not the answer to a sign-in of this connector, or it was used already")]
    UnknownState,
    #[error("the browser was sent to {arrived_at}, which is not where this sign-in was to end")]
    OtherRedirect { arrived_at: String },
    #[error("the answer does not say which authorization server it is from, though {expected} promises to")]
    NoIssuer { expected: String },
    #[error("the answer is from {found}, not from {expected}")]
    OtherIssuer { expected: String, found: String },
    #[error("the sign-in was declined{}", note(.description))]
    Denied { description: Option<String> },
    #[error("the authorization server does not grant what was asked for{}", note(.description))]
    InvalidScope { description: Option<String> },
    #[error("the authorization server refuses the address of the server as `resource`{}", note(.description))]
    InvalidTarget { description: Option<String> },
    #[error("the authorization server answered with the error {error}{}", note(.description))]
    Refused { error: String, description: Option<String> },
    #[error("the answer carries neither a code nor an error")]
    NoCode,
}

fn note(description: &Option<String>) -> String {
    description.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

impl FlowError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::NoRedirectUri => "redirect_uri_missing",
            Self::BadRedirectUri { .. } => "redirect_uri_invalid",
            Self::NoDeviceEndpoint { .. } => "device_endpoint_missing",
            Self::Expired => "sign_in_expired",
            Self::UnknownState => "state_unknown",
            Self::OtherRedirect { .. } => "redirect_mismatch",
            Self::NoIssuer { .. } => "iss_missing",
            Self::OtherIssuer { .. } => "iss_mismatch",
            Self::Denied { .. } => "access_denied",
            Self::InvalidScope { .. } => "invalid_scope",
            Self::InvalidTarget { .. } => "resource_refused",
            Self::Refused { .. } => "authorization_refused",
            Self::NoCode => "code_missing",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::NoRedirectUri | Self::BadRedirectUri { .. } => {
                "an absolute URI: https, http on this machine, or a private scheme"
            }
            Self::NoDeviceEndpoint { .. } => "a device_authorization_endpoint in the server's metadata",
            Self::Expired => "an answer in time",
            Self::UnknownState => "the state that was sent, once",
            Self::OtherRedirect { .. } => "the redirect URI that was sent",
            Self::NoIssuer { .. } | Self::OtherIssuer { .. } => {
                "an iss equal to the issuer of the metadata (RFC 9207)"
            }
            Self::Denied { .. } | Self::Refused { .. } | Self::NoCode => "a code",
            Self::InvalidScope { .. } => "scopes that the server knows",
            Self::InvalidTarget { .. } => "the resource to be accepted (RFC 8707)",
        }
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::NoRedirectUri | Self::BadRedirectUri { .. } => {
                "begin again with the address of this program's own callback"
            }
            Self::NoDeviceEndpoint { .. } => "sign in with a browser, or paste the address that it ends at",
            Self::Expired | Self::UnknownState | Self::NoCode => "begin the sign-in again",
            Self::OtherRedirect { .. } | Self::NoIssuer { .. } | Self::OtherIssuer { .. } => {
                "begin again; if it happens twice, do not go on: the answer may not come from whom it seems to"
            }
            Self::Denied { .. } => "begin again and agree",
            Self::InvalidScope { .. } => "begin again with other scopes",
            Self::InvalidTarget { .. } => {
                "accept the exception `resource_omitted` for this connector, then begin again"
            }
            Self::Refused { .. } => "begin again; if it stays so, show this text to the server's operator",
        }
    }
}

/// What is asked of the user.
pub(crate) struct Ask<'a> {
    pub(crate) endpoint: &'a Url,
    pub(crate) client: &'a Client,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) resource: Option<&'a str>,
    /// The thumbprint of the key that the code is to be bound to (RFC 9449, section 10).
    pub(crate) dpop_jkt: Option<&'a str>,
}

/// What binds an answer to its question.
pub(crate) struct Bond {
    pub(crate) state: String,
    pub(crate) verifier: SecretString,
    redirect_uri: String,
    /// The redirect URI without its query.
    ends_at: String,
    issuer: String,
    /// The server says that it names itself in every answer.
    names_itself: bool,
    begun: Instant,
}

impl Bond {
    /// The page to send the user to, with a fresh state and verifier (2026-07-28, authorization, authorization flow).
    pub(crate) fn new(ask: &Ask<'_>, issuer: &str, names_itself: bool) -> Result<(Self, Url), FlowError> {
        let bad = |problem: String| FlowError::BadRedirectUri { uri: quoted(ask.redirect_uri), problem };
        // Kept as it was given: it is compared byte for byte at the other end.
        let redirect =
            RedirectUrl::new(ask.redirect_uri.to_owned()).map_err(|error| bad(error.to_string()))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = BasicClient::new(ClientId::new(ask.client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(ask.endpoint.clone()))
            .set_redirect_uri(redirect.clone());
        let mut request = client
            .authorize_url(|| CsrfToken::new(state()))
            .set_pkce_challenge(challenge)
            .add_scopes(ask.scopes.iter().cloned().map(Scope::new));
        if let Some(resource) = ask.resource {
            request = request.add_extra_param("resource", resource);
        }
        if let Some(jkt) = ask.dpop_jkt {
            request = request.add_extra_param("dpop_jkt", jkt);
        }
        if ask.scopes.iter().any(|scope| scope == "offline_access") {
            // OpenID Connect Core, section 11: without it the scope may be ignored.
            request = request.add_extra_param("prompt", "consent");
        }
        let (url, state) = request.url();
        let bond = Self {
            state: state.into_secret(),
            verifier: verifier.into_secret().into(),
            ends_at: without_query(redirect.url()),
            redirect_uri: ask.redirect_uri.to_owned(),
            issuer: issuer.to_owned(),
            names_itself,
            begun: Instant::now(),
        };
        Ok((bond, url))
    }

    pub(crate) fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.begun.elapsed() > SIGN_IN_LIFETIME
    }

    /// How long it is good for.
    pub(crate) fn left(&self) -> Duration {
        SIGN_IN_LIFETIME.saturating_sub(self.begun.elapsed())
    }

    /// The code of an answer that is the one to this question. An answer of another server's is not looked into.
    pub(crate) fn code(&self, callback: SignInCallback) -> Result<SecretString, FlowError> {
        if self.is_expired() {
            return Err(FlowError::Expired);
        }
        if callback.state != self.state {
            return Err(FlowError::UnknownState);
        }
        if let Some(arrived_at) = callback.arrived_at.filter(|at| *at != self.ends_at) {
            return Err(FlowError::OtherRedirect { arrived_at: quoted(&arrived_at) });
        }
        match &callback.iss {
            Some(iss) if *iss != self.issuer => {
                return Err(FlowError::OtherIssuer { expected: quoted(&self.issuer), found: quoted(iss) });
            }
            None if self.names_itself => {
                return Err(FlowError::NoIssuer { expected: quoted(&self.issuer) });
            }
            _ => {}
        }
        if let Some(error) = callback.error {
            let description =
                callback.error_description.as_deref().map(quoted).filter(|text| !text.is_empty());
            return Err(match error.as_str() {
                "access_denied" | "consent_required" | "login_required" | "interaction_required" => {
                    FlowError::Denied { description }
                }
                "invalid_scope" => FlowError::InvalidScope { description },
                "invalid_target" => FlowError::InvalidTarget { description },
                _ => FlowError::Refused { error: quoted(&error), description },
            });
        }
        callback.code.filter(|code| !code.expose_secret().is_empty()).ok_or(FlowError::NoCode)
    }
}

/// Checks where a browser is to be sent back to.
///
/// A private scheme (RFC 8252, section 7.1) has to look like one: browsers run some schemes themselves.
pub(crate) fn check_redirect_uri(uri: &str) -> Result<(), FlowError> {
    let bad =
        |problem: &str| Err(FlowError::BadRedirectUri { uri: quoted(uri), problem: problem.to_owned() });
    let Ok(url) = Url::parse(uri) else { return bad("it is not an absolute URI") };
    if url.fragment().is_some() {
        return bad("it has a fragment");
    }
    match url.scheme() {
        "https" | "http" => match endpoint::checked(uri) {
            Ok(_) => Ok(()),
            Err(problem) => bad(&problem.to_string()),
        },
        "javascript" | "data" | "vbscript" | "file" | "blob" | "about" | "filesystem" | "ws" | "wss"
        | "ftp" => bad("its scheme is not one that an application can claim"),
        _ => Ok(()),
    }
}

/// A name for a sign-in: 256 bits that nobody can guess.
pub(crate) fn state() -> String {
    CsrfToken::new_random_len(STATE_BYTES).into_secret()
}

#[cfg(test)]
mod tests;
