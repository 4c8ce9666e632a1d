use super::*;
use crate::gate::DenyConnectors;
use crate::manager::CallRequest;
use crate::store::ConfigStore;

#[tokio::test(start_paused = true)]
async fn a_changed_definition_withdraws_the_tool_until_it_is_accepted() {
    let (manager, tools, _host, slug) = with_tools(&["a", "b"]).await;
    manager.enable_tools(&slug, &strings(&["a", "b"])).await.unwrap();
    let mut changed = named(&["a", "b"]);
    changed[0]["description"] = "now does something else".into();
    tools.set(changed);
    let views = manager.refresh(&slug).await.unwrap();
    assert_eq!((views[0].changed, views[0].routed, views[0].enabled), (true, false, true));
    assert_eq!((views[1].changed, views[1].routed), (false, true));
    assert!(views[0].withheld.as_ref().unwrap().contains("has changed"));
    let call = || manager.call_tool(CallRequest::new(slug.clone(), "a", json!({})));
    assert_eq!(call().await.unwrap_err().code(), "unknown_tool");
    assert_eq!(manager.accept_changes(&slug, &strings(&["a", "b"])).await.unwrap(), 1);
    assert!(call().await.is_ok());
}

/// What has been told of decisions, without their numbers.
fn decided(decisions: &mut tokio::sync::mpsc::UnboundedReceiver<Arc<ConnectorEvent>>) -> Vec<Value> {
    std::iter::from_fn(|| decisions.try_recv().ok()).map(|event| json!([event.slug, event.kind])).collect()
}

