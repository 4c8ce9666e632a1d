//! One MCP conversation over any [`Transport`].
//!
//! Written once for every wire: version negotiation, ids, paging, progress, cancellation, requests for input and change
//! notifications. Nothing here takes a lock across an await on the way of a call, and a call is polled by its caller:
//! there is no task between it and the wire.

mod agreement;
mod call;
mod cancel;
mod encode;
mod failure;
mod features;
mod incoming;
mod interactive;
mod negotiate;
mod options;
mod pages;
mod paging;
mod request;
mod subscription;
mod watching;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use self::agreement::Agreement;
pub use self::failure::ConnectFailure;
pub use self::options::{ClientOptions, ClientSignal, EraChoice};
use crate::connector::{Connector, Progress, SessionInfo, ToolCall, ToolOutcome};
use crate::error::ConnectorError;
use crate::feature::{CompletionRequest, Prompt, Resource, ResourceTemplate, ServerResult};
use crate::skills::Skill;
use crate::tool::ToolCatalog;
use crate::transport::{Traits, Transport};

/// Progress notifications of one call that may wait to be read; more are dropped, the newest first.
const PROGRESS_BACKLOG: usize = 64;

/// A connected MCP server: implements [`Connector`] over any [`Transport`].
pub struct McpClient {
    inner: Arc<Inner>,
    listener: AbortHandle,
}

struct Inner {
    options: ClientOptions,
    transport: Arc<dyn Transport>,
    traits: Traits,
    /// `input.capabilities()`, asked for once.
    capabilities: Value,
    /// Both of them, as requests carry them.
    meta: encode::ClientMeta,
    session: ArcSwap<SessionInfo>,
    /// How many sessions have been opened.
    opened: AtomicU64,
    /// Held while a session is opened again, so that it is done once for all callers.
    reopening: tokio::sync::Mutex<()>,
    next_id: AtomicI64,
    /// Where progress goes that arrives outside the reply stream of its call, by token.
    progress: Mutex<HashMap<i64, mpsc::Sender<Progress>>>,
    /// The resources whose changes are wanted.
    watched: watching::Watched,
    /// What of it the server announces (modern era).
    agreement: Agreement,
    /// What the user has to visit before the server does what it is asked.
    pages: pages::Pages,
    signals: mpsc::Sender<ClientSignal>,
    /// How many requests of the server's own wait for an answer: a call is not silent while one does.
    asking: Arc<AtomicUsize>,
    /// Answers to the server's own requests that are under way.
    answering: Mutex<JoinSet<()>>,
}

impl McpClient {
    /// Negotiates a version with the server behind `transport` (DESIGN: modern first, legacy on a clean "not
    /// supported") and starts listening to it.
    ///
    /// Returns the client and what it will tell its owner. Bounded by [`Limits::handshake`](crate::Limits::handshake).
    /// Dropping the future gives the attempt up; the transport is then still open.
    pub async fn connect(
        transport: Arc<dyn Transport>,
        options: ClientOptions,
    ) -> Result<(Self, mpsc::Receiver<ClientSignal>), ConnectFailure> {
        let (signals, receiver) = mpsc::channel(options::SIGNAL_BACKLOG);
        let limit = options.limits.handshake;
        let capabilities = options.input.capabilities();
        let inner = Arc::new(Inner {
            traits: transport.traits(),
            meta: encode::ClientMeta::new(&options.info, &capabilities),
            capabilities,
            session: ArcSwap::from_pointee(negotiate::not_yet()),
            reopening: tokio::sync::Mutex::new(()),
            opened: AtomicU64::new(0),
            next_id: AtomicI64::new(1),
            progress: Mutex::default(),
            watched: watching::Watched::default(),
            agreement: Agreement::default(),
            pages: pages::Pages::default(),
            asking: Arc::default(),
            answering: Mutex::default(),
            options,
            transport,
            signals,
        });
        let negotiated = tokio::time::timeout(limit, inner.negotiate()).await;
        negotiated.unwrap_or_else(|_| Err(ConnectFailure::timed_out(&inner.options.slug, limit)))?;
        let listener = tokio::spawn(Arc::clone(&inner).listen()).abort_handle();
        Ok((Self { inner, listener }, receiver))
    }
}

#[async_trait]
impl Connector for McpClient {
    fn session(&self) -> Arc<SessionInfo> {
        self.inner.session.load_full()
    }

    async fn list_tools(&self) -> Result<ToolCatalog, ConnectorError> {
        self.inner.list_tools().await
    }

    async fn call_tool(&self, call: ToolCall) -> Result<ToolOutcome, ConnectorError> {
        self.inner.call_tool(&call).await
    }

    async fn list_resources(&self) -> Result<Vec<Resource>, ConnectorError> {
        self.inner.list().await
    }

    async fn list_resource_templates(&self) -> Result<Vec<ResourceTemplate>, ConnectorError> {
        self.inner.list().await
    }

    async fn read_resource(&self, uri: &str) -> Result<ServerResult, ConnectorError> {
        self.inner.read_resource(uri).await
    }

    async fn subscribe_resource(&self, uri: &str) -> Result<(), ConnectorError> {
        self.inner.watch_resource(uri).await
    }

    async fn unsubscribe_resource(&self, uri: &str) -> Result<(), ConnectorError> {
        self.inner.unwatch_resource(uri).await
    }

    async fn list_prompts(&self) -> Result<Vec<Prompt>, ConnectorError> {
        self.inner.list().await
    }

    async fn get_prompt(
        &self,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<ServerResult, ConnectorError> {
        self.inner.get_prompt(name, &arguments).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<ServerResult, ConnectorError> {
        self.inner.complete(&request).await
    }

    async fn list_skills(&self) -> Result<Vec<Skill>, ConnectorError> {
        self.inner.list().await
    }

    async fn ping(&self) -> Result<(), ConnectorError> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.stop();
        self.inner.transport.close().await;
    }
}

impl McpClient {
    /// As [`Connector::call_tool`], for a caller that may have to send the call again. Boxed as that is: it is large.
    pub(crate) fn call<'a>(
        &'a self,
        call: &'a ToolCall,
    ) -> BoxFuture<'a, Result<ToolOutcome, ConnectorError>> {
        Box::pin(self.inner.call_tool(call))
    }

    /// Waits until changes of the tools are announced, where the server can, but no longer than `patience`.
    pub(crate) async fn tools_announced(&self, patience: Duration) {
        self.inner.tools_announced(patience).await;
    }

    fn stop(&self) {
        self.listener.abort();
        self.inner.answering().abort_all();
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn next_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<i64, mpsc::Sender<Progress>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
