//! Servers that want a token of the scripted authorization server's.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::ScriptedSignIn;
use crate::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use crate::definition::ConnectorDefinition;
use crate::error::TransportError;
use crate::transport::{
    DialTarget, Dialer, IncomingStream, InvalidDefinition, OutgoingNotification, OutgoingRequest,
    ReplyStream, Traits, Transport,
};

/// Dials as another dialer does, to servers that answer a request without a good token with a 401, and one that needs another
/// scope with a 403.
pub struct GuardedDialer<D> {
    inner: D,
    sign_in: Arc<ScriptedSignIn>,
}

impl<D: Dialer> GuardedDialer<D> {
    /// Guards the servers behind `inner`.
    pub fn new(inner: D, sign_in: Arc<ScriptedSignIn>) -> Self {
        Self { inner, sign_in }
    }
}

#[async_trait]
impl<D: Dialer> Dialer for GuardedDialer<D> {
    fn serves(&self, definition: &ConnectorDefinition) -> bool {
        self.inner.serves(definition)
    }

    fn check(&self, definition: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        self.inner.check(definition)
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError> {
        let url = Arc::new(target.definition.url.parse().expect("the definitions of tests have URLs"));
        let authorizer = Arc::clone(&target.authorizer);
        let inner = self.inner.dial(target).await?;
        Ok(Arc::new(Guarded { inner, url, authorizer, sign_in: Arc::clone(&self.sign_in) }))
    }
}

struct Guarded {
    inner: Arc<dyn Transport>,
    url: Arc<Url>,
    authorizer: Arc<dyn Authorizer>,
    sign_in: Arc<ScriptedSignIn>,
}

impl Guarded {
    /// The refusal of a request with these headers.
    fn refusal(&self, headers: &[SecretHeader], tool: Option<&str>) -> Option<Challenge> {
        let bearer = headers.iter().find(|header| header.name == "Authorization");
        let token = bearer.and_then(|header| header.value.expose_secret().strip_prefix("Bearer "));
        let Some(scopes) = token.and_then(|token| self.sign_in.scopes_of(token)) else {
            return Some(Challenge::new(401, self.url.as_str()));
        };
        let need = tool.and_then(|tool| self.sign_in.need_of(tool)).filter(|need| !scopes.contains(need))?;
        let mut challenge = Challenge::new(403, self.url.as_str());
        challenge.www_authenticate = vec![format!("scope={need}")];
        Some(challenge)
    }
}

#[async_trait]
impl Transport for Guarded {
    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let failed = |error| TransportError::Authorizer(Box::new(error));
        let message: Value = serde_json::from_slice(&request.body).expect("the client sends JSON");
        let tool = (request.method == "tools/call").then(|| message["params"]["name"].as_str()).flatten();
        let target = RequestTarget { method: "POST", url: Arc::clone(&self.url) };
        let headers = self.authorizer.headers(&target).await.map_err(failed)?;
        let Some(challenge) = self.refusal(&headers, tool) else {
            return self.inner.exchange(request).await;
        };
        let forbidden = match self.authorizer.challenged(&challenge, &headers).await.map_err(failed)? {
            ChallengeResponse::Retry | ChallengeResponse::Outdated => {
                return self.inner.exchange(request).await;
            }
            ChallengeResponse::Forbidden => true,
            ChallengeResponse::SignIn => false,
        };
        Err(TransportError::Unauthorized { forbidden, challenge: Box::new(challenge) })
    }

    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        self.inner.notify(note).await
    }

    fn incoming(&self) -> IncomingStream {
        self.inner.incoming()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
