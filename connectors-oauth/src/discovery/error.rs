//! What is wrong with a set-up, and who can do what about it.

use std::time::Duration;

use connectors_core::trace::Step;

use super::document::{Document, Problem};
use crate::endpoint::BadEndpoint;
use crate::metadata::BadMetadata;

/// Why no authorization server could be used. Texts of servers in it are shortened and fit for display; addresses are without
/// their query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DiscoveryError {
    #[error("the server announces its metadata at {url}, which cannot be used: {problem}")]
    ChallengeUrl { url: String, problem: BadEndpoint },
    #[error("cannot read {} at {url}: {problem}", .document.name())]
    Document {
        document: Document,
        url: String,
        #[source]
        problem: Box<Problem>,
    },
    #[error("the server announces its metadata at {url}, but has none there")]
    NothingAsAnnounced { url: String },
    #[error("the metadata is of {resource}, which {server} is no part of")]
    OtherResource { server: String, resource: String },
    #[error("finding the authorization server of {server} took longer than {limit:?}")]
    TooSlow { server: String, limit: Duration },
    #[error("the metadata of {resource} names no authorization server")]
    NoServerNamed { resource: String },
    #[error("the authorization server {issuer} cannot be used: {problem}")]
    IssuerUrl { issuer: String, problem: BadEndpoint },
    #[error("the authorization server {issuer} publishes no metadata")]
    NoServerMetadata { issuer: String },
    #[error("the metadata of {expected} is in the name of {found}")]
    OtherIssuer { expected: String, found: String },
    #[error("the metadata of {expected} is in the name of {found}: they differ by the slash at the end")]
    IssuerSlash { expected: String, found: String },
    #[error("the authorization server {issuer} has no authorization endpoint: it signs nobody in by browser")]
    NoAuthorizationEndpoint { issuer: String },
    #[error("the authorization server {issuer} does not say that it supports PKCE")]
    PkceNotAdvertised { issuer: String },
    #[error("the authorization server {issuer} supports PKCE with {methods}, not with S256")]
    PkceUnsupported { issuer: String, methods: String },
    #[error("the authorization server {issuer} takes pushed authorization requests only")]
    PushedRequestsOnly { issuer: String },
}

impl DiscoveryError {
    /// The step that failed.
    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Document { document, .. } => document.step(),
            Self::ChallengeUrl { .. }
            | Self::NothingAsAnnounced { .. }
            | Self::OtherResource { .. }
            | Self::NoServerNamed { .. } => Step::ResourceMetadata,
            _ => Step::AuthorizationServer,
        }
    }

    /// True for a failure that may be over at the next attempt.
    pub(crate) fn is_transient(&self) -> bool {
        let Self::Document { problem, .. } = self else { return false };
        match &**problem {
            Problem::Unreachable(_) | Problem::TooSlow(_) => true,
            Problem::Status(status) => status.is_server_error() || status.as_u16() == 429,
            _ => false,
        }
    }

    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::ChallengeUrl { .. } => "resource_metadata_url_invalid",
            Self::Document { document, problem, .. } => match document {
                Document::Resource => resource_detail(problem),
                Document::Server => server_detail(problem),
            },
            Self::NothingAsAnnounced { .. } => "resource_metadata_missing",
            Self::OtherResource { .. } => "resource_mismatch",
            Self::TooSlow { .. } => "discovery_timeout",
            Self::NoServerNamed { .. } => "authorization_server_unnamed",
            Self::IssuerUrl { .. } => "issuer_invalid",
            Self::NoServerMetadata { .. } => "server_metadata_missing",
            Self::OtherIssuer { .. } => "issuer_mismatch",
            Self::IssuerSlash { .. } => "issuer_slash",
            Self::NoAuthorizationEndpoint { .. } => "authorization_endpoint_missing",
            Self::PkceNotAdvertised { .. } => "pkce_not_advertised",
            Self::PkceUnsupported { .. } => "pkce_unsupported",
            Self::PushedRequestsOnly { .. } => "pushed_requests_only",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::ChallengeUrl { .. } | Self::IssuerUrl { .. } => {
                "an https address without user name and fragment, or http on this machine"
            }
            Self::Document { document, .. } => document.name(),
            Self::NothingAsAnnounced { .. } => Document::Resource.name(),
            Self::OtherResource { .. } => "a resource that the server's address begins with (RFC 9728)",
            Self::TooSlow { .. } => "prompt answers",
            Self::NoServerNamed { .. } => "at least one issuer in authorization_servers",
            Self::NoServerMetadata { .. } => Document::Server.name(),
            Self::OtherIssuer { .. } | Self::IssuerSlash { .. } => {
                "an issuer that is byte for byte the one asked for (RFC 8414)"
            }
            Self::NoAuthorizationEndpoint { .. } => "an authorization_endpoint in the server's metadata",
            Self::PkceNotAdvertised { .. } | Self::PkceUnsupported { .. } => {
                "S256 among code_challenge_methods_supported"
            }
            Self::PushedRequestsOnly { .. } => "authorization requests by browser",
        }
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::ChallengeUrl { problem: BadEndpoint::Unencrypted, .. } => {
                "tell the server's operator: behind a proxy, the server has to be told its https address"
            }
            Self::Document { problem, .. } => problem_remedy(problem),
            Self::TooSlow { .. } => "try again later; if it stays so, tell the server's operator",
            Self::OtherResource { .. } => {
                "check the address of the connector: it has to be the one that the server itself publishes"
            }
            Self::NoServerMetadata { .. } | Self::NoAuthorizationEndpoint { .. } => {
                "ask the server's operator how clients sign in; a header with a key may be what is meant"
            }
            Self::OtherIssuer { .. } => {
                "do not go on: the metadata may be forged. The server's operator can correct the issuer"
            }
            Self::IssuerSlash { .. } => {
                "accept the exception `issuer_slash` for this connector if you trust both addresses"
            }
            Self::PkceNotAdvertised { .. } => {
                "accept the exception `pkce_not_advertised` for this connector if you know that the server supports it"
            }
            Self::PkceUnsupported { .. } => {
                "ask the server's operator for S256: without it, sign-ins could be stolen"
            }
            Self::PushedRequestsOnly { .. } => {
                "ask the server's operator to admit this client without pushed requests, or use a header with a key"
            }
            Self::ChallengeUrl { .. }
            | Self::NothingAsAnnounced { .. }
            | Self::NoServerNamed { .. }
            | Self::IssuerUrl { .. } => "show this to the server's operator: its set-up is broken",
        }
    }
}

