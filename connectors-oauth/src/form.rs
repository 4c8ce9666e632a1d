//! A form that is posted to an authorization server, and what of it nobody may see.

use std::time::Duration;

use connectors_core::http::HttpResponse;
use connectors_core::{TransportError, text};
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::exchange::Exchange;

/// What stands for a secret that a server has repeated.
const HIDDEN: &str = "[hidden]";

/// Shortest secret that is looked for: shorter ones occur by chance.
const SHORTEST: usize = 4;

/// Fields and headers of one request.
#[derive(Clone, Default)]
pub(crate) struct Form {
    fields: Vec<(&'static str, SecretString)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    hidden: Vec<SecretString>,
}

impl Form {
    /// A form of a grant.
    pub(crate) fn of_grant(grant_type: &str) -> Self {
        let mut form = Self::default();
        form.field("grant_type", grant_type);
        form
    }

    /// Adds a field.
    pub(crate) fn field(&mut self, name: &'static str, value: &str) {
        self.fields.push((name, value.into()));
    }

    /// Adds a field whose value is a secret.
    pub(crate) fn secret(&mut self, name: &'static str, value: &SecretString) {
        self.hide(value);
        self.fields.push((name, value.clone()));
    }

    /// Adds a header whose value is a secret. A value that cannot be in a header is left out: the server then says what it
    /// misses.
    pub(crate) fn secret_header(&mut self, name: HeaderName, scheme: &str, value: &SecretString) {
        if let Ok(mut field) = HeaderValue::from_str(&format!("{scheme}{}", value.expose_secret())) {
            field.set_sensitive(true);
            self.headers.push((name, field));
        }
        self.hide(value);
    }

    /// Keeps a value out of what is quoted of the answer.
    pub(crate) fn hide(&mut self, value: &SecretString) {
        self.hidden.push(value.clone());
    }

    #[cfg(test)]
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Posts it. The answer comes within `limit`.
    pub(crate) async fn post(
        &self,
        exchange: &Exchange,
        url: &Url,
        limit: Duration,
    ) -> Result<HttpResponse, TransportError> {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, value.expose_secret())).collect();
        let request = exchange.post_form(url, &fields, &self.headers, limit);
        // The client has its own limit, and may be somebody else's.
        tokio::time::timeout(limit, request)
            .await
            .unwrap_or(Err(TransportError::TimedOut { what: "the authorization server's answer", limit }))
    }

    /// A server's words, fit for display, of at most `max` bytes, and without the secrets that were sent to it.
    pub(crate) fn quote(&self, words: &str, max: usize) -> String {
        // Cleaned first: nothing invisible may keep a secret from being found.
        let mut words = text::display(words, usize::MAX);
        for secret in &self.hidden {
            let plain = secret.expose_secret();
            if plain.len() < SHORTEST {
                continue;
            }
            let encoded: String = byte_serialize(plain.as_bytes()).collect();
            for written in [plain, &encoded] {
                words = words.replace(written, HIDDEN);
            }
        }
        text::display(&words, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_the_server_repeats_is_not_quoted() {
        let mut form = Form::default();
        form.secret("refresh_token", &"se/cret value".into());
        form.field("resource", "https://mcp.test");
        let quoted =
            form.quote("bad: se/cret\u{200b} value, se%2Fcret+value for https://mcp.test\u{1b}", 200);
        assert_eq!(quoted, "bad: [hidden], [hidden] for https://mcp.test");
    }

    #[test]
    fn a_long_text_is_cut_after_its_secrets_are_gone() {
        let mut form = Form::default();
        form.secret("code", &"abcdefghijklmnop".into());
        assert_eq!(form.quote("x abcdefghijklmnop y", 6), "x [hid…");
    }
}
