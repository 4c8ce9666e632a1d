use std::time::Duration;

use super::*;
use crate::OutputCheck;
use crate::error::ConnectorError;
use crate::events::EventKind;
use crate::manager::{CallRequest, ConnectorUpdate};
use crate::store::ConfigStore;

#[tokio::test(start_paused = true)]
async fn a_tool_is_callable_once_it_is_enabled_and_unknown_before() {
    let (manager, tools, _host, slug) = with_tools(&["a", "b", "c"]).await;
    let call = |tool| manager.call_tool(CallRequest::new(slug.clone(), tool, json!({})));
    assert_eq!(call("a").await.unwrap_err().code(), "unknown_tool");
    assert_eq!(manager.enable_tools(&slug, &strings(&["a", "b", "nonsense"])).await.unwrap(), 2);
    assert_eq!(call("a").await.unwrap().outcome.text(), "a");
    assert_eq!(call("c").await.unwrap_err().code(), "unknown_tool");
    assert_eq!(call("nonsense").await.unwrap_err().code(), "unknown_tool");
    assert_eq!(manager.enable_tools(&slug, &strings(&["a", "c"])).await.unwrap(), 1);
    assert_eq!(manager.disable_tools(&slug, &strings(&["a", "x"])).await.unwrap(), 1);
    assert_eq!(call("a").await.unwrap_err().code(), "unknown_tool");
    let on_the_wire = tools.server.methods().iter().filter(|method| *method == "tools/call").count();
    assert_eq!(on_the_wire, 1);
}

