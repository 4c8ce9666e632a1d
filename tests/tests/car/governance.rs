//! Rules and records.

use car_engine::EventKind;
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

#[tokio::test]
async fn the_log_tells_which_tools_came_and_went_and_whose_definitions_changed() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let host = Host::new().await;
    let runtime = host.runtime().await;
    let slug = host.add("S", &server, &["echo"]).await;
    server.set_tools([Tool::echo().described("Does something else now.")]);
    host.manager.refresh(&slug).await.unwrap();
    assert_eq!(host.routed(), [].into());
    host.manager.accept_changes(&slug, &["echo".to_owned()]).await.unwrap();
    host.disable(&slug, &["echo"]).await;
    let told = async || {
        host.bridge.recorded().await;
        let log = runtime.log.lock().await;
        let ours = log.events().iter().filter(|event| event.kind == EventKind::AdmissionGateDecision);
        ours.map(|event| {
            assert_eq!(event.data["origin"], "connector:s");
            let tools = event.data.get("tools").or(event.data.get("server_tools")).cloned();
            json!([event.data["gate"], event.data["decision"], tools])
        })
        .collect::<Vec<Value>>()
    };
    let tools = |decision: &str| json!(["connector_tools", decision, ["mcp_s_echo"]]);
    let changed = json!(["connector_definition", "needs_approval", ["echo"]]);
    let all = poll("every record", async || Some(told().await).filter(|told| told.len() == 5)).await;
    assert!(all.contains(&changed), "{all:?}");
    let routed: Vec<_> = all.into_iter().filter(|told| *told != changed).collect();
    assert_eq!(routed, [tools("allow"), tools("reject"), tools("allow"), tools("reject")]);
}
