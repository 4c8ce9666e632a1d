//! A host in this process, and a connector of it that is signed in.

use std::sync::Arc;

use connectors_core::manager::{CallRequest, CallResult, NewConnector};
use connectors_core::sign_in::{SignInCallback, SignInRequest, SignInView};
use connectors_core::trace::StepOutcome;
use connectors_core::{
    ConfigStore, ConnectorError, ConnectorManager, ConnectorStatus, CredentialKey, CredentialStore,
    MemoryConfigStore, MemoryCredentialStore, Slug, StateName, TraceStep,
};
use connectors_http::{HttpDialer, HttpStack};
use connectors_oauth::OAuthProvider;
use connectors_tests::deadline::{poll, soon};
use connectors_tests::oauth::{CallbackParams, Endpoint, GuardSetup, Rig, Setup, follow};
use connectors_tests::{McpServer, Script, Tool};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(super) const REDIRECT: &str = "http://127.0.0.1:7777/callback";

/// A host as others compose it, with stores that forget.
pub(super) struct Host {
    pub(super) manager: ConnectorManager,
    pub(super) config: Arc<MemoryConfigStore>,
    pub(super) credentials: Arc<MemoryCredentialStore>,
}

impl Host {
    pub(super) async fn start() -> Self {
        let http = HttpStack::new();
        let (config, credentials) =
            (Arc::<MemoryConfigStore>::default(), Arc::<MemoryCredentialStore>::default());
        let manager = ConnectorManager::builder()
            .with_config(Arc::clone(&config) as _)
            .with_credentials(Arc::clone(&credentials) as _)
            .with_dialer(Arc::new(HttpDialer::on(&http)))
            .with_sign_in(Arc::new(OAuthProvider::new(http.client())))
            .start()
            .await;
        Self { manager, config, credentials }
    }

    /// Adds a server that wants a sign-in.
    pub(super) async fn add(&self, name: &str, server: &McpServer) -> Slug {
        let new = NewConnector::http(name, server.url(), Vec::new());
        let status = soon("the connector", self.manager.add(new)).await.expect("a connector");
        assert_eq!(status.state, StateName::NeedsSignIn, "{:?}", status.last_error);
        status.slug
    }

    pub(super) async fn begin(&self, slug: &Slug) -> Result<SignInView, ConnectorError> {
        self.begin_with(slug, with_redirect(REDIRECT)).await
    }

    pub(super) async fn begin_with(
        &self,
        slug: &Slug,
        request: SignInRequest,
    ) -> Result<SignInView, ConnectorError> {
        soon("the beginning of a sign-in", self.manager.sign_in(slug, request)).await
    }

    pub(super) async fn complete(&self, came: &CallbackParams) -> Result<ConnectorStatus, ConnectorError> {
        soon("the end of a sign-in", self.manager.complete_sign_in(callback(&came.url))).await
    }

    /// A whole sign-in with a user who does what the page says.
    pub(super) async fn sign_in(&self, slug: &Slug) -> Result<ConnectorStatus, ConnectorError> {
        let view = self.begin(slug).await?;
        self.complete(&follow(&page(&view)).await).await
    }

    pub(super) async fn signed_in(&self, slug: &Slug) {
        let status = self.sign_in(slug).await.expect("a sign-in");
        assert_eq!((status.state, status.last_error), (StateName::Ready, None));
    }

    /// Calls `echo`, and returns what it says.
    pub(super) async fn echo(&self, slug: &Slug) -> Result<String, ConnectorError> {
        self.manager.enable_tools(slug, &["echo".to_owned()]).await.expect("a selection");
        let call = CallRequest::new(slug.clone(), "echo", json!({"text": "hello"}));
        let result = soon("a call", self.manager.call_tool(call)).await?;
        let result: Value = serde_json::from_str(result.outcome.raw().get()).expect("JSON");
        Ok(result["content"][0]["text"].as_str().expect("a text").to_owned())
    }

    /// Calls `echo`, which is enabled, on a task of its own.
    pub(super) fn begin_call(
        &self,
        slug: &Slug,
        text: &str,
    ) -> JoinHandle<Result<CallResult, ConnectorError>> {
        let manager = self.manager.clone();
        let call = CallRequest::new(slug.clone(), "echo", json!({"text": text}));
        tokio::spawn(async move { manager.call_tool(call).await })
    }

