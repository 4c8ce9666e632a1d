//! The side of `car-server`: connectors in its runtimes and on its WebSocket. docs/embedding-in-car.md shows it.

use std::sync::Arc;

use car_engine::{Runtime, ToolExecutor};
use connectors_core::car::CarBridge;
use connectors_core::{ConnectorManager, Slug, gate::DenyConnectors};
use connectors_ws::{Dispatcher, ErrorObject, SecretsChoice, Session, compose};
use serde_json::value::RawValue;

/// Once, at boot: the user's connectors, dialled behind this.
async fn boot() -> Result<(Dispatcher, CarBridge), compose::StartError> {
    let dispatcher = compose::start(SecretsChoice::Auto).await?;
    let bridge = CarBridge::new(dispatcher.manager().clone()).await;
    Ok((dispatcher, bridge))
}

/// For every runtime: its tools follow the connectors from here on, and its actions reach them. What no connector has goes to
/// `callback`, the host's own executor.
async fn attach(bridge: &CarBridge, runtime: &Runtime, callback: Arc<dyn ToolExecutor>) {
    bridge.attach(runtime).await;
    let executor = bridge.executor(runtime).with_fallback(callback);
    runtime.set_executor(Arc::new(executor)).await;
}

/// For a rule from a policy file, on one runtime.
async fn deny(bridge: &CarBridge, runtime: &Runtime, rule: &str, connector: Slug) {
    bridge.deny_connector(runtime, rule, connector).await;
}

/// For every request of a WebSocket connection that begins with `connectors.`: the connection keeps one session.
async fn answer(
    dispatcher: &Dispatcher,
    session: &Session,
    method: &str,
    params: Option<&RawValue>,
) -> Result<Box<RawValue>, ErrorObject> {
    dispatcher.dispatch(session, method, params).await
}

/// A host that puts the manager together itself: its own stores, gates and wires.
async fn own_manager() -> Dispatcher {
    let policy = Arc::new(DenyConnectors::default());
    let manager = ConnectorManager::builder()
        .with_dialer(Arc::new(connectors_http::HttpDialer::new()))
        .with_gate(Arc::<DenyConnectors>::clone(&policy))
        .start()
        .await;
    Dispatcher::new(manager, policy)
}

struct NoTools;

#[async_trait::async_trait]
impl ToolExecutor for NoTools {
    async fn execute(&self, tool: &str, _: &serde_json::Value) -> Result<serde_json::Value, String> {
        Err(format!("unknown tool: {tool}"))
    }
}

#[tokio::main]
async fn main() -> Result<(), compose::StartError> {
    let (dispatcher, bridge) = boot().await?;
    let runtime = Runtime::new();
    attach(&bridge, &runtime, Arc::new(NoTools)).await;
    deny(&bridge, &runtime, "no-files", Slug::from_name("fs")).await;
    let (session, _notifications) = Session::open();
    let answered = answer(&dispatcher, &session, "connectors.list", None).await;
    tracing::info!(
        ok = answered.is_ok(),
        tools = runtime.tool_schemas().await.len(),
        "connectors are attached"
    );
    own_manager().await.manager().shutdown().await;
    dispatcher.manager().shutdown().await;
    Ok(())
}
