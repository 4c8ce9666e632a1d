//! The manager over scripted servers, memory stores and paused time.

mod adding;
mod adding_at_once;
mod calling;
mod changing_at_once;
mod choosing;
mod dying;
mod environment;
mod explaining;
mod gating;
mod importing;
mod late;
mod lifecycle;
mod observing;
mod proposals_changing;
mod proposals_elsewhere;
mod proposals_hanging;
mod proposals_secrets;
mod proposing;
mod protecting;
mod reloading;
mod signing_in;
mod signing_in_elsewhere;
mod signing_in_first;
mod signing_out;
mod staging;
mod step_up;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{ConnectorManager, ManagerBuilder, NewConnector};
use crate::contract::scripted::{HTTP_LIKE, Reply, ScriptedDialer, ScriptedServer};
use crate::contract::sign_in::{GOOD_CODE, GuardedDialer, ScriptedProvider, ScriptedSignIn};
use crate::error::TransportError;
use crate::events::{ConnectorEvent, EventKind};
use crate::memory::{MemoryConfigStore, MemoryCredentialStore};
use crate::names::Slug;
use crate::sign_in::{SignInCallback, SignInRequest, SignInView};
use crate::store::{CredentialKey, CredentialStore};

/// A modern server whose tools can be changed.
struct Tools {
    server: Arc<ScriptedServer>,
    tools: Arc<Mutex<Value>>,
}

impl Tools {
    fn new(names: &[&str]) -> Self {
        let tools = Arc::new(Mutex::new(named(names)));
        let listed = Arc::clone(&tools);
        let server = ScriptedServer::new(HTTP_LIKE, move |method, params| match method {
            "server/discover" => {
                Reply::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}}))
            }
            "tools/list" => Reply::Result(json!({"tools": *listed.lock().unwrap()})),
            "tools/call" if params["name"] == "hang" => Reply::Never,
            "tools/call" => Reply::Result(json!({"content": [{"type": "text", "text": params["name"]}]})),
            _ => Reply::Error(-32601, "Method not found"),
        });
        Self { server, tools }
    }

    fn set(&self, tools: Value) {
        *self.tools.lock().unwrap() = tools;
    }
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect()
}

/// A host whose connectors lead to the server that `servers` has under their URL.
struct Host {
    config: Arc<MemoryConfigStore>,
    credentials: Arc<MemoryCredentialStore>,
    servers: Arc<Mutex<Servers>>,
}

/// Servers by URL; of two with one URL the later counts.
type Servers = Vec<(String, Arc<ScriptedServer>)>;

impl Host {
    fn new() -> Self {
        Self { config: Arc::default(), credentials: Arc::default(), servers: Arc::default() }
    }

    fn serve(&self, url: &str, server: &Arc<ScriptedServer>) {
        self.servers.lock().unwrap().push((url.to_owned(), Arc::clone(server)));
    }

    fn builder(&self) -> ManagerBuilder {
        self.without_dialer().with_dialer(Arc::new(self.dialer()))
    }

    /// For servers that want a token of `sign_in`.
    fn guarded(&self, sign_in: &Arc<ScriptedSignIn>) -> ManagerBuilder {
        self.without_dialer()
            .with_dialer(Arc::new(GuardedDialer::new(self.dialer(), Arc::clone(sign_in))))
            .with_sign_in(Arc::new(ScriptedProvider(Arc::clone(sign_in))))
    }

    fn dialer(&self) -> impl crate::Dialer + use<> {
        let servers = Arc::clone(&self.servers);
        ScriptedDialer(move |definition: &crate::ConnectorDefinition| {
            let servers = servers.lock().unwrap();
            let found = servers.iter().rev().find(|(url, _)| *url == definition.url);
            found.map(|(_, server)| Arc::clone(server)).ok_or_else(|| TransportError::Unreachable {
                reason: format!("nothing listens at {}", definition.url),
                source: None,
            })
        })
    }

    /// A dialer that gets through once it is told to.
    fn slow_dialer(&self) -> (tokio::sync::watch::Sender<bool>, Slow<impl crate::Dialer + use<>>) {
        let (connect, may_connect) = tokio::sync::watch::channel(false);
        (connect, Slow { dialer: self.dialer(), may_connect })
    }

