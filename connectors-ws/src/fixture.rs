//! What the unit tests share: a dispatcher whose connectors lead to a scripted server.

use std::sync::Arc;

use connectors_core::contract::scripted::{HTTP_LIKE, Reply, ScriptedDialer, ScriptedServer};
use connectors_core::gate::DenyConnectors;
use connectors_core::{ConfigStore, ConnectorManager, MemoryConfigStore, TransportError};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::{Dispatcher, ErrorObject, Session};

/// A dispatcher, its session, and the calls of the tool `wait` as they reach the server.
pub(crate) struct Fixture {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) session: Session,
    pub(crate) waiting: mpsc::UnboundedReceiver<oneshot::Sender<Value>>,
}

/// The tools of the server.
fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    json!([
        {"name": "echo", "description": "Repeats", "inputSchema": schema, "annotations": {"readOnlyHint": true}},
        {"name": "wait", "inputSchema": {"type": "object"}},
        {"name": "large", "inputSchema": {"type": "object"}},
    ])
}

impl Fixture {
    /// Over memory.
    pub(crate) async fn new() -> Self {
        Self::on(Arc::<MemoryConfigStore>::default()).await
    }

    /// With this manifest.
    pub(crate) async fn on(config: Arc<dyn ConfigStore>) -> Self {
        let (arrived, waiting) = mpsc::unbounded_channel();
        let server = ScriptedServer::new(HTTP_LIKE, move |method, params| match method {
            "server/discover" => Reply::Result(json!({
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "scripted", "version": "1"}
            })),
            "tools/list" => Reply::Result(json!({"tools": tools()})),
            "tools/call" if params["name"] == "echo" => Reply::Result(json!({
                "content": [{"type": "text", "text": params["arguments"]["text"]}], "extra": [1.0]
            })),
            "tools/call" if params["name"] == "large" => {
                Reply::Result(json!({"content": [], "structuredContent": "x".repeat(crate::MAX_FRAME)}))
            }
            "tools/call" => {
                let (answer, answered) = oneshot::channel();
                arrived.send(answer).unwrap();
                Reply::Later(Box::pin(async move { answered.await.unwrap() }))
            }
            _ => Reply::Error(-32601, "Method not found"),
        });
        let dialer = ScriptedDialer(move |definition: &connectors_core::ConnectorDefinition| {
            if definition.url.contains("nowhere") {
                return Err(TransportError::Unreachable {
                    reason: "nobody listens".to_owned(),
                    source: None,
                });
            }
            Ok(Arc::clone(&server))
        });
        let policy = Arc::new(DenyConnectors::default());
        let manager = ConnectorManager::builder()
            .with_config(config)
            .with_dialer(Arc::new(dialer))
            .with_gate(Arc::<DenyConnectors>::clone(&policy))
            .start()
            .await;
        let (session, _) = Session::open();
        Self { dispatcher: Dispatcher::new(manager, policy), session, waiting }
    }

    /// With a connector `one` whose tools are all enabled.
    pub(crate) async fn with_tools() -> Self {
        let fixture = Self::new().await;
        fixture.must("connectors.add", json!({"name": "One", "url": "http://one"})).await;
        let params = json!({"slug": "one", "tools": ["echo", "wait", "large"]});
        assert_eq!(fixture.must("connectors.enable_tools", params).await, json!({"enabled": 3}));
        fixture
    }

    /// Calls a method.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Box<RawValue>, ErrorObject> {
        let params = to_raw_value(&params).unwrap();
        self.dispatcher.dispatch(&self.session, method, Some(&params)).await
    }

    /// The result of a call that succeeds.
    pub(crate) async fn must(&self, method: &str, params: Value) -> Value {
        serde_json::from_str(self.call(method, params).await.unwrap().get()).unwrap()
    }

    /// Code and message of a call that fails.
    pub(crate) async fn must_fail(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.call(method, params).await.unwrap_err();
        (error.code, error.message)
    }
}
