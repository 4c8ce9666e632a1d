//! What a token endpoint answers, read leniently where servers differ and nothing depends on it.

use std::fmt;
use std::time::Duration;

use connectors_core::http::HttpResponse;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::form::Form;
use crate::token::TokenError;

/// Longest error code and longest description that are quoted.
const QUOTED_ERROR: usize = 64;
const QUOTED_DESCRIPTION: usize = 200;

/// Longest lifetime that is believed: ten years, in seconds.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

/// How a token is shown (RFC 6749, section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenType {
    Bearer,
    /// Bound to a key (RFC 9449).
    Dpop,
}

impl TokenType {
    /// The registered name, which is the scheme too.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }

    /// Reads a registered name, in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Bearer, Self::Dpop].into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name))
    }
}

/// What a server gave.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access_token: SecretString,
    pub(crate) token_type: TokenType,
    pub(crate) refresh_token: Option<SecretString>,
    /// Seconds from when the server gave it.
    pub(crate) expires_in: Option<u64>,
    /// `None` where it is what was asked for.
    pub(crate) scope: Option<Vec<String>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.summary())
    }
}

impl Tokens {
    /// Reads an answer to `form`. A token that is bound to a key is taken only if a key was shown.
    pub(crate) fn read(answer: &HttpResponse, form: &Form, has_key: bool) -> Result<Self, TokenError> {
        let mut document = document(answer, form)?;
        let token_type = match document.get("token_type").and_then(Value::as_str) {
            None => TokenType::Bearer,
            Some(name) => TokenType::parse(name)
                .filter(|token_type| has_key || *token_type == TokenType::Bearer)
                .ok_or_else(|| TokenError::UnknownType { token_type: form.quote(name, QUOTED_ERROR) })?,
        };
        let access_token = take(&mut document, "access_token")
            .ok_or(TokenError::Malformed { problem: "it has no access_token" })?;
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed { problem: "its access_token cannot be put into a header" });
        }
        Ok(Self {
            access_token: access_token.into(),
            token_type,
            refresh_token: take(&mut document, "refresh_token").map(SecretString::from),
            expires_in: document.get("expires_in").and_then(seconds),
            scope: document.get("scope").and_then(scopes),
        })
    }

    /// What can be said of them aloud.
    pub(crate) fn summary(&self) -> String {
        let lifetime = self
            .expires_in
            .map_or_else(|| "no lifetime named".to_owned(), |seconds| format!("for {seconds} s"));
        let refresh = if self.refresh_token.is_some() { "with" } else { "without" };
        format!("a {} token, {lifetime}, {refresh} a refresh token", self.token_type.as_str())
    }
}

/// The fields of an answer that is a success, whatever was asked.
pub(crate) fn document(answer: &HttpResponse, form: &Form) -> Result<Map<String, Value>, TokenError> {
    check(answer, form)?;
    fields(answer).ok_or(TokenError::Malformed { problem: "it is not a JSON object" })
}

/// Whether an answer is a success.
pub(crate) fn check(answer: &HttpResponse, form: &Form) -> Result<(), TokenError> {
    let document = fields(answer);
    // Some servers refuse with a status of success.
    if let Some(error) = document.as_ref().and_then(|document| document.get("error")).and_then(Value::as_str)
    {
        let description = document.as_ref().and_then(|document| document.get("error_description"));
        let description = description.and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        return Err(TokenError::Refused {
            error: form.quote(error, QUOTED_ERROR),
            description: description.map(|text| form.quote(text, QUOTED_DESCRIPTION)),
            status: answer.status().as_u16(),
            retry_after: retry_after(answer),
        });
    }
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(TokenError::Status { status, retry_after: retry_after(answer) });
    }
    Ok(())
}

/// True for the demand of a nonce (RFC 9449, section 8).
pub(super) fn wants_nonce(answer: &HttpResponse) -> bool {
    !answer.status().is_success()
        && fields(answer)
            .is_some_and(|document| document.get("error").and_then(Value::as_str) == Some("use_dpop_nonce"))
}

fn fields(answer: &HttpResponse) -> Option<Map<String, Value>> {
    let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        let pairs = url::form_urlencoded::parse(answer.body());
        return Some(
            pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect(),
        );
    }
    serde_json::from_slice(answer.body()).ok()
}

fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Takes text that is not empty.
pub(crate) fn take(document: &mut Map<String, Value>, name: &str) -> Option<String> {
    match document.remove(name)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A lifetime as a number or as text; none where it says nothing sensible.
pub(crate) fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // NaN and what is not positive fall through; the cast saturates.
    (seconds >= 1.0).then(|| (seconds as u64).min(LONGEST))
}

/// Scopes as text or as a list; none where there is no word.
fn scopes(value: &Value) -> Option<Vec<String>> {
    let words: Vec<String> = match value {
        Value::String(text) => text.split_whitespace().map(ToOwned::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        _ => return None,
    };
    (!words.is_empty()).then_some(words)
}