    /// Waits until calls ask for more than was granted.
    pub(super) async fn wants_more(&self, slug: &Slug) {
        poll("the wish for more", || async { (!self.status(slug).sign_in_scopes.is_empty()).then_some(()) })
            .await;
    }

    pub(super) fn status(&self, slug: &Slug) -> ConnectorStatus {
        self.manager.status(slug).expect("a connector")
    }

    /// Waits until a connector is in this state.
    pub(super) async fn comes_to(&self, slug: &Slug, state: StateName) -> ConnectorStatus {
        poll(&format!("{slug} to be {state:?}"), || async {
            Some(self.status(slug)).filter(|status| status.state == state)
        })
        .await
    }

    pub(super) fn steps(&self, slug: &Slug) -> Vec<TraceStep> {
        self.manager.explain(slug).expect("a connector")
    }

    pub(super) fn codes(&self, slug: &Slug) -> Vec<&'static str> {
        self.steps(slug).iter().map(|step| step.code).collect()
    }

    /// The failed steps with this code.
    pub(super) fn failed(&self, slug: &Slug, code: &str) -> Vec<TraceStep> {
        let is_it = |step: &TraceStep| step.outcome == StepOutcome::Failed && step.code == code;
        self.steps(slug).into_iter().filter(is_it).collect()
    }

    pub(super) async fn secret(&self, key: &CredentialKey) -> Option<String> {
        let value = self.credentials.get(key).await.expect("a store of memory");
        value.map(|value| value.expose_secret().to_owned())
    }

    /// The stored tokens.
    pub(super) async fn tokens(&self, slug: &Slug) -> Option<Value> {
        let stored = self.secret(&CredentialKey::tokens(slug)).await?;
        Some(serde_json::from_str(&stored).expect("JSON"))
    }

    /// Changes the stored tokens, and takes them into use.
    pub(super) async fn edit_tokens(&self, slug: &Slug, change: impl FnOnce(&mut Value)) {
        let mut tokens = self.tokens(slug).await.expect("tokens");
        change(&mut tokens);
        let value = SecretString::from(tokens.to_string());
        self.credentials.put(&CredentialKey::tokens(slug), &value).await.expect("a store of memory");
        let status = soon("a new connection", self.manager.reconnect(slug)).await.expect("a status");
        assert_eq!(status.state, StateName::Ready, "{:?}", status.last_error);
    }

    /// The manifest, as it is written.
    pub(super) async fn manifest(&self) -> String {
        serde_json::to_string(&self.config.load().await.expect("a store of memory")).expect("JSON")
    }
}

/// A connector that is signed in, and the servers that it was signed in to.
pub(super) struct Signed {
    pub(super) host: Host,
    pub(super) rig: Rig,
    pub(super) slug: Slug,
}

impl Signed {
    pub(super) async fn new(guard: GuardSetup, setup: Setup) -> Self {
        Self::to(modern(), guard, setup).await
    }

    pub(super) async fn to(script: Script, guard: GuardSetup, setup: Setup) -> Self {
        let rig = Rig::start(script, guard, setup);
        let host = Host::start().await;
        let slug = host.add("Server", &rig.mcp).await;
        host.signed_in(&slug).await;
        Self { host, rig, slug }
    }

    pub(super) async fn echo(&self) -> Result<String, ConnectorError> {
        self.host.echo(&self.slug).await
    }

    pub(super) async fn echoes(&self) {
        assert_eq!(self.echo().await.expect("an answer"), "hello");
    }

    /// `grant_type` of each token request so far.
    pub(super) fn grants(&self) -> Vec<String> {
        let asked = self.rig.server.requests_to(Endpoint::Token);
        asked.iter().map(|asked| asked.parameter("grant_type").to_owned()).collect()
    }
}

pub(super) fn modern() -> Script {
    Script::modern().with_tools([Tool::echo()])
}

pub(super) fn with_redirect(uri: &str) -> SignInRequest {
    let mut request = SignInRequest::default();
    request.redirect_uri = Some(uri.to_owned());
    request
}

pub(super) fn page(view: &SignInView) -> String {
    view.authorize_url.clone().expect("a page for the user")
}

pub(super) fn callback(url: &str) -> SignInCallback {
    SignInCallback::from_url(url).expect("an address with a state")
}

/// The field of an [`ConnectorError::Invalid`]; empty for any other.
pub(super) fn invalid_field(error: &ConnectorError) -> &'static str {
    match error {
        ConnectorError::Invalid(invalid) => invalid.field,
        _ => "",
    }
}
