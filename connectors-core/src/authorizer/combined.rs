//! Fixed headers beside a sign-in, on one connection.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader, StaticHeaders};
use crate::error::ConnectorError;
use crate::sign_in::SignIn;

/// Sends the fixed headers, then those of the sign-in, which alone answers challenges.
pub(crate) struct Combined {
    fixed: StaticHeaders,
    sign_in: Arc<dyn SignIn>,
}

impl Combined {
    pub(crate) fn new(fixed: StaticHeaders, sign_in: Arc<dyn SignIn>) -> Self {
        Self { fixed, sign_in }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Authorizer for Combined {
    async fn headers(&self, request: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        let mut headers = self.fixed.headers(request).await?;
        headers.extend(self.sign_in.headers(request).await?);
        Ok(headers)
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        sent: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        // Those of the sign-in follow the fixed ones.
        let own = sent.get(self.fixed.headers.len()..).unwrap_or_default();
        self.sign_in.challenged(challenge, own).await
    }

    fn nonce(&self, url: &str, nonce: &str) {
        self.sign_in.nonce(url, nonce);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use secrecy::SecretString;

    use super::*;
    use crate::sign_in::{Grant, SignInCallback, SignInRequest, SignInStarted};

    #[derive(Default)]
    struct Recorder(Mutex<Vec<String>>);

    impl Recorder {
        fn note(&self, what: String) {
            self.0.lock().unwrap().push(what);
        }
    }

    fn header(name: &str) -> SecretHeader {
        SecretHeader { name: name.to_owned(), value: SecretString::from("v") }
    }

    fn names(headers: &[SecretHeader]) -> String {
        headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[async_trait]
    impl Authorizer for Recorder {
        async fn headers(&self, _: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
            Ok(vec![header("Authorization"), header("DPoP")])
        }

        async fn challenged(
            &self,
            challenge: &Challenge,
            sent: &[SecretHeader],
        ) -> Result<ChallengeResponse, ConnectorError> {
            self.note(format!("{}: {}", challenge.status, names(sent)));
            Ok(ChallengeResponse::Retry)
        }

        fn nonce(&self, url: &str, nonce: &str) {
            self.note(format!("{nonce} at {url}"));
        }
    }

    #[async_trait]
    impl SignIn for Recorder {
        async fn begin(&self, _: SignInRequest) -> Result<SignInStarted, ConnectorError> {
            unreachable!()
        }

        async fn complete(&self, _: SignInCallback) -> Result<Grant, ConnectorError> {
            unreachable!()
        }

        async fn reload(&self) {}

        async fn sign_out(&self) -> Result<(), ConnectorError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_sign_in_answers_for_its_own_headers_only() {
        let sign_in = Arc::new(Recorder::default());
        let fixed = StaticHeaders::new(vec![header("X-Key"), header("X-Team")]);
        let combined = Combined::new(fixed, Arc::clone(&sign_in) as _);
        let target = RequestTarget { method: "POST", url: Arc::new("https://h/mcp".parse().unwrap()) };
        let sent = combined.headers(&target).await.unwrap();
        assert_eq!(names(&sent), "X-Key X-Team Authorization DPoP");
        let answer = combined.challenged(&Challenge::new(401, "https://h/mcp"), &sent).await.unwrap();
        assert_eq!(answer, ChallengeResponse::Retry);
        combined.nonce("https://h/mcp", "n1");
        assert_eq!(*sign_in.0.lock().unwrap(), ["401: Authorization DPoP", "n1 at https://h/mcp"]);
    }
}