#[tokio::test(start_paused = true)]
async fn the_selection_survives_a_restart_and_a_call_waits_for_the_first_dial() {
    let (manager, _tools, host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    manager.shutdown().await;
    let restarted = host.start().await;
    let result = restarted.call_tool(CallRequest::new(slug, "a", json!({}))).await.unwrap();
    assert_eq!(result.outcome.text(), "a");
}

#[tokio::test(start_paused = true)]
async fn arguments_are_checked_before_they_are_sent() {
    let (manager, tools, _host, slug) = with_tools(&[]).await;
    tools.set(json!([{"name": "t", "inputSchema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}}]));
    manager.refresh(&slug).await.unwrap();
    manager.enable_tools(&slug, &strings(&["t"])).await.unwrap();
    for (arguments, path) in [(json!({"n": "x"}), "/n"), (json!({}), "/"), (json!([]), "/")] {
        let error = manager.call_tool(CallRequest::new(slug.clone(), "t", arguments)).await.unwrap_err();
        let ConnectorError::InvalidArguments { problems, .. } = error else { panic!("{error}") };
        assert!(problems[0].starts_with(&format!("{path}: ")), "{problems:?}");
    }
    assert!(!tools.server.methods().contains(&"tools/call".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_violates_the_output_schema_is_reported_or_refused_as_the_user_chose() {
    let (host, tools) = (Host::new(), Tools::new(&[]));
    tools.set(json!([{
        "name": "t",
        "inputSchema": {"type": "object"},
        "outputSchema": {"type": "object", "required": ["n"]}
    }]));
    host.serve("http://one", &tools.server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    manager.enable_tools(&slug, &strings(&["t"])).await.unwrap();
    let call = || manager.call_tool(CallRequest::new(slug.clone(), "t", json!({})));
    assert_eq!(call().await.unwrap().output_problems, ["/: structuredContent is missing"]);
    let choose = |check| {
        manager.update(&slug, ConnectorUpdate { output_check: Some(check), ..ConnectorUpdate::default() })
    };
    choose(OutputCheck::Strict).await.unwrap();
    assert_eq!(call().await.unwrap_err().code(), "upstream_protocol");
    choose(OutputCheck::Off).await.unwrap();
    assert_eq!(call().await.unwrap().output_problems, Vec::<String>::new());
    assert_eq!(tools.server.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_says_so_and_a_finished_one_cannot_be_cancelled() {
    let (manager, tools, _host, slug) = with_tools(&["hang"]).await;
    manager.enable_tools(&slug, &strings(&["hang"])).await.unwrap();
    let mut events = manager.events().subscribe();
    let mut request = CallRequest::new(slug.clone(), "hang", json!({}));
    request.call_id = Some("mine".into());
    let cancel = async {
        tools.server.wait_for("tools/call").await;
        assert!(manager.cancel("mine"));
    };
    let (outcome, ()) = tokio::join!(manager.call_tool(request), cancel);
    assert_eq!(outcome.unwrap_err().code(), "cancelled");
    assert!(!manager.cancel("mine"));
    let mut kinds = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &event.kind {
            EventKind::CallStarted { call_id, .. } => kinds.push(format!("started {call_id}")),
            EventKind::CallFinished { call_id, outcome, .. } => {
                kinds.push(format!("finished {call_id} {outcome}"));
            }
            _ => {}
        }
    }
    assert_eq!(kinds, ["started mine", "finished mine cancelled"]);
}

/// A manager that does not get through to the server of `one` before it is told to.
async fn slow(tools: &Tools) -> (ConnectorManager, tokio::sync::watch::Sender<bool>, Slug) {
    let (host, slug) = (Host::new(), Slug::verbatim("one"));
    let (connect, dialer) = host.slow_dialer();
    let mut stored = crate::ConnectorDefinition::http(slug.clone(), "One", "http://one");
    stored.enabled_tools = strings(&["a", "hang"]);
    host.config.insert(&stored).await.unwrap();
    host.serve("http://one", &tools.server);
    (host.without_dialer().with_dialer(Arc::new(dialer)).start().await, connect, slug)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_connection_can_be_cancelled_and_is_never_sent() {
    let tools = Tools::new(&["a"]);
    let (manager, connect, slug) = slow(&tools).await;
    let mut events = manager.events().subscribe();
    let mut request = CallRequest::new(slug.clone(), "a", json!({}));
    request.call_id = Some("mine".into());
    let call = tokio::spawn({
        let (manager, request) = (manager.clone(), request.clone());
        async move { manager.call_tool(request).await }
    });
    settle().await;
    assert!(manager.cancel("mine"));
    assert_eq!(call.await.unwrap().unwrap_err().code(), "cancelled");
    assert!(!manager.cancel("mine"));
    connect.send(true).unwrap();
    settle().await;
    assert!(manager.status(&slug).unwrap().connected);
    assert!(!tools.server.methods().contains(&"tools/call".to_owned()));
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event.kind, EventKind::CallStarted { .. } | EventKind::CallFinished { .. }));
    }
    manager.call_tool(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_connection_counts_among_the_time_of_a_call() {
    let tools = Tools::new(&["hang"]);
    let (manager, connect, slug) = slow(&tools).await;
    let mut request = CallRequest::new(slug, "hang", json!({}));
    request.timeout = Some(Duration::from_secs(5));
    let started = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        connect.send(true).unwrap();
        tools.server.wait_for("tools/call").await;
    };
    let (outcome, ()) = tokio::join!(manager.call_tool(request), late);
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("timeout", "`one`: tools/call took longer than 5s".to_owned())
    );
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_of_the_end_of_a_call_can_use_its_id_again() {
    let (manager, _tools, _host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    let mut request = CallRequest::new(slug, "a", json!({}));
    request.call_id = Some("same".into());
    let mut events = manager.events().subscribe();
    let again = tokio::spawn({
        let (manager, request) = (manager.clone(), request.clone());
        async move {
            while !matches!(events.recv().await.unwrap().kind, EventKind::CallFinished { .. }) {}
            manager.call_tool(request).await
        }
    });
    manager.call_tool(request).await.unwrap();
    again.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_id_is_taken_while_its_call_is_under_way() {
    let (manager, tools, _host, slug) = with_tools(&["hang", "a"]).await;
    manager.enable_tools(&slug, &strings(&["hang", "a"])).await.unwrap();
    let request = |tool: &str| {
        let mut request = CallRequest::new(slug.clone(), tool, json!({}));
        request.call_id = Some("same".into());
        manager.call_tool(request)
    };
    {
        let mut first = std::pin::pin!(request("hang"));
        tokio::select! {
            _ = &mut first => unreachable!(),
            _ = tools.server.wait_for("tools/call") => {}
        }
        assert_eq!(
            request("a").await.unwrap_err().to_string(),
            "`call_id`: a call with this id is under way"
        );
    }
    assert!(request("a").await.is_ok(), "a dropped call frees its id");
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_no_longer_than_its_caller_allows() {
    let (manager, _tools, _host, slug) = with_tools(&["hang"]).await;
    manager.enable_tools(&slug, &strings(&["hang"])).await.unwrap();
    let mut request = CallRequest::new(slug, "hang", json!({}));
    request.timeout = Some(Duration::from_secs(5));
    let started = tokio::time::Instant::now();
    assert_eq!(manager.call_tool(request).await.unwrap_err().code(), "timeout");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_call_while_the_server_is_down_says_when_it_is_tried_next() {
    let (manager, _tools, host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    host.servers.lock().unwrap().clear();
    manager.reconnect(&slug).await.unwrap();
    let error = manager.call_tool(CallRequest::new(slug, "a", json!({}))).await.unwrap_err();
    let ConnectorError::NotConnected { reason, retry_at, .. } = error else { panic!("{error}") };
    assert_eq!((reason.as_deref(), retry_at.is_some()), (Some("nothing listens at http://one"), true));
}