    fn without_dialer(&self) -> ManagerBuilder {
        let (config, credentials) = (Arc::clone(&self.config), Arc::clone(&self.credentials));
        ConnectorManager::builder().with_config(config).with_credentials(credentials)
    }

    async fn start(&self) -> ConnectorManager {
        self.builder().start().await
    }
}

struct Slow<D> {
    dialer: D,
    may_connect: tokio::sync::watch::Receiver<bool>,
}

#[async_trait::async_trait]
impl<D: crate::Dialer> crate::Dialer for Slow<D> {
    fn serves(&self, definition: &crate::ConnectorDefinition) -> bool {
        self.dialer.serves(definition)
    }

    fn check(
        &self,
        definition: &crate::ConnectorDefinition,
    ) -> Result<(), crate::transport::InvalidDefinition> {
        self.dialer.check(definition)
    }

    async fn dial(
        &self,
        target: crate::transport::DialTarget,
    ) -> Result<Arc<dyn crate::transport::Transport>, TransportError> {
        let _ = self.may_connect.clone().wait_for(|may| *may).await;
        self.dialer.dial(target).await
    }
}

/// A manager with one connector `one` whose server has these tools.
async fn with_tools(names: &[&str]) -> (ConnectorManager, Tools, Host, Slug) {
    let (host, tools) = (Host::new(), Tools::new(names));
    host.serve("http://one", &tools.server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert!(status.connected, "{:?}", status.last_error);
    (manager, tools, host, status.slug)
}

/// A manager with one connector `one`, in want of a sign-in, whose server has these tools.
async fn unsigned(names: &[&str]) -> (ConnectorManager, Tools, Host, Arc<ScriptedSignIn>, Slug) {
    let (host, tools, sign_in) = (Host::new(), Tools::new(names), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    let manager = host.guarded(&sign_in).start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    assert_eq!(sign_in.journal(), ["open one"]);
    (manager, tools, host, sign_in, slug)
}

/// The same, signed in to.
async fn signed_in(names: &[&str]) -> (ConnectorManager, Tools, Host, Arc<ScriptedSignIn>, Slug) {
    let (manager, tools, host, sign_in, slug) = unsigned(names).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    assert!(manager.complete_sign_in(agreed(&view)).await.unwrap().connected);
    manager.enable_tools(&slug, &strings(names)).await.unwrap();
    sign_in.journal();
    (manager, tools, host, sign_in, slug)
}

/// The browser comes back: the user has agreed.
fn agreed(view: &SignInView) -> SignInCallback {
    SignInCallback { state: view.state.clone(), code: Some(GOOD_CODE.into()), ..SignInCallback::default() }
}

/// The browser comes back without a code that is any good.
fn declined(view: &SignInView) -> SignInCallback {
    SignInCallback { code: None, ..agreed(view) }
}

type Events = tokio::sync::broadcast::Receiver<Arc<ConnectorEvent>>;

/// What was announced of signing in so far: for each, whether it is wanted, and the scopes.
fn sign_in_events(events: &mut Events) -> Vec<(bool, String)> {
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::SignIn { wanted, scopes, .. } = &event.kind {
            seen.push((*wanted, scopes.join(" ")));
        }
    }
    seen
}

impl Host {
    /// The secrets of a connector, as `name=value`, sorted.
    async fn secrets(&self, slug: &Slug) -> Vec<String> {
        use secrecy::ExposeSecret;
        let mut seen = Vec::new();
        for key in self.credentials.list(slug).await.unwrap() {
            let value = self.credentials.get(&key).await.unwrap().unwrap();
            seen.push(format!("{}={}", key.name(), value.expose_secret()));
        }
        seen.sort();
        seen
    }

    async fn put(&self, slug: &Slug, name: &str, value: &str) {
        self.credentials.put(&CredentialKey::header(slug, name), &value.to_owned().into()).await.unwrap();
    }
}

/// Lets every task that can go on do so.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
