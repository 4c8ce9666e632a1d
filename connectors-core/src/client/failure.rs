//! How an exchange, or a connection attempt, fails.

use std::time::Duration;

use crate::error::{ConnectorError, TransportError};
use crate::names::Slug;
use crate::protocol::RpcError;

/// Why one exchange brought no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server's own error.
    Rpc(RpcError),
    /// The wire.
    Transport(TransportError),
    /// Nothing in time.
    TimedOut { what: String, limit: Duration },
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Status { rpc: Some(error), .. } => Self::Rpc(*error),
            error => Self::Transport(error),
        }
    }
}

impl Failure {
    pub(super) fn into_error(self, slug: &Slug) -> ConnectorError {
        match self {
            Self::Rpc(error) => ConnectorError::Upstream { slug: slug.clone(), error: Box::new(error) },
            Self::Transport(error) => ConnectorError::from_transport(slug, error),
            Self::TimedOut { what, limit } => ConnectorError::TimedOut { slug: slug.clone(), what, limit },
        }
    }
}

/// Why [`McpClient::connect`](super::McpClient::connect) failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ConnectFailure {
    #[source]
    error: ConnectorError,
    /// The process ended while it was being probed: begin with `initialize` next time.
    died_of_probe: bool,
}

impl ConnectFailure {
    pub(super) fn timed_out(slug: &Slug, limit: Duration) -> Self {
        ConnectorError::TimedOut { slug: slug.clone(), what: "the handshake".to_owned(), limit }.into()
    }

    pub(super) fn of_probe(error: ConnectorError) -> Self {
        Self { error, died_of_probe: true }
    }

    /// True if a process ended while the modern era was being probed: dial it again with
    /// [`EraChoice::Legacy`](super::EraChoice::Legacy).
    pub fn died_of_probe(&self) -> bool {
        self.died_of_probe
    }

    /// The error.
    pub fn into_error(self) -> ConnectorError {
        self.error
    }
}

impl From<ConnectorError> for ConnectFailure {
    fn from(error: ConnectorError) -> Self {
        Self { error, died_of_probe: false }
    }
}