#[tokio::test(start_paused = true)]
async fn what_the_user_decides_about_tools_is_told_whether_they_have_routes_or_not() {
    let (manager, tools, _host, slug) = with_tools(&["a", "b"]).await;
    let mut decisions = manager.events().decisions();
    let selection = |what: &str, tools: &[&str]| json!(["one", {"kind": "selection", what: tools}]);
    manager.enable_tools(&slug, &strings(&["a", "b", "nothing"])).await.unwrap();
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    assert_eq!(decided(&mut decisions), [selection("enabled", &["a", "b"])]);
    let mut changed = named(&["a", "b"]);
    changed[0]["description"] = "now does something else".into();
    changed[1]["description"] = "now does something else".into();
    tools.set(changed);
    manager.refresh(&slug).await.unwrap();
    assert_eq!(
        decided(&mut decisions),
        [json!(["one", {"kind": "definition_changed", "tools": ["a", "b"]}])]
    );
    manager.disable_tools(&slug, &strings(&["b"])).await.unwrap();
    manager.accept_changes(&slug, &strings(&["a", "b"])).await.unwrap();
    assert_eq!(decided(&mut decisions), [selection("disabled", &["b"]), selection("accepted", &["a"])]);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_changed_while_the_host_was_down_is_noticed() {
    let (manager, tools, host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    manager.shutdown().await;
    tools.set(json!([{"name": "a", "inputSchema": {"type": "object", "required": ["password"]}}]));
    let restarted = host.start().await;
    let views = restarted.refresh(&slug).await.unwrap();
    assert_eq!((views[0].changed, views[0].routed), (true, false));
}

#[tokio::test(start_paused = true)]
async fn a_selection_from_before_fingerprints_is_pinned_as_it_is_found() {
    let (host, tools) = (Host::new(), Tools::new(&["a"]));
    host.serve("http://old", &tools.server);
    let mut old = crate::ConnectorDefinition::http(Slug::verbatim("old"), "Old", "http://old");
    old.enabled_tools = strings(&["a", "gone"]);
    host.config.insert(&old).await.unwrap();
    let manager = host.start().await;
    let views = manager.refresh(&old.slug).await.unwrap();
    assert!(views[0].routed);
    let stored = host.config.load().await.unwrap().remove(0);
    assert_eq!(stored.tool_pins.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(stored.enabled_tools, strings(&["a", "gone"]));
}

#[tokio::test(start_paused = true)]
async fn a_policy_denies_every_tool_of_its_connector_at_once() {
    let (host, tools) = (Host::new(), Tools::new(&["a"]));
    host.serve("http://one", &tools.server);
    let policy = Arc::new(DenyConnectors::default());
    let gate: Arc<dyn crate::EnablementGate> = Arc::clone(&policy) as _;
    let manager = host.builder().with_gate(gate).start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    policy.register("no-one", slug.clone());
    manager.gates_changed().await;
    let view = manager.tools(&slug).unwrap().remove(0);
    assert_eq!((view.enabled, view.routed), (true, false));
    assert_eq!(view.withheld.as_deref(), Some("denied by the policy rule `no-one`"));
    assert_eq!(manager.status(&slug).unwrap().enabled_count, 0);

    let mut events = manager.events().subscribe();
    let mut request = CallRequest::new(slug.clone(), "a", json!({"token": "hunter2"}));
    request.call_id = Some("mine".into());
    assert_eq!(manager.call_tool(request).await.unwrap_err().code(), "unknown_tool");
    // A tool that is not enabled is no denial.
    let unknown = CallRequest::new(slug.clone(), "b", json!({}));
    assert_eq!(manager.call_tool(unknown).await.unwrap_err().code(), "unknown_tool");
    let told: Vec<_> =
        std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind.clone()).collect();
    assert_eq!(
        serde_json::to_value(told).unwrap(),
        json!([{"kind": "call_refused", "call_id": "mine", "tool": "a", "code": "unknown_tool",
            "reason": "denied by the policy rule `no-one`"}])
    );

    assert!(policy.lift("no-one"));
    manager.gates_changed().await;
    assert_eq!(manager.status(&slug).unwrap().enabled_count, 1);
}

#[tokio::test(start_paused = true)]
async fn tools_whose_names_collide_are_both_callable_under_names_of_their_own() {
    let (host, first, second) = (Host::new(), Tools::new(&["b_c"]), Tools::new(&["c"]));
    host.serve("http://first", &first.server);
    host.serve("http://second", &second.server);
    let manager = host.start().await;
    for (name, url, tool) in [("a", "http://first", "b_c"), ("a b", "http://second", "c")] {
        let slug = manager.add(NewConnector::http(name, url, vec![])).await.unwrap().slug;
        assert_eq!(manager.enable_tools(&slug, &strings(&[tool])).await.unwrap(), 1);
    }
    let routes = manager.routes();
    let canonical =
        |slug: &str, tool: &str| routes.get(&Slug::verbatim(slug), tool).unwrap().canonical.to_string();
    assert_eq!(canonical("a", "b_c"), "mcp_a_b_c");
    let other = canonical("a_b", "c");
    assert!(other.starts_with("mcp_a_b_c_") && other.len() == "mcp_a_b_c_".len() + 8, "{other}");
    assert_eq!(routes.by_name(&other).unwrap().tool.name, "c");
    assert_eq!(manager.tools(&Slug::verbatim("a_b")).unwrap()[0].canonical, other);
    let result = manager.call_tool(CallRequest::new(Slug::verbatim("a_b"), "c", json!({}))).await.unwrap();
    assert_eq!(result.outcome.text(), "c");
}

#[tokio::test(start_paused = true)]
async fn a_tool_whose_schema_cannot_be_used_is_not_enabled() {
    let (manager, tools, _host, slug) = with_tools(&[]).await;
    tools.set(json!([
        {"name": "bad", "inputSchema": {"type": "nonsense"}},
        {"name": "far", "inputSchema": {"$ref": "http://127.0.0.1:1/schema"}},
        {"name": "good", "inputSchema": {"type": "object"}}
    ]));
    manager.refresh(&slug).await.unwrap();
    assert_eq!(manager.enable_tools(&slug, &strings(&["bad", "far", "good"])).await.unwrap(), 1);
}
