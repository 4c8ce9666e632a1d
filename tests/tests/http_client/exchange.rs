//! The two users of the stack: a connection, and a single request of a sign-in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use connectors_core::authorizer::StaticHeaders;
use connectors_core::http::{HttpRequest, HttpResponse, HttpRules};
use connectors_core::transport::DialTarget;
use connectors_core::{Dialer, NetworkSettings, Trace, TransportError};
use connectors_http::{HttpDialer, HttpStack, Names};
use connectors_tests::deadline::soon;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http_transport::client::{call, definition};
use crate::http_transport::server::{Call, json as json_answer};

/// Knows no name at all, and asks nobody.
pub(super) struct NoNames;

#[async_trait]
impl Names for NoNames {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, "unknown"))
    }
}

/// One connector: its network, its trace, and files for it.
pub(super) struct Rig {
    pub(super) stack: HttpStack,
    pub(super) network: NetworkSettings,
    pub(super) trace: Trace,
    folder: TempDir,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::on(HttpStack::new())
    }

    pub(super) fn on(stack: HttpStack) -> Self {
        Self {
            stack,
            network: NetworkSettings::default(),
            trace: Trace::default(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Writes a file, and returns its path.
    pub(super) fn file(&self, name: &str, text: &str) -> Option<String> {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path.to_str().unwrap().to_owned())
    }

    /// Dials and calls `ping`, as a connection does.
    pub(super) async fn connect(&self, url: &str) -> Result<Value, TransportError> {
        let mut definition = definition(url);
        definition.network = self.network.clone();
        let target = DialTarget::new(
            Arc::new(definition),
            Arc::new(StaticHeaders::default()),
            Arc::default(),
            self.trace.clone(),
        );
        let transport = HttpDialer::on(&self.stack).dial(target).await?;
        call(&*transport, 1, "ping").await
    }

    /// Rules for requests on behalf of `server`.
    pub(super) fn rules(&self, server: &str) -> HttpRules {
        HttpRules {
            server: server.parse().unwrap(),
            network: Arc::new(self.network.clone()),
            max_body: 64 << 10,
            timeout: Duration::from_secs(30),
            follow_redirects: true,
        }
    }

    /// A single request on behalf of the server at the same place.
    pub(super) async fn get(&self, url: &str) -> Result<String, TransportError> {
        self.send(get(url), &self.rules(url)).await.map(|answer| text(&answer))
    }

    pub(super) async fn send(
        &self,
        request: HttpRequest,
        rules: &HttpRules,
    ) -> Result<HttpResponse, TransportError> {
        soon("an answer", self.stack.client().send(request, rules)).await
    }

    /// The steps of the trace, as outcome, code and what was seen.
    pub(super) fn steps(&self) -> Vec<(String, &'static str, String)> {
        let steps = self.trace.read().into_iter();
        steps.map(|step| (format!("{:?}", step.outcome), step.code, step.seen)).collect()
    }
}

pub(super) fn get(url: &str) -> HttpRequest {
    request(Method::GET, url, "")
}

pub(super) fn request(method: Method, url: &str, body: &'static str) -> HttpRequest {
    let builder = Request::builder().method(method).uri(url).header("authorization", "Bearer hidden");
    builder.body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// Status and body.
pub(super) fn text(answer: &HttpResponse) -> String {
    format!("{} {}", answer.status().as_u16(), String::from_utf8_lossy(answer.body()))
}

/// Answers a call of MCP with its id, and any other request with `yes`.
pub(super) async fn yes(call: Call) -> Response<axum::body::Body> {
    if call.text.is_empty() {
        return Response::new(axum::body::Body::from("yes"));
    }
    json_answer(&json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": "yes"}))
}

/// A port of this machine at which nothing listens.
pub(super) fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// The sentence of a refusal.
pub(super) fn refusal<T: std::fmt::Debug>(outcome: Result<T, TransportError>) -> String {
    match outcome {
        Err(TransportError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// The sentence of a connection that did not come about.
pub(super) fn unreachable<T: std::fmt::Debug>(outcome: Result<T, TransportError>) -> String {
    match outcome {
        Err(TransportError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}