fn resource_detail(problem: &Problem) -> &'static str {
    match problem {
        Problem::Absent(_) => "resource_metadata_missing",
        Problem::Protected(_) => "resource_metadata_protected",
        Problem::WebPage => "resource_metadata_web_page",
        Problem::Status(_) => "resource_metadata_status",
        Problem::Redirected { .. } => "resource_metadata_redirected",
        Problem::Forbidden(_) => "resource_metadata_forbidden_address",
        Problem::TooSlow(_) => "resource_metadata_timeout",
        Problem::TooLarge(_) => "resource_metadata_too_large",
        Problem::Unreachable(_) => "resource_metadata_unreachable",
        Problem::Bad(BadMetadata::NotJson(_) | BadMetadata::NotAnObject) => "resource_metadata_not_json",
        Problem::Bad(BadMetadata::Missing(_) | BadMetadata::Endpoint { .. }) => {
            "resource_metadata_incomplete"
        }
    }
}

fn server_detail(problem: &Problem) -> &'static str {
    match problem {
        Problem::Absent(_) => "server_metadata_missing",
        Problem::Protected(_) => "server_metadata_protected",
        Problem::WebPage => "server_metadata_web_page",
        Problem::Status(_) => "server_metadata_status",
        Problem::Redirected { .. } => "server_metadata_redirected",
        Problem::Forbidden(_) => "server_metadata_forbidden_address",
        Problem::TooSlow(_) => "server_metadata_timeout",
        Problem::TooLarge(_) => "server_metadata_too_large",
        Problem::Unreachable(_) => "server_metadata_unreachable",
        Problem::Bad(BadMetadata::NotJson(_) | BadMetadata::NotAnObject) => "server_metadata_not_json",
        Problem::Bad(BadMetadata::Missing(_)) => "server_metadata_incomplete",
        Problem::Bad(BadMetadata::Endpoint { .. }) => "endpoint_invalid",
    }
}

fn problem_remedy(problem: &Problem) -> &'static str {
    match problem {
        Problem::Status(status) if status.is_server_error() || status.as_u16() == 429 => {
            "try again later; if it stays so, tell the server's operator"
        }
        Problem::TooSlow(_) => "try again later; if it stays so, tell the server's operator",
        Problem::Forbidden(_) => {
            "if this connector belongs to your own network, allow private addresses for it; otherwise do not go on"
        }
        Problem::Unreachable(_) => {
            "check the network, the proxy and the certificates of this connector, then try again"
        }
        Problem::Protected(_) => {
            "tell the server's operator: metadata has to be readable without credentials. Or use a header with a key"
        }
        Problem::Absent(_)
        | Problem::WebPage
        | Problem::Status(_)
        | Problem::Redirected { .. }
        | Problem::TooLarge(_)
        | Problem::Bad(_) => "show this to the server's operator: its set-up is broken",
    }
}
