//! The daemon's methods in a host that has a runtime of its own.

use std::sync::Arc;

use car_engine::{EventKind, Runtime};
use connectors_tests::deadline::poll;
use connectors_tests::{Script, Tool};
use connectors_ws::car::Governance;
use connectors_ws::{Dispatcher, ErrorObject, Session};
use futures_util::FutureExt;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::host::{Host, Own, output, schema};

/// As docs/embedding-in-car.md shows.
async fn embedded(host: &Host, runtime: &Arc<Runtime>) -> Dispatcher {
    let executor = host.bridge.executor(runtime).with_fallback(Arc::new(Own));
    runtime.set_executor(Arc::new(executor)).await;
    host.bridge.attach(runtime).await;
    let governance = Governance::over(Arc::clone(runtime), host.bridge.clone()).await;
    Dispatcher::new(host.manager.clone(), host.kept.upgrade().unwrap()).with_governance(governance)
}

async fn call(dispatcher: &Dispatcher) -> Result<Value, ErrorObject> {
    let (session, _notifications) = Session::open();
    let params = json!({"slug": "s", "tool": "echo", "arguments": {"text": "x"}});
    let params = to_raw_value(&params).unwrap();
    let result = dispatcher.dispatch(&session, "connectors.call_tool", Some(&params)).await?;
    Ok(serde_json::from_str(result.get()).unwrap())
}

#[tokio::test]
async fn a_rule_on_the_hosts_runtime_denies_calls_over_the_websocket_and_the_hosts_log_holds_them() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = Arc::new(Runtime::new());
    let dispatcher = embedded(&host, &runtime).await;
    let slug = host.add("S", &server, &["echo"]).await;
    assert_eq!(call(&dispatcher).await.unwrap()["content"][0]["text"], "x");

    host.bridge.deny_connector(&runtime, "rule", slug).await;
    let error = call(&dispatcher).await.unwrap_err();
    assert!(error.message.contains("the connector `s` is denied by the rule `rule`"), "{error:?}");
    assert_eq!((error.code, server.calls().len()), (-32041, 1));

    host.bridge.recorded().await;
    let log = runtime.log.lock().await;
    let count = |kind: EventKind| log.events().iter().filter(|event| event.kind == kind).count();
    assert_eq!((count(EventKind::ActionSucceeded), count(EventKind::PolicyViolation)), (1, 1));
    let gates: Vec<_> = log
        .events()
        .iter()
        .filter(|event| event.kind == EventKind::AdmissionGateDecision)
        .map(|event| json!([event.data["gate"], event.data["decision"]]))
        .collect();
    // Each once: the runtime was attached already.
    let expected = [
        json!(["connector_selection", "allow"]),
        json!(["connector_tools", "allow"]),
        json!(["connector_call", "allow"]),
        json!(["connector_rule", "reject"]),
        json!(["deny_connector", "reject"]),
    ];
    assert_eq!(gates, expected);
}

#[tokio::test]
async fn the_hosts_own_tools_go_on_working_in_its_runtime() {
    let host = Host::new().await;
    let runtime = Arc::new(Runtime::new());
    let _dispatcher = embedded(&host, &runtime).await;
    runtime.register_tool_schema(schema("own")).await;
    assert_eq!(output(&runtime, "own", json!({})).await, json!("the host ran own"));
}

#[tokio::test]
async fn a_rule_comes_into_force_at_the_gate_and_in_the_runtime_though_nobody_waits_for_it() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = Arc::new(Runtime::new());
    let dispatcher = embedded(&host, &runtime).await;
    host.add("S", &server, &["echo"]).await;
    let (session, _notifications) = Session::open();
    let rule = to_raw_value(&json!({"rule": "deny_connector", "target": "s", "name": "r"})).unwrap();
    let policies = runtime.policies.write().await;
    let registered = dispatcher.dispatch(&session, "policy.register", Some(&rule));
    assert!(registered.now_or_never().is_none());
    drop(policies);
    poll("the rule at the gate", async || host.routed().is_empty().then_some(())).await;
    assert_eq!(runtime.policies.write().await.unregister("deny_connector:r"), 1);
}
