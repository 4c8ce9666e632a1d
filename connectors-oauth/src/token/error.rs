//! Why there are no tokens.

use std::sync::Arc;
use std::time::Duration;

use connectors_core::TransportError;

use crate::client_auth::ClientAuthError;
use crate::dpop::DpopError;
use crate::endpoint::BadEndpoint;

/// What a token request runs into. Quotes of the server's words are cleaned, shortened, and without secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TokenError {
    /// No answer.
    #[error("the authorization server was not reached: {0}")]
    Transport(#[source] Arc<TransportError>),
    /// An error of OAuth (RFC 6749, section 5.2).
    #[error("the authorization server refuses with {error}{}", note(.description))]
    Refused { error: String, description: Option<String>, status: u16, retry_after: Option<Duration> },
    /// A status, and nothing in the words of OAuth.
    #[error("the authorization server answered with HTTP status {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    /// An answer that carries no usable token.
    #[error("the authorization server's answer cannot be used: {problem}")]
    Malformed { problem: &'static str },
    /// A token of a kind that is not understood, which must not be used (RFC 6749, section 7.1).
    #[error("the authorization server gives tokens of the type {token_type}, which are not understood")]
    UnknownType { token_type: String },
    /// An address that must not be used.
    #[error("the address is not used: {0}")]
    BadAddress(BadEndpoint),
    /// The company's identity provider, where there is one.
    #[error("at your company's identity provider: {0}")]
    IdentityProvider(#[source] Box<TokenError>),
    /// This client cannot make the request.
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    /// The key that tokens are bound to cannot be used.
    #[error(transparent)]
    Dpop(#[from] DpopError),
    /// A secret that the user has to enter is missing.
    #[error("there is no {what} in the credential store")]
    NothingToOffer { what: &'static str },
}

fn note(description: &Option<String>) -> String {
    description.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

impl From<TransportError> for TokenError {
    fn from(error: TransportError) -> Self {
        Self::Transport(Arc::new(error))
    }
}

impl TokenError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::Transport(error) => match **error {
                TransportError::TimedOut { .. } => "token_endpoint_slow",
                TransportError::Refused(_) => "token_endpoint_forbidden",
                TransportError::LimitExceeded { .. } => "token_answer_too_large",
                _ => "token_endpoint_unreachable",
            },
            Self::Refused { error, .. } => match error.as_str() {
                "invalid_grant" => "invalid_grant",
                "invalid_client" => "invalid_client",
                "unauthorized_client" => "unauthorized_client",
                "unsupported_grant_type" => "grant_unsupported",
                "invalid_scope" => "invalid_scope",
                "invalid_target" => "resource_refused",
                "invalid_request" => "token_request_refused",
                "invalid_dpop_proof" | "use_dpop_nonce" => "dpop_proof_refused",
                "access_denied" => "access_denied",
                "temporarily_unavailable" | "server_error" | "slow_down" => "token_endpoint_unavailable",
                _ => "token_refused",
            },
            Self::Status { status: 429, .. } => "token_endpoint_busy",
            Self::Status { status: 500.., .. } => "token_endpoint_failed",
            Self::Status { .. } => "token_endpoint_status",
            Self::Malformed { .. } => "token_answer_malformed",
            Self::UnknownType { .. } => "token_type_unknown",
            Self::BadAddress(_) => "token_endpoint_invalid",
            Self::IdentityProvider(error) if matches!(**error, Self::BadAddress(_)) => {
                "identity_provider_address_invalid"
            }
            Self::IdentityProvider(error) if error.is_transient() => "identity_provider_unavailable",
            Self::IdentityProvider(_) => "identity_provider_refused",
            Self::Client(ClientAuthError::NoSecret) => "client_secret_missing",
            Self::Client(ClientAuthError::NoPrivateKey) => "private_key_missing",
            Self::Client(ClientAuthError::UnusableKey { .. }) => "private_key_unusable",
            Self::Dpop(_) => "dpop_key_unusable",
            Self::NothingToOffer { .. } => "assertion_missing",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::BadAddress(_) => "an https address",
            Self::IdentityProvider(_) => "an identity assertion (RFC 8693)",
            Self::Client(_) => "a client that can prove who it is",
            Self::Dpop(_) => "the key that the tokens are bound to (RFC 9449)",
            Self::NothingToOffer { .. } => "something to exchange for tokens",
            _ => "tokens (RFC 6749, section 5.1)",
        }
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Transport(error) => match **error {
                TransportError::Refused(_) => {
                    "if the authorization server is on your own network, allow private addresses for this connector"
                }
                TransportError::LimitExceeded { .. } => "show this to the server's operator",
                _ => "check the network, the proxy and the certificates; it is tried again by itself",
            },
            Self::Refused { .. } if self.is_transient() => "wait; it is tried again by itself",
            Self::Refused { error, .. } => match error.as_str() {
                "invalid_client" | "unauthorized_client" => {
                    "sign in again; a client that was registered by hand may have to be entered again"
                }
                "invalid_scope" => "sign in again with other scopes",
                "invalid_target" => {
                    "accept the exception `resource_omitted` for this connector, then sign in again"
                }
                "invalid_dpop_proof" | "use_dpop_nonce" => {
                    "check the clock of this machine, then sign in again"
                }
                _ => "sign in again",
            },
            Self::Status { .. } if self.is_transient() => "wait; it is tried again by itself",
            Self::Status { .. } | Self::Dpop(_) | Self::BadAddress(_) => "sign in again",
            Self::Malformed { .. } | Self::UnknownType { .. } => "show this to the server's operator",
            Self::IdentityProvider(error) if error.is_transient() => {
                "check the address of the identity provider and the network; it is tried again by itself"
            }
            Self::IdentityProvider(error) if matches!(**error, Self::BadAddress(_)) => {
                "enter the address of the identity provider's token endpoint again"
            }
            Self::IdentityProvider(_) => "sign in at your company again, and enter the new ID token",
            Self::Client(ClientAuthError::NoSecret) => "enter the client's secret again",
            Self::Client(_) => {
                "enter the private key again: PKCS#8 in PEM, of the kind that the algorithm needs"
            }
            Self::NothingToOffer { .. } => "enter it again",
        }
    }

    /// True where the same request may succeed later: nothing is wrong with the grant.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Malformed { .. } => true,
            Self::Refused { error, status, .. } => {
                *status >= 500
                    || *status == 429
                    || matches!(error.as_str(), "temporarily_unavailable" | "server_error" | "slow_down")
            }
            // 400 and 401 are what a token endpoint refuses a grant or a client with. Anything else is something in between:
            // a gateway, a page that has moved.
            Self::Status { status, .. } => !matches!(status, 400 | 401),
            Self::IdentityProvider(error) => error.is_transient(),
            Self::BadAddress(_)
            | Self::UnknownType { .. }
            | Self::Client(_)
            | Self::Dpop(_)
            | Self::NothingToOffer { .. } => false,
        }
    }

    /// The server's error, where it named one.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// How long the server wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            Self::IdentityProvider(error) => error.retry_after(),
            _ => None,
        }
    }
}
