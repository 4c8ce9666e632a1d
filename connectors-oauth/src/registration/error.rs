//! Why an authorization server does not know this client, and who can do what about it.

use std::borrow::Cow;

use connectors_core::{TransportError, text};
use http::StatusCode;

use crate::metadata::BadMetadata;

/// Longest redirect URI that is shown: it has to be shown whole to be of use.
const MAX_SHOWN: usize = 2 << 10;

/// A redirect URI for the user to copy.
pub(super) fn in_full(redirect_uri: &str) -> String {
    text::display(redirect_uri, MAX_SHOWN)
}

/// Why there is no client to sign in with. Texts of servers in it are shortened and fit for display.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RegistrationError {
    #[error(
        "the authorization server {issuer} registers no clients by itself{}",
        if *.takes_documents { "; it does accept client ID metadata documents, but this program has none" } else { "" }
    )]
    Impossible { issuer: String, takes_documents: bool, redirect_uri: Option<String> },
    #[error("the client that was entered is known to {knows}, but the server now relies on {asked}")]
    OtherServersClient { knows: String, asked: String },
    #[error("the server {issuer} wants credentials, but publishes no way to get them")]
    NotOffered { issuer: String },
    #[error("cannot register this client: {source}")]
    Transport {
        #[source]
        source: TransportError,
    },
    #[error("{issuer} answered a registration with a redirect (status {status})")]
    Redirected { issuer: String, status: StatusCode },
    #[error("{issuer} registers only clients that it knows already (status {status})")]
    Protected { issuer: String, status: StatusCode, redirect_uri: Option<String> },
    #[error("{issuer} does not accept the redirect URI{}", note(.description))]
    RedirectRefused { issuer: String, description: Option<String>, redirect_uri: Option<String> },
    #[error("{issuer} does not register this client ({error}){}", note(.description))]
    Refused { issuer: String, error: String, description: Option<String>, redirect_uri: Option<String> },
    #[error("{issuer} answered a registration with status {status}")]
    Status { issuer: String, status: StatusCode },
    #[error("the answer to a registration cannot be used: {0}")]
    Bad(#[from] BadMetadata),
    #[error("{issuer} registered this client for {method}, but gave it no secret")]
    NoSecret { issuer: String, method: &'static str },
    #[error("{issuer} wants clients to prove themselves in a way that is not possible here ({methods})")]
    NoCommonMethod { issuer: String, methods: String },
}

fn note(description: &Option<String>) -> String {
    description.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

impl RegistrationError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::Impossible { .. } => "registration_impossible",
            Self::OtherServersClient { .. } => "client_of_another_server",
            Self::NotOffered { .. } => "sign_in_not_offered",
            Self::Transport { source: TransportError::Refused(_) } => "registration_forbidden_address",
            Self::Transport { source: TransportError::TimedOut { .. } } => "registration_timeout",
            Self::Transport { .. } => "registration_unreachable",
            Self::Redirected { .. } => "registration_redirected",
            Self::Protected { .. } => "registration_protected",
            Self::RedirectRefused { .. } => "registration_redirect_refused",
            Self::Refused { .. } => "registration_refused",
            Self::Status { .. } => "registration_status",
            Self::Bad(BadMetadata::Missing(_) | BadMetadata::Endpoint { .. }) => "registration_incomplete",
            Self::Bad(_) => "registration_not_json",
            Self::NoSecret { .. } => "registration_without_secret",
            Self::NoCommonMethod { .. } => "client_authentication_unsupported",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::Impossible { .. } => {
                "a registration_endpoint, client ID metadata documents, or a client registered by hand"
            }
            Self::OtherServersClient { .. } => "a client of the authorization server that the server names",
            Self::NotOffered { .. } => "metadata (RFC 9728, RFC 8414), or the endpoints of 2025-03-26",
            Self::NoCommonMethod { .. } => {
                "none, client_secret_basic or client_secret_post among the methods"
            }
            _ => "status 201 with a client_id (RFC 7591)",
        }
    }

    /// What the user can do, with the redirect URI to enter where a client has to be registered by hand.
    pub(crate) fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Impossible { redirect_uri, .. }
            | Self::Protected { redirect_uri, .. }
            | Self::RedirectRefused { redirect_uri, .. }
            | Self::Refused { redirect_uri, .. } => by_hand(redirect_uri.as_deref()),
            Self::OtherServersClient { .. } => {
                "register a client at the new authorization server, if you trust it, and enter that one".into()
            }
            Self::NotOffered { .. } => {
                "ask the server's operator how clients get access; a header with a key may be what is meant"
                    .into()
            }
            Self::Transport { source: TransportError::Refused(_) } => {
                "if this connector belongs to your own network, allow private addresses for it; otherwise do not go on"
                    .into()
            }
            Self::Transport { .. } => {
                "check the network, the proxy and the certificates of this connector, then try again".into()
            }
            Self::Status { status, .. } if status.is_server_error() || status.as_u16() == 429 => {
                "try again later; if it stays so, tell the operator of the authorization server".into()
            }
            Self::Redirected { .. }
            | Self::Status { .. }
            | Self::Bad(_)
            | Self::NoSecret { .. }
            | Self::NoCommonMethod { .. } => {
                "show this to the operator of the authorization server, or register a client by hand and enter it"
                    .into()
            }
        }
    }
}

fn by_hand(redirect_uri: Option<&str>) -> Cow<'static, str> {
    match redirect_uri {
        Some(uri) => format!(
            "register a client at the authorization server by hand, with the redirect URI {uri} exactly so, and enter its id (and secret)"
        )
        .into(),
        None => "register a client for device sign-in at the authorization server by hand, and enter its id".into(),
    }
}
