//! A host of the library with runtimes.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{
    Action, ActionProposal, ActionType, McpToolExecutor, ProposalResult, Runtime, ToolExecutor, ToolSchema,
};
use car_ir::{ActionResult, ActionStatus, FailureBehavior};
use connectors_core::car::CarBridge;
use connectors_core::gate::DenyConnectors;
use connectors_core::manager::NewConnector;
use connectors_core::{ConnectorManager, Slug, StateName};
use connectors_http::HttpDialer;
use connectors_tests::McpServer;
use connectors_tests::deadline::poll;
use serde_json::{Value, json};

/// A manager and a bridge to it.
pub(crate) struct Host {
    pub(crate) manager: ConnectorManager,
    pub(crate) bridge: CarBridge,
    /// What only the manager holds: one of its gates.
    pub(crate) kept: Weak<DenyConnectors>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let gate = Arc::new(DenyConnectors::default());
        let kept = Arc::downgrade(&gate);
        let manager = ConnectorManager::builder()
            .with_dialer(Arc::new(HttpDialer::new()))
            .with_gate(gate)
            .start()
            .await;
        Self { bridge: CarBridge::new(manager.clone()).await, manager, kept }
    }

    /// Drops the manager and the bridge, and waits until nothing of the manager is left.
    pub(crate) async fn end(self) {
        let kept = self.kept;
        drop((self.manager, self.bridge));
        poll("the manager to end", async || (kept.strong_count() == 0).then_some(())).await;
    }

    /// A connector to this server, with these tools enabled.
    pub(crate) async fn add(&self, name: &str, server: &McpServer, tools: &[&str]) -> Slug {
        let status = self.manager.add(NewConnector::http(name, server.url(), Vec::new())).await.unwrap();
        assert_eq!((status.state, status.last_error), (StateName::Ready, None));
        self.enable(&status.slug, tools).await;
        status.slug
    }

    pub(crate) async fn enable(&self, slug: &Slug, tools: &[&str]) {
        self.manager.enable_tools(slug, &strings(tools)).await.unwrap();
    }

    pub(crate) async fn disable(&self, slug: &Slug, tools: &[&str]) {
        self.manager.disable_tools(slug, &strings(tools)).await.unwrap();
    }

    /// A runtime with the connectors' tools, and a log that is chained by hashes.
    pub(crate) async fn runtime(&self) -> Arc<Runtime> {
        let runtime = Runtime::new();
        runtime.enable_event_log_hash_chaining().await;
        runtime.set_executor(Arc::new(self.bridge.executor(&runtime))).await;
        self.bridge.attach(&runtime).await;
        Arc::new(runtime)
    }

    /// As [`runtime`](Self::runtime), with an executor of the engine's, and the host's own behind it.
    pub(crate) async fn runtime_on(&self, engines: &McpToolExecutor) -> Arc<Runtime> {
        let runtime = Runtime::new();
        runtime.set_executor(Arc::new(engines.share_with_fallback(Arc::new(Own)))).await;
        self.bridge.attach(&runtime).await;
        Arc::new(runtime)
    }

    /// The model-visible names of what has a route.
    pub(crate) fn routed(&self) -> BTreeSet<String> {
        self.manager.routes().iter().map(|route| route.canonical.to_string()).collect()
    }
}

/// Runs the host's own tools, and says so.
pub(crate) struct Own;

#[async_trait]
impl ToolExecutor for Own {
    async fn execute(&self, tool: &str, _: &Value) -> Result<Value, String> {
        Ok(json!(format!("the host ran {tool}")))
    }
}

/// A tool of the host's own.
pub(crate) fn schema(tool: &str) -> ToolSchema {
    serde_json::from_value(json!({"name": tool, "parameters": {"type": "object"}})).unwrap()
}

pub(crate) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What a runtime lists: in its registry, and to models.
pub(crate) async fn listed(runtime: &Runtime) -> (BTreeSet<String>, BTreeSet<String>) {
    let registered = runtime.registry.names().await.into_iter().collect();
    let shown = runtime.tool_schemas().await.into_iter().map(|schema| schema.name).collect();
    (registered, shown)
}

pub(crate) fn action(id: &str, tool: &str, arguments: Value) -> Action {
    let mut action = Action::new(ActionType::ToolCall);
    action.id = id.to_owned();
    action.tool = Some(tool.to_owned());
    action.parameters = arguments.as_object().unwrap().clone().into_iter().collect();
    action
}

pub(crate) fn proposal(mut actions: Vec<Action>) -> ActionProposal {
    if actions.len() > 1 {
        // Actions that abort their proposal when they fail run one after the other.
        actions.iter_mut().for_each(|action| action.failure_behavior = FailureBehavior::Skip);
    }
    let proposal = json!({"source": "test", "actions": actions});
    serde_json::from_value(proposal).unwrap()
}

/// Runs a proposal, in a future of ordinary size.
pub(crate) async fn execute(runtime: &Runtime, proposal: &ActionProposal) -> ProposalResult {
    Box::pin(runtime.execute(proposal)).await
}

/// Runs one action.
pub(crate) async fn run(runtime: &Runtime, action: Action) -> ActionResult {
    let mut result = execute(runtime, &proposal(vec![action])).await;
    assert_eq!(result.results.len(), 1);
    result.results.remove(0)
}

/// Runs a call that must succeed and returns its output.
pub(crate) async fn output(runtime: &Runtime, tool: &str, arguments: Value) -> Value {
    let result = run(runtime, action("a", tool, arguments)).await;
    assert_eq!((&result.status, &result.error), (&ActionStatus::Succeeded, &None));
    result.output.unwrap()
}

/// Runs a call that must fail and returns how, and why.
pub(crate) async fn error(runtime: &Runtime, tool: &str, arguments: Value) -> (ActionStatus, String) {
    let result = run(runtime, action("a", tool, arguments)).await;
    (result.status, result.error.unwrap_or_default())
}
