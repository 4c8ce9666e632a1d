//! A fake of signing in: one authorization server for every connector, without a network.

mod guard;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::oneshot;

pub use self::guard::GuardedDialer;
use crate::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use crate::definition::{OAuthSettings, Registration};
use crate::error::ConnectorError;
use crate::sign_in::{
    Grant, SignIn, SignInCallback, SignInProvider, SignInRequest, SignInStarted, SignInTarget, SignInView,
};
use crate::store::CredentialKey;
use crate::trace::{Step, StepOutcome, TraceStep};

/// The code that the authorization server gives out: completes every sign-in.
pub const GOOD_CODE: &str = "good";

/// Signs in to one authorization server, whose tokens, scopes and whims a test can see and set. A sign-in completes with
/// [`GOOD_CODE`]; one of a connector with a `grant` needs no user.
#[derive(Default)]
pub struct ScriptedSignIn {
    server: Mutex<Server>,
}

#[derive(Default)]
struct Server {
    journal: Vec<String>,
    issued: usize,
    begun: usize,
    /// The scopes of every token that is good.
    tokens: HashMap<String, BTreeSet<String>>,
    /// The scopes that tools need.
    needs: HashMap<String, String>,
    elsewhere: HashMap<String, oneshot::Sender<Result<Grant, ConnectorError>>>,
    refuses_to_begin: bool,
    hangs_at_sign_out: bool,
}

impl ScriptedSignIn {
    /// A server that has given out nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: impl Into<String>) {
        self.server().journal.push(what.into());
    }

    /// What was done so far, as `verb slug ...`, and forgets it.
    pub fn journal(&self) -> Vec<String> {
        std::mem::take(&mut self.server().journal)
    }

    /// From now on a tool can be called only with this scope.
    pub fn require(&self, tool: &str, scope: &str) {
        self.server().needs.insert(tool.to_owned(), scope.to_owned());
    }

    /// From now on no sign-in can be begun.
    pub fn refuse_to_begin(&self) {
        self.server().refuses_to_begin = true;
    }

    /// From now on giving tokens back never ends.
    pub fn hang_at_sign_out(&self) {
        self.server().hangs_at_sign_out = true;
    }

    /// No token is good any more.
    pub fn revoke_all(&self) {
        self.server().tokens.clear();
    }

    /// How many tokens are good.
    pub fn good_tokens(&self) -> usize {
        self.server().tokens.len()
    }

    /// The user has agreed on another device. False if nobody waits for it any more.
    pub fn agree_elsewhere(&self, state: &str) -> bool {
        let grant = self.issue("https://elsewhere.test/mcp", &[]);
        self.end_elsewhere(state, Ok(grant))
    }

    /// The user has refused on another device. False if nobody waits for it any more.
    pub fn refuse_elsewhere(&self, state: &str, error: ConnectorError) -> bool {
        self.end_elsewhere(state, Err(error))
    }

    fn end_elsewhere(&self, state: &str, outcome: Result<Grant, ConnectorError>) -> bool {
        let waiting = self.server().elsewhere.remove(state);
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    fn issue(&self, resource: &str, scopes: &[String]) -> Grant {
        let mut server = self.server();
        server.issued += 1;
        let n = server.issued;
        server.tokens.insert(format!("token-{n}"), scopes.iter().cloned().collect());
        let settings = OAuthSettings {
            token_endpoint: "https://auth.test/token".to_owned(),
            client_id: "client".to_owned(),
            has_client_secret: true,
            resource: Some(resource.to_owned()),
            scopes: scopes.to_vec(),
            issuer: Some("https://auth.test".to_owned()),
            registration: Some(Registration::Dynamic),
            ..OAuthSettings::default()
        };
        let secrets = vec![("tokens", format!("token-{n}").into()), ("client_secret", "secret".into())];
        Grant { settings, secrets, obsolete: vec!["dpop_key"] }
    }

    /// The scopes of a token; none if it is not good.
    fn scopes_of(&self, token: &str) -> Option<BTreeSet<String>> {
        self.server().tokens.get(token).cloned()
    }

    fn need_of(&self, tool: &str) -> Option<String> {
        self.server().needs.get(tool).cloned()
    }
}

/// The provider that opens sign-ins to a [`ScriptedSignIn`].
pub struct ScriptedProvider(pub Arc<ScriptedSignIn>);

impl SignInProvider for ScriptedProvider {
    fn open(&self, target: SignInTarget) -> Arc<dyn SignIn> {
        self.0.note(format!("open {}", target.definition.slug));
        Arc::new(Opened {
            server: Arc::clone(&self.0),
            target,
            token: tokio::sync::Mutex::default(),
            begun: Mutex::default(),
            missing: Mutex::default(),
        })
    }
}

struct Opened {
    server: Arc<ScriptedSignIn>,
    target: SignInTarget,
    /// The token in use; `None` until the store was read.
    token: tokio::sync::Mutex<Option<Option<SecretString>>>,
    /// States, with the scopes that were asked for.
    begun: Mutex<HashMap<String, Vec<String>>>,
    /// Scopes that were found missing.
    missing: Mutex<HashSet<String>>,
}

