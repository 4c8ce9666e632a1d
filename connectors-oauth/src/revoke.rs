//! Giving tokens back (RFC 7009).

use std::time::Duration;

use connectors_core::TraceStep;
use connectors_core::trace::{Step, StepOutcome};
use secrecy::SecretString;
use url::Url;

use crate::client_auth::ClientAuth;
use crate::exchange::Exchange;
use crate::form::Form;
use crate::token::{TokenError, check};

/// Longest time for all of it: a user waits.
const LIMIT: Duration = Duration::from_secs(10);

/// Where tokens are revoked, and by whom.
#[derive(Debug)]
pub(crate) struct Revocation<'a> {
    pub(crate) endpoint: &'a Url,
    /// Whom a client's assertion is for.
    pub(crate) audience: &'a str,
    pub(crate) client: &'a ClientAuth,
}

impl Revocation<'_> {
    /// Revokes a refresh token, which ends the grant with most servers, then an access token. Every token is tried, whatever
    /// became of the one before; the first failure is returned. Bounded in time, and recorded.
    pub(crate) async fn revoke(
        &self,
        exchange: &Exchange,
        refresh_token: Option<&SecretString>,
        access_token: &SecretString,
    ) -> Result<(), TokenError> {
        let work = async {
            let mut form = Form::default();
            // Neither is quoted, whichever of them the server is asked about.
            form.hide(access_token);
            refresh_token.iter().for_each(|token| form.hide(token));
            let mut outcome = Ok(());
            if let Some(token) = refresh_token {
                outcome = self.revoke_one(exchange, form.clone(), "refresh_token", token).await;
            }
            outcome.and(self.revoke_one(exchange, form, "access_token", access_token).await)
        };
        let late = connectors_core::TransportError::TimedOut { what: "the revocation", limit: LIMIT };
        let outcome = tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| Err(late.into()));
        exchange.note(match &outcome {
            Ok(()) => TraceStep::new(Step::Revocation, StepOutcome::Passed, "tokens_revoked")
                .expecting("the server to forget the tokens (RFC 7009)")
                .seeing(format!("revoked at {}", self.endpoint)),
            Err(error) => TraceStep::new(Step::Revocation, StepOutcome::Failed, "revocation_failed")
                .expecting("the server to forget the tokens (RFC 7009)")
                .seeing(format!("{error} ({})", self.endpoint))
                .remedied_by(
                    "the tokens are deleted here; revoke the access in your account at the service as well",
                ),
        });
        outcome
    }

    async fn revoke_one(
        &self,
        exchange: &Exchange,
        mut form: Form,
        kind: &'static str,
        token: &SecretString,
    ) -> Result<(), TokenError> {
        form.secret("token", token);
        form.field("token_type_hint", kind);
        self.client.apply(&mut form, self.audience)?;
        let answer = form.post(exchange, self.endpoint, LIMIT).await?;
        match check(&answer, &form) {
            // There is nothing to revoke in a token that the server does not keep.
            Err(error) if error.error() == Some("unsupported_token_type") => Ok(()),
            checked => checked,
        }
    }
}

/// Notes that tokens are deleted without being revoked, because the server offers no way.
pub(crate) fn note_not_offered(exchange: &Exchange) {
    exchange.note(
        TraceStep::new(Step::Revocation, StepOutcome::Skipped, "revocation_not_offered")
            .expecting("a revocation_endpoint in the server's metadata")
            .seeing("none")
            .remedied_by(
                "the tokens are deleted here; revoke the access in your account at the service as well",
            ),
    );
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::fixture::{Answer, ScriptedHttp, Sent, exchange, noted};

    const ENDPOINT: &str = "https://as.test/revoke";

    async fn revoke(http: &Arc<ScriptedHttp>) -> (Result<(), &'static str>, Vec<String>) {
        let exchange = exchange(http);
        let (endpoint, client) = (Url::parse(ENDPOINT).unwrap(), ClientAuth::public("client"));
        let revocation = Revocation { endpoint: &endpoint, audience: "https://as.test", client: &client };
        let outcome = revocation.revoke(&exchange, Some(&"refresh".into()), &"access".into()).await;
        (outcome.map_err(|error| error.detail()), noted(&exchange))
    }

    fn form(token: &str, kind: &str) -> Vec<(String, String)> {
        [("token", token), ("token_type_hint", kind), ("client_id", "client")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[tokio::test]
    async fn the_refresh_token_goes_first() {
        let http = ScriptedHttp::new();
        http.on("POST", ENDPOINT, Answer::status(200)).on("POST", ENDPOINT, Answer::status(200));
        assert_eq!(revoke(&http).await, (Ok(()), vec!["tokens_revoked".to_owned()]));
        let sent: Vec<_> = http.sent().iter().map(Sent::form).collect();
        assert_eq!(sent, [form("refresh", "refresh_token"), form("access", "access_token")]);
    }

    #[tokio::test]
    async fn one_failure_does_not_keep_the_other_token() {
        let http = ScriptedHttp::new();
        let unsupported =
            Answer::body(400, "application/json", json!({"error": "unsupported_token_type"}).to_string());
        http.on("POST", ENDPOINT, Answer::status(503)).on("POST", ENDPOINT, unsupported);
        let expected = (Err("token_endpoint_failed"), vec!["revocation_failed!".to_owned()]);
        assert_eq!(revoke(&http).await, expected);
        assert_eq!(http.sent().len(), 2);
    }

    #[tokio::test]
    async fn no_token_is_quoted_whichever_the_server_is_asked_about() {
        let http = ScriptedHttp::new();
        let words = "canary-access and canary-refresh";
        let refusal = json!({"error": "invalid_request", "error_description": words}).to_string();
        for _ in 0..2 {
            http.on("POST", ENDPOINT, Answer::body(400, "application/json", refusal.clone()));
        }
        let exchange = exchange(&http);
        let (endpoint, client) = (Url::parse(ENDPOINT).unwrap(), ClientAuth::public("client"));
        let revocation = Revocation { endpoint: &endpoint, audience: "https://as.test", client: &client };
        let outcome =
            revocation.revoke(&exchange, Some(&"canary-refresh".into()), &"canary-access".into()).await;
        let said = format!("{:?} {:?}", outcome.unwrap_err(), exchange.trace.read());
        assert!(said.contains("[hidden] and [hidden]") && !said.contains("canary"), "{said}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_not_waited_for_long() {
        let http = ScriptedHttp::new();
        http.on("POST", ENDPOINT, Answer::status(200).held_by(&Arc::new(Notify::new())));
        let begun = tokio::time::Instant::now();
        assert_eq!(revoke(&http).await.0, Err("token_endpoint_slow"));
        assert!(begun.elapsed() <= LIMIT + Duration::from_millis(1));
    }
}
