//! Rules and records.

use car_engine::{EventKind, Runtime};
use car_ir::ActionStatus;
use connectors_tests::deadline::poll;
use connectors_tests::{Script, Tool};
use serde_json::{Value, json};

use crate::host::{Host, error, output};

#[tokio::test]
async fn a_denied_connector_loses_its_shortened_names_too_and_no_other_loses_any() {
    let long = format!("echo_{}", "x".repeat(80));
    let server = Script::modern().with_tools([Tool::echo(), Tool::echo().named(&long)]).start();
    let other = Script::modern().with_tools([Tool::echo().named("b_echo")]).start();
    let host = Host::new().await;
    // Names by which a rule that went by prefixes would deny the other as well.
    let slug = host.add("a b", &server, &["echo", &long]).await;
    host.add("a", &other, &["b_echo"]).await;
    let runtime = host.runtime().await;
    let names = host.routed();
    assert_eq!(names.len(), 3, "{names:?}");
    host.bridge.deny_connector(&runtime, "rule", slug.clone()).await;
    for route in host.manager.routes().iter() {
        let arguments = json!({"text": "x"});
        if route.slug == slug {
            let (status, reason) = error(&runtime, &route.canonical, arguments).await;
            assert_eq!(status, ActionStatus::Rejected);
            assert!(reason.starts_with("policy 'deny_connector:rule': "), "{reason}");
        } else {
            assert_eq!(output(&runtime, &route.canonical, arguments).await, json!("x"));
        }
    }
    assert_eq!(server.calls().len(), 0);
    // A rule of the same name is another rule.
    host.bridge.deny_connector(&runtime, "rule", connectors_core::Slug::verbatim("nobody")).await;
    output(&runtime, "mcp_a_b_echo", json!({"text": "x"})).await;
    assert!(host.bridge.allow_connector(&runtime, "rule").await);
    assert!(!host.bridge.allow_connector(&runtime, "rule").await);
    host.bridge.recorded().await;
    let log = runtime.log.lock().await;
    let rules = log.events().iter().filter(|event| event.data.get("gate") == Some(&json!("connector_rule")));
    let rules: Vec<_> = rules
        .map(|event| json!([event.data["connector"], event.data["decision"], event.data["rule"]]))
        .collect();
    let rule = |connector: &str, decision: &str| json!([connector, decision, "rule"]);
    let of_slug = slug.as_str();
    assert_eq!(
        rules,
        [rule(of_slug, "reject"), rule(of_slug, "allow"), rule("nobody", "reject"), rule("nobody", "allow")]
    );
}

/// What the log holds of a connector's tools: the gate, the decision, the tools and the reason.
async fn told(host: &Host, runtime: &Runtime) -> Vec<Value> {
    host.bridge.recorded().await;
    let log = runtime.log.lock().await;
    let ours = log.events().iter().filter(|event| event.kind == EventKind::AdmissionGateDecision);
    ours.map(|event| {
        assert_eq!(event.data["origin"], "connector:s");
        let tools = event.data.get("tools").or(event.data.get("server_tools")).cloned();
        json!([event.data["gate"], event.data["decision"], tools, event.data["reason"]])
    })
    .collect()
}

fn selected(decision: &str, reason: &str) -> Value {
    json!(["connector_selection", decision, ["echo"], reason])
}

fn tools(decision: &str, reason: &str) -> Value {
    json!(["connector_tools", decision, ["mcp_s_echo"], reason])
}

const ON_OFFER: &str = "on offer, enabled and admitted";

#[tokio::test]
async fn the_log_tells_what_the_user_has_decided_which_tools_came_and_went_and_why() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = host.runtime().await;
    let slug = host.add("S", &server, &["echo"]).await;
    assert_eq!(
        told(&host, &runtime).await,
        [selected("allow", "enabled by the user"), tools("allow", ON_OFFER)]
    );
    server.set_tools([Tool::echo().described("Does something else now.")]);
    host.manager.refresh(&slug).await.unwrap();
    assert_eq!(host.routed(), [].into());
    let changed = json!([
        "connector_definition",
        "needs_approval",
        ["echo"],
        "the definitions have changed since the user enabled the tools"
    ]);
    let all = poll("both records", async || Some(told(&host, &runtime).await).filter(|told| told.len() == 4));
    let all = all.await;
    let reason = "its definition has changed since you enabled it; review and accept the change";
    assert!(all.contains(&changed) && all.contains(&tools("reject", reason)), "{all:?}");

    host.manager.accept_changes(&slug, &["echo".to_owned()]).await.unwrap();
    host.disable(&slug, &["echo"]).await;
    assert_eq!(
        told(&host, &runtime).await[4..],
        [
            selected("allow", "the user has accepted the changed definitions"),
            tools("allow", ON_OFFER),
            selected("reject", "disabled by the user"),
            tools("reject", "disabled by the user"),
        ]
    );
}

#[tokio::test]
async fn decisions_about_tools_that_a_rule_withholds_are_in_the_log_too() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = host.runtime().await;
    let slug = host.add("S", &server, &["echo"]).await;
    let gate = host.kept.upgrade().unwrap();
    gate.register("r", slug.clone());
    host.manager.gates_changed().await;
    host.disable(&slug, &["echo"]).await;
    host.enable(&slug, &["echo"]).await;
    assert!(gate.lift("r"));
    host.manager.gates_changed().await;
    host.manager.remove(&slug).await.unwrap();
    assert_eq!(
        told(&host, &runtime).await[2..],
        [
            tools("reject", "denied by the policy rule `r`"),
            selected("reject", "disabled by the user"),
            selected("allow", "enabled by the user"),
            tools("allow", ON_OFFER),
            tools("reject", "the connector was removed"),
        ]
    );
}
