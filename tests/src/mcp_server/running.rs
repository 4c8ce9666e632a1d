//! A server at work, and the handle that a test holds.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::faults::{Fault, Stage};
use super::http::Http;
use super::record::{Record, Seen, SeenRequest};
use super::script::Script;
use super::tool::Tool;
use crate::listener::{Listener, Service};
use crate::port::Port;

/// A running server. Dropping it stops it; that panics if it had died before.
#[derive(Debug)]
pub struct McpServer {
    listener: Listener,
    http: Arc<Http>,
}

impl Script {
    /// Starts a server that follows this script, on a port of its own.
    pub fn start(self) -> McpServer {
        self.start_on(&Port::reserve())
    }

    /// Starts a server on a port that was reserved for it, or that another had before.
    pub fn start_on(self, port: &Port) -> McpServer {
        if let Some(guard) = &self.guard {
            guard.placed_at(port);
        }
        let http = Arc::new(Http::new(Engine::new(self), Record::default()));
        McpServer { listener: Listener::start("MCP server", Arc::clone(&http), port), http }
    }
}

impl McpServer {
    /// The URL of its MCP endpoint.
    pub fn url(&self) -> String {
        self.listener.port().url()
    }

    /// What it has seen.
    pub fn record(&self) -> &Record {
        &self.http.record
    }

    /// A copy of what it has seen so far.
    pub fn seen(&self) -> Seen {
        self.record().look(Clone::clone)
    }

    /// The `tools/call` requests so far.
    pub fn calls(&self) -> Vec<SeenRequest> {
        self.record().look(|seen| seen.of("tools/call"))
    }

    /// Waits until it has seen a request of `method`.
    pub async fn request_seen(&self, method: &str) -> SeenRequest {
        let what = format!("a {method} request");
        self.record().wait_for(&what, |seen| seen.of(method).into_iter().next()).await
    }

    /// Replaces its tools, and tells whoever listens.
    pub fn set_tools(&self, tools: impl IntoIterator<Item = Tool>) {
        self.http.engine.set_tools(tools.into_iter().collect());
    }

    /// From now on does wrong at `stage`, before any other fault.
    pub fn break_at(&self, stage: Stage, fault: Fault) {
        self.http.faults.lock().expect("no panic with the lock").insert(0, (stage, fault));
    }

    /// From now on does nothing wrong.
    pub fn repair(&self) {
        self.http.faults.lock().expect("no panic with the lock").clear();
    }

    /// Forgets every session, as if it had been restarted.
    pub fn forget_sessions(&self) {
        self.http.forget_sessions();
    }

    /// Cuts every open connection.
    pub fn cut_connections(&self) {
        self.listener.cut_connections();
    }

    /// Stops it: connections are cut, and its port refuses new ones, until another server is started on it.
    pub fn stop(self) -> Port {
        self.listener.stop()
    }
}

impl Service for Http {
    async fn handle(self: Arc<Self>, request: Request<Body>, cut: CancellationToken) -> Response<Body> {
        Self::handle(self, request, cut).await
    }

    fn opened(&self) {
        self.record.note(|seen| {
            seen.connections += 1;
            seen.open_connections += 1;
        });
    }

    fn closed(&self) {
        self.record.note(|seen| seen.open_connections -= 1);
    }
}
