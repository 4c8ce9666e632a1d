//! The side of `car-server`: connectors in its runtimes and on its WebSocket. docs/embedding-in-car.md shows it.

use std::sync::Arc;

use car_engine::{Runtime, ToolExecutor};
use connectors_core::car::CarBridge;
use connectors_core::{ConnectorManager, Slug, gate::DenyConnectors};
use connectors_ws::car::Governance;
use connectors_ws::{Dispatcher, ErrorObject, SecretsChoice, Session, compose};
use serde_json::value::RawValue;

/// Once, at boot: the user's connectors, dialled behind this. Calls over the WebSocket go through `runtime` too: its rules hold for
/// them, and its event log holds them.
async fn boot(
    runtime: &Arc<Runtime>,
    callback: Arc<dyn ToolExecutor>,
) -> Result<(Dispatcher, CarBridge), compose::StartError> {
    let dispatcher = compose::ungoverned(SecretsChoice::Auto).await?;
    let bridge = CarBridge::new(dispatcher.manager().clone()).await;
    attach(&bridge, runtime, callback).await;
    let governance = Governance::over(Arc::clone(runtime), bridge.clone()).await;
    Ok((dispatcher.with_governance(governance), bridge))
}

/// For every runtime: its tools follow the connectors from here on, and its actions reach them. What no connector has goes to
/// `callback`, the host's own executor.
async fn attach(bridge: &CarBridge, runtime: &Runtime, callback: Arc<dyn ToolExecutor>) {
    let executor = bridge.executor(runtime).with_fallback(callback);
    // Before its tools are listed, so that none is that cannot be called.
    runtime.set_executor(Arc::new(executor)).await;
    bridge.attach(runtime).await;
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
async fn own_manager(runtime: Arc<Runtime>) -> Dispatcher {
    let policy = Arc::new(DenyConnectors::default());
    let manager = ConnectorManager::builder()
        .with_dialer(Arc::new(connectors_http::HttpDialer::new()))
        .with_gate(Arc::<DenyConnectors>::clone(&policy))
        .start()
        .await;
    let bridge = CarBridge::new(manager.clone()).await;
    Dispatcher::new(manager, policy).with_governance(Governance::over(runtime, bridge).await)
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
    let runtime = Arc::new(Runtime::new());
    let (dispatcher, bridge) = boot(&runtime, Arc::new(NoTools)).await?;
    deny(&bridge, &runtime, "no-files", Slug::from_name("fs")).await;
    let (session, _notifications) = Session::open();
    let answered = answer(&dispatcher, &session, "connectors.list", None).await;
    tracing::info!(
        ok = answered.is_ok(),
        tools = runtime.tool_schemas().await.len(),
        "connectors are attached"
    );
    own_manager(Arc::new(Runtime::new())).await.shutdown().await;
    dispatcher.shutdown().await;
    Ok(())
}
