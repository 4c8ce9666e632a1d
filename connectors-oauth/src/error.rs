//! Everything that a sign-in runs into, as the host gets it.

use std::borrow::Cow;

use connectors_core::trace::{Step, StepOutcome, TraceStep};
use connectors_core::{ConnectorError, CredentialError, Slug};

use crate::device::DeviceError;
use crate::discovery::DiscoveryError;
use crate::dpop::DpopError;
use crate::flow::FlowError;
use crate::record::RecordError;
use crate::refresh::RefreshError;
use crate::registration::RegistrationError;
use crate::token::TokenError;

/// Why a sign-in does not come about. Every variant has a stable word of its own for each cause ([`detail`](Self::detail)).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OAuthError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Flow(#[from] FlowError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Dpop(#[from] DpopError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error("this program is shutting down")]
    Interrupted,
}

impl OAuthError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::Discovery(error) => error.detail(),
            Self::Registration(error) => error.detail(),
            Self::Flow(error) => error.detail(),
            Self::Token(error) => error.detail(),
            Self::Device(error) => error.detail(),
            Self::Dpop(_) => "dpop_key_unusable",
            Self::Record(_) => "stored_tokens_unreadable",
            Self::Refresh(error) => error.detail(),
            Self::Credentials(_) => "secret_store_unavailable",
            Self::Interrupted => "sign_in_interrupted",
        }
    }

    /// What the user can do.
    fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Discovery(error) => error.remedy().into(),
            Self::Registration(error) => error.remedy(),
            Self::Flow(error) => error.remedy().into(),
            Self::Token(error) => error.remedy().into(),
            Self::Device(error) => error.remedy().into(),
            Self::Dpop(_) | Self::Record(_) => "sign out, and sign in again".into(),
            Self::Refresh(error) => error.remedy().into(),
            Self::Credentials(_) => "unlock or repair the secret store".into(),
            Self::Interrupted => "start again".into(),
        }
    }

    /// True for a failure that may be over at the next attempt.
    fn is_transient(&self) -> bool {
        match self {
            Self::Token(error) => error.is_transient(),
            Self::Discovery(error) => error.is_transient(),
            Self::Refresh(error) => !error.wants_sign_in(),
            _ => false,
        }
    }

    /// For the user who signs in.
    pub(crate) fn for_user(self, slug: &Slug) -> ConnectorError {
        match self {
            Self::Credentials(error) => error.into(),
            error => ConnectorError::Authorization {
                slug: slug.clone(),
                detail: error.detail(),
                problem: error.to_string(),
                remedy: error.remedy(),
            },
        }
    }

    /// For a request that wanted credentials: what may be over soon is tried again.
    pub(crate) fn for_request(self, slug: &Slug) -> ConnectorError {
        if self.is_transient() {
            let reason = Some(self.to_string());
            return ConnectorError::NotConnected { slug: slug.clone(), reason, retry_at: None };
        }
        self.for_user(slug)
    }
}

/// What the trace says of a redirect that is not accepted.
pub(crate) fn flow_step(error: &FlowError) -> TraceStep {
    TraceStep::new(Step::Authorization, StepOutcome::Failed, error.detail())
        .expecting(error.expected())
        .seeing(error.to_string())
        .remedied_by(error.remedy())
}