impl Opened {
    fn note(&self, verb: &str, rest: &str) {
        let line = format!("{verb} {} {rest}", self.target.definition.slug);
        self.server.note(line.trim_end());
    }

    fn tokens_key(&self) -> CredentialKey {
        CredentialKey::tokens(&self.target.definition.slug)
    }

    fn error(&self, detail: &'static str) -> ConnectorError {
        ConnectorError::Authorization {
            slug: self.target.definition.slug.clone(),
            detail,
            problem: format!("the authorization server says {detail}"),
            remedy: "begin again".into(),
        }
    }

    async fn current(&self) -> Result<Option<SecretString>, ConnectorError> {
        let mut token = self.token.lock().await;
        if token.is_none() {
            *token = Some(self.target.credentials.get(&self.tokens_key()).await?);
        }
        Ok(token.clone().flatten())
    }

    /// What is granted, and what was found missing.
    async fn wanted(&self) -> Vec<String> {
        let token = self.current().await.ok().flatten();
        let mut scopes =
            token.and_then(|token| self.server.scopes_of(token.expose_secret())).unwrap_or_default();
        scopes.extend(self.missing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        scopes.into_iter().collect()
    }
}

#[async_trait]
impl Authorizer for Opened {
    async fn headers(&self, _: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        let header = |token: SecretString| SecretHeader {
            name: "Authorization".to_owned(),
            value: format!("Bearer {}", token.expose_secret()).into(),
        };
        Ok(self.current().await?.map(header).into_iter().collect())
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        _: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        let slug = self.target.definition.slug.clone();
        match challenge.www_authenticate.first().and_then(|field| field.strip_prefix("scope=")) {
            Some(scope) if challenge.status == 403 => {
                self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned());
                Err(ConnectorError::InsufficientScope { slug, scopes: self.wanted().await })
            }
            _ => Err(ConnectorError::SignInRequired { slug, reason: None }),
        }
    }
}

#[async_trait]
impl SignIn for Opened {
    async fn begin(&self, request: SignInRequest) -> Result<SignInStarted, ConnectorError> {
        if self.server.server().refuses_to_begin {
            return Err(self.error("registration_impossible"));
        }
        let scopes = match request.scopes {
            Some(scopes) => scopes,
            None => self.wanted().await,
        };
        let state = {
            let mut server = self.server.server();
            server.begun += 1;
            format!("state-{}", server.begun)
        };
        self.note("begin", &state);
        let step = TraceStep::new(Step::AuthorizationServer, StepOutcome::Passed, "metadata_read");
        self.target.trace.note(step);
        let mut view = SignInView {
            authorize_url: Some(format!("https://auth.test/authorize?state={state}")),
            state: state.clone(),
            issuer: Some("https://auth.test".to_owned()),
            redirect_uri: request.redirect_uri,
            scopes: scopes.clone(),
            user_code: None,
            expires_at: None,
        };
        if self.target.definition.oauth.as_ref().is_some_and(|oauth| oauth.grant.is_some()) {
            let grant = self.server.issue(&self.target.definition.url, &scopes);
            for (name, value) in grant.secrets.iter().filter(|(name, _)| *name == "tokens") {
                let key = CredentialKey::of_sign_in(&self.target.definition.slug, name);
                self.target.credentials.put(&key, value).await?;
            }
            view.authorize_url = None;
            return Ok(SignInStarted { view, outcome: None });
        }
        if request.device {
            let (sender, ended) = oneshot::channel();
            view.user_code = Some("CODE".to_owned());
            self.server.server().elsewhere.insert(state, sender);
            let gone = self.error("sign_in_expired");
            let outcome = Box::pin(async move { ended.await.unwrap_or(Err(gone)) });
            return Ok(SignInStarted { view, outcome: Some(outcome) });
        }
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(state, scopes);
        Ok(SignInStarted { view, outcome: None })
    }

    async fn complete(&self, callback: SignInCallback) -> Result<Grant, ConnectorError> {
        self.note("complete", &callback.state);
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&callback.state);
        let Some(scopes) = begun else { return Err(self.error("state_unknown")) };
        match callback.code {
            Some(code) if code.expose_secret() == GOOD_CODE => {
                Ok(self.server.issue(&self.target.definition.url, &scopes))
            }
            _ => Err(self.error("access_denied")),
        }
    }

    async fn reload(&self) {
        self.note("reload", "");
        *self.token.lock().await = None;
    }

    async fn sign_out(&self) -> Result<(), ConnectorError> {
        self.note("sign_out", "");
        if self.server.server().hangs_at_sign_out {
            std::future::pending::<()>().await;
        }
        if let Some(token) = self.current().await? {
            self.server.server().tokens.remove(token.expose_secret());
        }
        self.target.credentials.delete(&self.tokens_key()).await?;
        *self.token.lock().await = Some(None);
        Ok(())
    }
}
