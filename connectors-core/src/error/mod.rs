//! What can go wrong, sorted by what the caller does next.

mod stores;
mod transport;

use std::time::{Duration, SystemTime};

pub use self::stores::{CredentialError, StorageError};
pub use self::transport::TransportError;
use crate::names::Slug;
use crate::protocol::RpcError;

/// The cause of an error, kept for the chain.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a host gets. Every variant names the connector and says what to do; [`code`](Self::code) is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// No connector with this slug.
    #[error("there is no connector `{0}`")]
    NotFound(Slug),
    /// The tool has no route: not discovered, not enabled, or not admitted.
    #[error("the connector `{slug}` has no enabled tool `{tool}`")]
    UnknownTool {
        /// The connector.
        slug: Slug,
        /// The server's name of the tool.
        tool: String,
    },
    /// Only the user can help: by signing in.
    #[error("the connector `{slug}` needs you to sign in{}", note(.reason))]
    SignInRequired {
        /// The connector.
        slug: Slug,
        /// Why, if it is known.
        reason: Option<String>,
    },
    /// Only the user can help: by granting more than was granted so far.
    #[error("the connector `{slug}` needs your consent to more: {}", .scopes.join(", "))]
    InsufficientScope {
        /// The connector.
        slug: Slug,
        /// Everything that has to be asked for: what there was, and what is missing.
        scopes: Vec<String>,
    },
    /// A sign-in does not come about, because of how a server is set up or of what it answered.
    #[error("signing in to `{slug}`: {problem}")]
    Authorization {
        /// The connector.
        slug: Slug,
        /// A stable word for what is wrong, finer than [`code`](Self::code).
        detail: &'static str,
        /// One sentence.
        problem: String,
        /// What the user can do.
        remedy: std::borrow::Cow<'static, str>,
    },
    /// There is no connection at the moment.
    #[error("the connector `{slug}` is not connected{}", note(.reason))]
    NotConnected {
        /// The connector.
        slug: Slug,
        /// The last failure.
        reason: Option<String>,
        /// When the next attempt is made.
        retry_at: Option<SystemTime>,
    },
    /// The server answered with a JSON-RPC error.
    #[error("the server of `{slug}` answered with error {}", .error.code)]
    Upstream {
        /// The connector.
        slug: Slug,
        /// The server's error: its message is untrusted text.
        error: Box<RpcError>,
    },
    /// The server broke the protocol.
    #[error("the server of `{slug}` broke the protocol: {problem}")]
    Protocol {
        /// The connector.
        slug: Slug,
        /// What was wrong.
        problem: String,
    },
    /// A limit was reached.
    #[error("`{slug}`: {limit} is over the limit of {max}")]
    LimitExceeded {
        /// The connector.
        slug: Slug,
        /// What was too large.
        limit: &'static str,
        /// The limit, with its unit.
        max: String,
    },
    /// No answer in time. The server may still have done what was asked.
    #[error("`{slug}`: {what} took longer than {limit:?}")]
    TimedOut {
        /// The connector.
        slug: Slug,
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The arguments do not satisfy the tool's input schema. They were not sent.
    #[error("the arguments of `{tool}` do not satisfy its input schema: {}", .problems.join("; "))]
    InvalidArguments {
        /// The connector.
        slug: Slug,
        /// The tool.
        tool: String,
        /// One per failing path, as `path: problem`.
        problems: Vec<String>,
    },
    /// The caller cancelled.
    #[error("the call was cancelled")]
    Cancelled {
        /// The connector.
        slug: Slug,
    },
    /// A proposal that the user has not accepted: nothing is done with it until then.
    #[error("the connector `{0}` is only proposed; nothing is started or sent before you accept it")]
    NotAccepted(Slug),
    /// What the user entered cannot be a connector.
    #[error(transparent)]
    Invalid(#[from] crate::transport::InvalidDefinition),
    /// The manifest.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The secret store.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The connection failed.
    #[error("`{slug}`: {error}")]
    Transport {
        /// The connector.
        slug: Slug,
        /// How.
        #[source]
        error: Box<TransportError>,
    },
    /// The manager has been shut down.
    #[error("the connectors are shutting down")]
    ShuttingDown,
}

fn note(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl ConnectorError {
    /// Gives a wire's failure the name of its connector.
    pub fn from_transport(slug: &Slug, error: TransportError) -> Self {
        let slug = slug.clone();
        match error {
            TransportError::Unauthorized { forbidden: false, .. } => {
                Self::SignInRequired { slug, reason: None }
            }
            TransportError::TimedOut { what, limit } => Self::TimedOut { slug, what: what.to_owned(), limit },
            TransportError::LimitExceeded { limit, max } => Self::LimitExceeded { slug, limit, max },
            TransportError::Malformed(problem) => Self::Protocol { slug, problem },
            TransportError::Status { rpc: Some(error), .. } => Self::Upstream { slug, error },
            TransportError::Authorizer(error) => *error,
            error => Self::Transport { slug, error: Box::new(error) },
        }
    }

    /// The stable code of `error.data.code` in the WebSocket API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "connector_not_found",
            Self::UnknownTool { .. } => "unknown_tool",
            Self::SignInRequired { .. } | Self::InsufficientScope { .. } | Self::Authorization { .. } => {
                "sign_in_required"
            }
            Self::NotConnected { .. } | Self::ShuttingDown => "not_connected",
            Self::Upstream { .. } => "upstream_error",
            Self::Protocol { .. } => "upstream_protocol",
            Self::LimitExceeded { .. } => "limit_exceeded",
            Self::TimedOut { .. } => "timeout",
            Self::InvalidArguments { .. } => "invalid_arguments",
            Self::Cancelled { .. } => "cancelled",
            Self::NotAccepted(_) => "not_accepted",
            Self::Invalid(_) => "invalid_params",
            Self::Storage(_) | Self::Credentials(CredentialError::Storage { .. }) => "storage",
            Self::Credentials(_) => "secret_store_unavailable",
            Self::Transport { error, .. } => match **error {
                TransportError::Status { .. } | TransportError::Refused(_) => "upstream_protocol",
                _ => "not_connected",
            },
        }
    }

    /// The connector concerned, where there is one.
    pub fn slug(&self) -> Option<&Slug> {
        match self {
            Self::NotFound(slug)
            | Self::NotAccepted(slug)
            | Self::UnknownTool { slug, .. }
            | Self::SignInRequired { slug, .. }
            | Self::InsufficientScope { slug, .. }
            | Self::Authorization { slug, .. }
            | Self::NotConnected { slug, .. }
            | Self::Upstream { slug, .. }
            | Self::Protocol { slug, .. }
            | Self::LimitExceeded { slug, .. }
            | Self::TimedOut { slug, .. }
            | Self::InvalidArguments { slug, .. }
            | Self::Cancelled { slug }
            | Self::Transport { slug, .. }
            | Self::Storage(StorageError::SlugTaken(slug)) => Some(slug),
            Self::Invalid(_) | Self::Storage(_) | Self::Credentials(_) | Self::ShuttingDown => None,
        }
    }

    /// A stable word for the cause, where [`code`](Self::code) names only the kind.
    pub fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Authorization { detail, .. } => Some(detail),
            Self::InsufficientScope { .. } => Some("insufficient_scope"),
            _ => None,
        }
    }

    /// What the user can do about it, where that is known.
    pub fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        let Self::Authorization { remedy, .. } = self else {
            return self.general_remedy().map(std::borrow::Cow::Borrowed);
        };
        Some(remedy.clone())
    }

    fn general_remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotFound(_) => "list the connectors to see what there is",
            Self::NotAccepted(_) => "look at what is proposed, and accept or reject it",
            Self::UnknownTool { .. } => {
                "enable the tool first, or refresh the connector if the server has just added it"
            }
            Self::SignInRequired { .. } => "sign in to the connector, or enter its headers again",
            Self::InsufficientScope { .. } => "sign in again and agree to what is asked for",
            Self::NotConnected { .. } => "wait for the next attempt, or reconnect",
            Self::TimedOut { .. } => "try again, with a longer time limit if the tool is slow",
            Self::InvalidArguments { .. } => "correct the arguments at the paths named",
            Self::Storage(StorageError::Unparsable { .. }) => {
                "repair the file; it is read again as soon as it changes"
            }
            Self::Storage(StorageError::Newer { .. }) => {
                "update this program, or put back a file that it has written"
            }
            Self::Storage(_) | Self::Credentials(CredentialError::Storage { .. }) => {
                "check the permissions and the free space of the state folder"
            }
            Self::Credentials(_) => {
                "unlock or repair the secret store, or start with another one (`--secrets`)"
            }
            _ => return None,
        })
    }

    /// True if the same call may succeed later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotConnected { .. } | Self::TimedOut { .. } | Self::Transport { .. })
    }
}
