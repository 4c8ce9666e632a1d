//! Failures of a wire.

use std::time::Duration;

use super::{ConnectorError, Source};
use crate::authorizer::Challenge;
use crate::protocol::RpcError;

/// A wire that did not deliver. Messages are sentences for the user, without the connector's name. They quote nothing that the
/// server sent but for the last words of a process that ended, shortened and made fit for display.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection: name resolution, refused, unreachable, TLS.
    #[error("{reason}")]
    Unreachable {
        /// One sentence that names the host.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },
    /// Nothing in time.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// 401 or 403, and the authorizer could not satisfy it.
    #[error("{}", refusal(*.forbidden))]
    Unauthorized {
        /// True where signing in again does not help.
        forbidden: bool,
        /// What the server said.
        challenge: Box<Challenge>,
    },
    /// The server no longer knows the session (legacy versions). Open a new one.
    #[error("the server has ended the session")]
    SessionExpired,
    /// An HTTP status that is none of the above, with the JSON-RPC error of its body if there was one.
    #[error("the server answered with HTTP status {status}{}", content_type_note(.content_type))]
    Status {
        /// The status code.
        status: u16,
        /// The `Content-Type`, without parameters.
        content_type: Option<String>,
        /// The JSON-RPC error in the body.
        rpc: Option<Box<RpcError>>,
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A rule of ours forbids it: a redirect elsewhere, a forbidden address.
    #[error("{0}")]
    Refused(String),
    /// The server broke the protocol.
    #[error("{0}")]
    Malformed(String),
    /// A limit was reached.
    #[error("{limit} is over the limit of {max}")]
    LimitExceeded {
        /// What was too large.
        limit: &'static str,
        /// The limit, with its unit.
        max: String,
    },
    /// The process could not be started.
    #[error("{reason}")]
    NotStarted {
        /// One sentence that names the command.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Source>,
    },
    /// The connection or process ended before the answer.
    #[error("{reason}")]
    Closed {
        /// One sentence.
        reason: String,
    },
    /// The authorizer failed.
    #[error(transparent)]
    Authorizer(Box<ConnectorError>),
}

fn refusal(forbidden: bool) -> &'static str {
    if forbidden {
        "the server refuses this to the credentials it was given (403)"
    } else {
        "the server wants a sign-in (401)"
    }
}

fn content_type_note(content_type: &Option<String>) -> String {
    content_type.as_ref().map(|t| format!(" ({t})")).unwrap_or_default()
}

impl TransportError {
    /// True if the server may not have seen the request at all, so that sending it again cannot do it twice.
    pub fn is_before_delivery(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::SessionExpired | Self::NotStarted { .. })
    }
}
