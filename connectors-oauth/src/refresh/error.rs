//! Why there are no tokens for a request.

use std::sync::Arc;

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{ConnectorError, CredentialError, Slug, TraceStep, TransportError};

use crate::dpop::DpopError;
use crate::endpoint::BadEndpoint;
use crate::record::RecordError;
use crate::token::TokenError;

/// What a refresh runs into. Shared by all who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RefreshError {
    /// The store holds no tokens: nobody has signed in, or somebody has signed out.
    #[error("nobody is signed in")]
    NotSignedIn,
    /// The access token is not accepted, and there is nothing to renew it with.
    #[error("the access has ended, and the authorization server gave nothing to renew it with")]
    NotRenewable,
    /// The server has refused to renew, or this client cannot ask.
    #[error(transparent)]
    Refused(TokenError),
    /// It did not come about this time.
    #[error(transparent)]
    Unavailable(TokenError),
    /// The stored tokens cannot be read.
    #[error(transparent)]
    Record(RecordError),
    /// The key that the stored tokens are bound to cannot be used.
    #[error(transparent)]
    Key(#[from] DpopError),
    /// The stored tokens are for another server: the connector's address has changed.
    #[error("the stored tokens are for {issued_for}, and are not shown to {server}")]
    OtherServer { issued_for: String, server: String },
    /// The stored tokens do not say where they are renewed.
    #[error("the stored tokens do not say where they are renewed")]
    Incomplete,
    /// They are renewed at an address that must not be used.
    #[error("the stored token endpoint is not used: {0}")]
    BadEndpoint(BadEndpoint),
    /// The credential store.
    #[error(transparent)]
    Store(Arc<CredentialError>),
    /// This process is shutting down.
    #[error("the refresh was interrupted")]
    Interrupted,
}

impl From<TokenError> for RefreshError {
    fn from(error: TokenError) -> Self {
        if error.is_transient() { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

impl From<RecordError> for RefreshError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl RefreshError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::NotSignedIn => "not_signed_in",
            Self::NotRenewable => "refresh_token_missing",
            Self::Refused(error) => match error.error() {
                Some("invalid_grant") => "refresh_token_refused",
                _ => error.detail(),
            },
            Self::Unavailable(error) => error.detail(),
            Self::Record(_) => "tokens_unreadable",
            Self::Key(_) => "dpop_key_unusable",
            Self::OtherServer { .. } => "tokens_for_other_server",
            Self::Incomplete => "tokens_incomplete",
            Self::BadEndpoint(_) => "token_endpoint_invalid",
            Self::Store(_) => "secret_store_unavailable",
            Self::Interrupted => "refresh_interrupted",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::NotSignedIn => "tokens in the credential store",
            Self::NotRenewable => "a refresh token, or an access token that is accepted",
            Self::Refused(error) | Self::Unavailable(error) => error.expected(),
            Self::Record(_) | Self::Incomplete => "tokens as a sign-in stores them",
            Self::Key(_) => "the key that the tokens are bound to (RFC 9449)",
            Self::OtherServer { .. } => "tokens that were issued for this server",
            Self::BadEndpoint(_) => "an https address",
            Self::Store(_) => "a credential store that answers",
            Self::Interrupted => "time to finish",
        }
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Refused(error) | Self::Unavailable(error) => error.remedy(),
            Self::Store(error) if matches!(**error, CredentialError::Storage { .. }) => {
                "check the permissions and the free space of the state folder; it is tried again by itself"
            }
            Self::Store(_) => "unlock the credential store; it is tried again by itself",
            Self::Interrupted => "start again",
            _ => "sign in again",
        }
    }

    /// What the trace says of it.
    pub(super) fn step(&self, seen: String) -> TraceStep {
        TraceStep::new(Step::Refresh, StepOutcome::Failed, self.detail())
            .expecting(self.expected())
            .seeing(seen)
            .remedied_by(self.remedy())
    }

    /// True where only the user can help, by signing in. Never for what may pass by itself.
    pub(crate) fn wants_sign_in(&self) -> bool {
        !matches!(self, Self::Unavailable(_) | Self::Store(_) | Self::Interrupted)
    }

    /// True where the server does not know the client any more, or not as it proves itself.
    pub(crate) fn is_of_unknown_client(&self) -> bool {
        matches!(self, Self::Refused(error) if error.error() == Some("invalid_client"))
    }

    /// What a caller of the connector is told.
    pub(crate) fn for_connector(&self, slug: &Slug) -> ConnectorError {
        let transport = |error| ConnectorError::Transport { slug: slug.clone(), error: Box::new(error) };
        match self {
            Self::Store(error) => ConnectorError::Credentials(copy(error)),
            Self::Unavailable(TokenError::Transport(error)) => match **error {
                TransportError::TimedOut { what, limit } => {
                    ConnectorError::TimedOut { slug: slug.clone(), what: what.to_owned(), limit }
                }
                _ => transport(TransportError::Unreachable { reason: self.to_string(), source: None }),
            },
            Self::Unavailable(TokenError::Refused { .. } | TokenError::Status { .. }) | Self::Interrupted => {
                transport(TransportError::Unreachable { reason: self.to_string(), source: None })
            }
            Self::Unavailable(_) => transport(TransportError::Malformed(self.to_string())),
            _ => ConnectorError::SignInRequired { slug: slug.clone(), reason: Some(self.to_string()) },
        }
    }
}

/// A copy for each who waited.
fn copy(error: &Arc<CredentialError>) -> CredentialError {
    match &**error {
        CredentialError::Locked { store } => CredentialError::Locked { store },
        CredentialError::Unavailable { store, reason } => {
            CredentialError::Unavailable { store, reason: reason.clone() }
        }
        CredentialError::TimedOut { store, limit } => CredentialError::TimedOut { store, limit: *limit },
        CredentialError::Storage { store, action, file, source } => {
            let source = std::io::Error::new(source.kind(), source.to_string());
            CredentialError::Storage { store, action, file: file.clone(), source }
        }
        CredentialError::Damaged { store, account, problem } => {
            CredentialError::Damaged { store, account: account.clone(), problem: problem.clone() }
        }
        CredentialError::Failed { store, .. } => {
            CredentialError::Failed { store, source: Box::new(Arc::clone(error)) }
        }
        other => CredentialError::Unavailable { store: "credential store", reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_that_by_every_caller_who_waited() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let (store, action, file) = ("encrypted vault", "write", "connectors.vault".to_owned());
        let error = CredentialError::Storage { store, action, file, source: full() };
        let (said, error) = (error.to_string(), RefreshError::Store(Arc::new(error)));
        let told = error.for_connector(&Slug::from_name("s"));
        assert_eq!((told.code(), told.to_string().contains(&said)), ("storage", true), "{told}");
        assert!(error.remedy().contains("free space"));
    }

    #[test]
    fn only_invalid_client_says_that_the_client_is_unknown() {
        let refused = |error: &str, status| {
            let error = error.to_owned();
            RefreshError::from(TokenError::Refused { error, description: None, status, retry_after: None })
        };
        assert!(refused("invalid_client", 401).is_of_unknown_client());
        assert!(!refused("invalid_grant", 400).is_of_unknown_client());
        assert!(!refused("invalid_client", 503).is_of_unknown_client(), "it may pass");
        assert!(!RefreshError::NotRenewable.is_of_unknown_client());
    }
}
