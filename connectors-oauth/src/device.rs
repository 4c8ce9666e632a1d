//! Signing in on another device (RFC 8628).

use std::fmt;
use std::time::Duration;

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{TraceStep, text};
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::client_auth::ClientAuth;
use crate::dpop::DpopKey;
use crate::endpoint::{self, BadEndpoint};
use crate::exchange::Exchange;
use crate::form::Form;
use crate::token::{
    GrantRequest, TOKEN_TIMEOUT, TokenError, TokenServer, Tokens, document, request_tokens, scope, seconds,
    step, take,
};

/// Between two questions, where the server does not say (RFC 8628, section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);

/// The longest pause between two questions: a user waits.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// What `slow_down` adds (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The longest that a user is waited for, and how long where the server does not say.
const LONGEST: Duration = Duration::from_secs(1800);
const USUAL: Duration = Duration::from_secs(600);

/// Longest user code that is shown, in bytes.
const LONGEST_CODE: usize = 64;

/// What a sign-in on another device runs into.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DeviceError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the page that the authorization server names cannot be opened: {0}")]
    BadPage(BadEndpoint),
    #[error("the sign-in was declined")]
    Denied,
    #[error("nobody has entered the code in time")]
    Expired,
}

impl DeviceError {
    /// A stable word.
    pub(crate) fn detail(&self) -> &'static str {
        match self {
            Self::Token(error) => error.detail(),
            Self::BadPage(_) => "verification_page_invalid",
            Self::Denied => "access_denied",
            Self::Expired => "device_code_expired",
        }
    }

    /// What ought to have been.
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            Self::Token(error) => error.expected(),
            Self::BadPage(_) => "an https page (RFC 8628, section 3.2)",
            Self::Denied => "the user's consent",
            Self::Expired => "the code to be entered in time",
        }
    }

    /// What the user can do.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Token(error) => error.remedy(),
            Self::BadPage(_) => "sign in with a browser instead",
            Self::Denied => "begin again and agree",
            Self::Expired => "begin again, and enter the new code in time",
        }
    }
}

/// What the user is asked to do elsewhere.
pub(crate) struct DeviceCode {
    device_code: SecretString,
    /// To be entered. Fit for display.
    pub(crate) user_code: String,
    /// Where to enter it. Checked.
    pub(crate) page: Url,
    /// The page with the code in it already.
    pub(crate) page_with_code: Option<Url>,
    /// When it is too late.
    pub(crate) expires_at: Instant,
    interval: Duration,
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode")
            .field("page", &self.page.as_str())
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl DeviceCode {
    /// Asks for a code (RFC 8628, section 3.1).
    pub(crate) async fn request(
        exchange: &Exchange,
        endpoint: &Url,
        audience: &str,
        client: &ClientAuth,
        resource: Option<&str>,
        scopes: &[String],
    ) -> Result<Self, DeviceError> {
        let outcome = Self::ask(exchange, endpoint, audience, client, resource, scopes).await;
        exchange.note(match &outcome {
            Ok(code) => TraceStep::new(Step::Authorization, StepOutcome::Passed, "device_code_received")
                .expecting("a code for another device (RFC 8628)")
                .seeing(format!("to be entered at {}", code.page)),
            Err(error) => failed(Step::Authorization, error, endpoint),
        });
        outcome
    }

    async fn ask(
        exchange: &Exchange,
        endpoint: &Url,
        audience: &str,
        client: &ClientAuth,
        resource: Option<&str>,
        scopes: &[String],
    ) -> Result<Self, DeviceError> {
        let mut form = Form::default();
        scope(&mut form, scopes);
        if let Some(resource) = resource {
            form.field("resource", resource);
        }
        client.apply(&mut form, audience).map_err(TokenError::from)?;
        let answer = form.post(exchange, endpoint, TOKEN_TIMEOUT).await.map_err(TokenError::from)?;
        let mut document = document(&answer, &form)?;
        let mut taken = |name, problem| {
            take(&mut document, name).ok_or(DeviceError::Token(TokenError::Malformed { problem }))
        };
        let device_code = taken("device_code", "it has no device_code")?.into();
        let user_code = text::display(&taken("user_code", "it has no user_code")?, LONGEST_CODE);
        // The second name is from before the RFC, and still in use.
        let page = taken("verification_uri", "it has no verification_uri")
            .or_else(|error| taken("verification_url", "it has no verification_uri").map_err(|_| error))?;
        let page_with_code = document
            .get("verification_uri_complete")
            .and_then(Value::as_str)
            .and_then(|page| endpoint::checked(page).ok());
        let duration = |name| document.get(name).and_then(seconds).map(Duration::from_secs);
        Ok(Self {
            device_code,
            user_code,
            page: endpoint::checked(&page).map_err(DeviceError::BadPage)?,
            page_with_code,
            expires_at: Instant::now() + duration("expires_in").unwrap_or(USUAL).min(LONGEST),
            interval: duration("interval").unwrap_or(INTERVAL).min(LONGEST_INTERVAL),
        })
    }

    /// Asks for the tokens until the user is done, has declined, or it is too late. Failures that may pass are sat out.
    ///
    /// *Cancellation.* Dropping the future gives up.
    pub(crate) async fn wait(
        self,
        exchange: &Exchange,
        server: &TokenServer,
        client: &ClientAuth,
        resource: Option<&str>,
        dpop: Option<&DpopKey>,
    ) -> Result<Tokens, DeviceError> {
        let grant = GrantRequest::DeviceCode(self.device_code);
        let mut interval = self.interval;
        let outcome = loop {
            let next = Instant::now() + interval;
            if next >= self.expires_at {
                tokio::time::sleep_until(self.expires_at).await;
                break Err(DeviceError::Expired);
            }
            tokio::time::sleep_until(next).await;
            let error = match request_tokens(exchange, server, client, &grant, resource, &[], dpop).await {
                Ok(tokens) => break Ok(tokens),
                Err(error) => error,
            };
            match error.error() {
                Some("authorization_pending") => {}
                Some("slow_down") => interval = (interval + SLOWER).min(LONGEST_INTERVAL),
                Some("access_denied") => break Err(DeviceError::Denied),
                Some("expired_token") => break Err(DeviceError::Expired),
                // As the RFC wants it after a timeout (section 3.5).
                _ if error.is_transient() => interval = (interval * 2).min(LONGEST_INTERVAL),
                _ => break Err(DeviceError::Token(error)),
            }
        };
        exchange.note(match &outcome {
            Ok(tokens) => step(Step::Token, &Ok(tokens.clone()), server),
            Err(error) => failed(Step::Token, error, &server.endpoint),
        });
        outcome
    }
}

fn failed(step: Step, error: &DeviceError, endpoint: &Url) -> TraceStep {
    TraceStep::new(step, StepOutcome::Failed, error.detail())
        .expecting(error.expected())
        .seeing(format!("{error} ({endpoint})"))
        .remedied_by(error.remedy())
}

#[cfg(test)]
mod tests;
