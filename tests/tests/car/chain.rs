//! The whole chain: validator, policy, wire, event log.

use car_engine::EventKind;
use car_ir::ActionStatus;
use connectors_tests::{Script, Tool};
use serde_json::json;

use crate::host::{Host, action, error, listed, output, run};

#[tokio::test]
async fn an_action_passes_validator_and_policy_before_it_reaches_its_server_and_the_log_holds_it() {
    let server = Script::modern().with_tools([Tool::add(), Tool::echo()]).start();
    let host = Host::new().await;
    let slug = host.add("Math", &server, &["add", "echo"]).await;
    let runtime = host.runtime().await;

    // The validator, by the server's own schema.
    let (status, reason) = error(&runtime, "mcp_math_add", json!({"a": "one", "b": 2})).await;
    assert_eq!(status, ActionStatus::Rejected);
    assert!(reason.contains("parameter validation"), "{reason}");
    let (status, reason) = error(&runtime, "mcp_math_add", json!({"a": 1})).await;
    assert_eq!(status, ActionStatus::Rejected);
    assert!(reason.contains("missing required parameter 'b'"), "{reason}");
    let (status, _) = error(&runtime, "mcp_math_nothing", json!({})).await;
    assert_eq!(status, ActionStatus::Rejected);

    // A policy.
    host.bridge.deny_connector(&runtime, "no math", slug.clone()).await;
    let denied = run(&runtime, action("denied", "mcp_math_add", json!({"a": 1, "b": 2}))).await;
    assert_eq!(denied.status, ActionStatus::Rejected);
    assert_eq!(
        denied.error.as_deref(),
        Some("policy 'deny_connector:no math': the connector `math` is denied by the rule `no math`")
    );
    assert_eq!(server.calls().len(), 0, "something has reached the server");
    assert!(host.bridge.allow_connector(&runtime, "no math").await);
    assert!(!host.bridge.allow_connector(&runtime, "no math").await);

    // The wire.
    let called = run(&runtime, action("called", "mcp_math_add", json!({"a": 1, "b": 2}))).await;
    assert_eq!((called.status, called.output), (ActionStatus::Succeeded, Some(json!("3"))));
    assert_eq!(server.calls().len(), 1);

    // The log.
    host.bridge.recorded().await;
    let log = runtime.log.lock().await;
    let of = |action: &str| -> Vec<_> {
        log.events().iter().filter(|event| event.action_id.as_deref() == Some(action)).collect()
    };
    let origin = |kind: EventKind, action: &str| {
        let found =
            of(action).into_iter().find(|event| event.kind == kind && event.data.contains_key("origin"));
        found.map(|event| {
            (event.data["gate"].clone(), event.data["decision"].clone(), event.data["origin"].clone())
        })
    };
    assert_eq!(
        origin(EventKind::AdmissionGateDecision, "denied"),
        Some((json!("deny_connector"), json!("reject"), json!("connector:math")))
    );
    assert_eq!(
        origin(EventKind::AdmissionGateDecision, "called"),
        Some((json!("connector_call"), json!("allow"), json!("connector:math")))
    );
    assert!(of("denied").iter().any(|event| event.kind == EventKind::PolicyViolation));
    let succeeded: Vec<_> =
        of("called").into_iter().filter(|event| event.kind == EventKind::ActionSucceeded).collect();
    assert_eq!(succeeded.len(), 1);
    assert_eq!(
        (&succeeded[0].data["tool"], &succeeded[0].data["tool_source"]),
        (&json!("mcp_math_add"), &json!("mcp"))
    );
    let events = log.events().len();
    drop(log);
    assert_eq!(runtime.verify_event_log_chain().await, Ok(events));
}

#[tokio::test]
async fn tools_come_and_go_in_every_runtime_as_they_do_in_the_routes() {
    let server = Script::modern().with_tools([Tool::add(), Tool::echo()]).start();
    let host = Host::new().await;
    let early = host.runtime().await;
    let slug = host.add("Math", &server, &["add"]).await;
    // One that comes later gets what there is.
    let late = host.runtime().await;
    for runtime in [&early, &late] {
        assert_eq!(listed(runtime).await, (host.routed(), host.routed()));
        assert_eq!(output(runtime, "mcp_math_add", json!({"a": 1, "b": 1})).await, json!("2"));
    }
    let entry = early.registry.get("mcp_math_add").await.unwrap();
    assert_eq!(entry.source, car_engine::ToolSource::Mcp { server_name: "math".to_owned() });
    assert_eq!((entry.permission, entry.side_effects), (car_engine::ToolPermission::Allow, true));
    assert_eq!(entry.category.as_deref(), Some("connector:destructive"));
    assert_eq!(entry.schema.parameters, *Tool::add().definition().get("inputSchema").unwrap());

    host.enable(&slug, &["echo"]).await;
    host.disable(&slug, &["add"]).await;
    assert_eq!(host.routed(), ["mcp_math_echo".to_owned()].into());
    for runtime in [&early, &late] {
        assert_eq!(listed(runtime).await, (host.routed(), host.routed()));
        let (status, _) = error(runtime, "mcp_math_add", json!({"a": 1, "b": 1})).await;
        assert_eq!(status, ActionStatus::Rejected);
    }
    host.manager.remove(&slug).await.unwrap();
    for runtime in [&early, &late] {
        assert_eq!(listed(runtime).await, (host.routed(), [].into()));
    }
    // A runtime that is gone is no hindrance.
    drop(early);
    host.add("Math", &server, &["add"]).await;
    assert_eq!(listed(&late).await, (host.routed(), host.routed()));
}
