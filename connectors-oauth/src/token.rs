//! Requests to a token endpoint (RFC 6749, section 5), whatever the grant.

use std::time::Duration;

use connectors_core::http::HttpResponse;
use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{TraceStep, TransportError};
use http::HeaderName;
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use crate::client_auth::ClientAuth;
use crate::dpop::DpopKey;
use crate::exchange::Exchange;
use crate::form::Form;

mod answer;
mod error;

pub(crate) use answer::{TokenType, Tokens, check, document, seconds, take};
pub(crate) use error::TokenError;

/// Longest time for a token request. A server that rotates refresh tokens has spent the old one when it answers: whoever
/// gives up too early loses the grant. A store's `exclusive` waits longer.
pub(crate) const TOKEN_TIMEOUT: Duration = Duration::from_secs(45);

/// The grant of enterprise-managed authorization's first step (RFC 8693).
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// An authorization server, as far as tokens are concerned.
#[derive(Debug, Clone)]
pub(crate) struct TokenServer {
    pub(crate) endpoint: Url,
    pub(crate) issuer: Option<String>,
}

impl TokenServer {
    /// Whom a client's assertion is for.
    pub(crate) fn audience(&self) -> &str {
        self.issuer.as_deref().unwrap_or(self.endpoint.as_str())
    }
}

/// What tokens are given for.
#[derive(Clone)]
pub(crate) enum GrantRequest {
    AuthorizationCode {
        code: SecretString,
        redirect_uri: String,
        verifier: SecretString,
    },
    RefreshToken {
        token: SecretString,
        /// Not sent, but known to the server: it is not quoted either.
        access_token: SecretString,
    },
    ClientCredentials,
    JwtBearer {
        assertion: SecretString,
    },
    DeviceCode(SecretString),
}

impl std::fmt::Debug for GrantRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GrantRequest({})", self.grant_type())
    }
}

impl GrantRequest {
    fn grant_type(&self) -> &'static str {
        match self {
            Self::AuthorizationCode { .. } => "authorization_code",
            Self::RefreshToken { .. } => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer { .. } => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            Self::DeviceCode(_) => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }

    fn form(&self, scopes: &[String]) -> Form {
        let mut form = Form::of_grant(self.grant_type());
        match self {
            Self::AuthorizationCode { code, redirect_uri, verifier } => {
                form.secret("code", code);
                form.field("redirect_uri", redirect_uri);
                form.secret("code_verifier", verifier);
            }
            // What was granted is asked for again by asking for nothing (RFC 6749, section 6).
            Self::RefreshToken { token, access_token } => {
                form.secret("refresh_token", token);
                form.hide(access_token);
            }
            Self::DeviceCode(code) => form.secret("device_code", code),
            Self::ClientCredentials => scope(&mut form, scopes),
            Self::JwtBearer { assertion } => {
                form.secret("assertion", assertion);
                scope(&mut form, scopes);
            }
        }
        form
    }
}

/// Adds the scopes, where there are any.
pub(crate) fn scope(form: &mut Form, scopes: &[String]) {
    if !scopes.is_empty() {
        form.field("scope", &scopes.join(" "));
    }
}

/// Asks for tokens, once; a second time only for the nonce that a server wants in the proof (RFC 9449, section 8).
///
/// `resource` is sent as it is (RFC 8707); `scopes` only where the grant has not settled them. Records a step, except for a
/// refresh and for a device that is still waited for. *Cancellation.* The server may have spent what was sent.
pub(crate) async fn request_tokens(
    exchange: &Exchange,
    server: &TokenServer,
    client: &ClientAuth,
    grant: &GrantRequest,
    resource: Option<&str>,
    scopes: &[String],
    dpop: Option<&DpopKey>,
) -> Result<Tokens, TokenError> {
    let mut form = grant.form(scopes);
    if let Some(resource) = resource {
        form.field("resource", resource);
    }
    let outcome = match post(exchange, server, client, &form, dpop).await {
        Ok(exchanged) => Tokens::read(&exchanged.answer, &exchanged.form, dpop.is_some()),
        Err(error) => Err(error),
    };
    if !matches!(grant, GrantRequest::RefreshToken { .. } | GrantRequest::DeviceCode(_)) {
        exchange.note(step(Step::Token, &outcome, server));
    }
    outcome
}

/// What the trace says of an answer.
pub(crate) fn step(step: Step, outcome: &Result<Tokens, TokenError>, server: &TokenServer) -> TraceStep {
    match outcome {
        Ok(tokens) => TraceStep::new(step, StepOutcome::Passed, "tokens_received")
            .expecting("tokens (RFC 6749, section 5.1)")
            .seeing(format!("{}, from {}", tokens.summary(), server.endpoint)),
        Err(error) => TraceStep::new(step, StepOutcome::Failed, error.detail())
            .expecting(error.expected())
            .seeing(format!("{error} ({})", server.endpoint))
            .remedied_by(error.remedy()),
    }
}

/// An answer, and the form that it is the answer to: with everything that must not be quoted.
pub(crate) struct Exchanged {
    pub(crate) answer: HttpResponse,
    pub(crate) form: Form,
}

/// Posts a form with the client's proof, and with the key's if there is one. The answer is anything.
pub(crate) async fn post(
    exchange: &Exchange,
    server: &TokenServer,
    client: &ClientAuth,
    form: &Form,
    dpop: Option<&DpopKey>,
) -> Result<Exchanged, TokenError> {
    let deadline = Instant::now() + TOKEN_TIMEOUT;
    let mut is_repeated = false;
    loop {
        // Anew for each attempt: an assertion and a proof are good once.
        let mut form = form.clone();
        client.apply(&mut form, server.audience())?;
        let mut proof = None;
        if let Some(key) = dpop {
            let fresh = key.proof("POST", &server.endpoint, None)?.into();
            form.secret_header(HeaderName::from_static("dpop"), "", &fresh);
            proof = Some((key, fresh));
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        let answer = form.post(exchange, &server.endpoint, limit).await.map_err(|error| match error {
            // Named by the whole time, not by what was left of it.
            TransportError::TimedOut { what, .. } => TransportError::TimedOut { what, limit: TOKEN_TIMEOUT },
            error => error,
        })?;
        let is_outdated = proof.is_some_and(|(key, proof)| {
            key.learn(&server.endpoint, &answer);
            key.is_outdated(&server.endpoint, &proof)
        });
        if is_repeated || !is_outdated || !answer::wants_nonce(&answer) {
            return Ok(Exchanged { answer, form });
        }
        is_repeated = true;
    }
}

#[cfg(test)]
mod tests;
