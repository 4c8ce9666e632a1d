use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::connector::Connector;
use crate::contract::scripted::HTTP_LIKE;
use crate::limits::Limits;

fn page(name: &str, next: Option<&str>) -> Reply {
    let mut page = json!({"tools": [{"name": name, "inputSchema": {}}]});
    if let Some(next) = next {
        page["nextCursor"] = next.into();
    }
    Reply::Result(page)
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_in_order() {
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(|_, params| match params["cursor"].as_str() {
            None => page("a", Some("2")),
            Some("2") => page("b", Some("3")),
            _ => page("c", None),
        }),
    );
    let (client, _signals) = connect(&server).await;
    let names: Vec<_> =
        client.list_tools().await.unwrap().tools.iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_cursor_ends_the_catalogue() {
    let n = AtomicUsize::new(0);
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(move |_, _| page(&format!("t{}", n.fetch_add(1, Ordering::SeqCst)), Some("same"))),
    );
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.list_tools().await.unwrap().tools.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn endless_pages_and_tools_meet_their_limits() {
    for (pages, tools) in [(5, 10_000), (1_000, 5)] {
        let n = AtomicUsize::new(0);
        let server = ScriptedServer::new(
            HTTP_LIKE,
            modern(move |_, _| {
                let n = n.fetch_add(1, Ordering::SeqCst).to_string();
                page(&n, Some(&n))
            }),
        );
        let limits = Limits { catalogue_pages: pages, catalogue_tools: tools, ..Limits::default() };
        let (client, _signals) = try_connect(&server, options().with_limits(Arc::new(limits))).await.unwrap();
        assert_eq!(client.list_tools().await.unwrap_err().code(), "limit_exceeded");
    }
}

#[tokio::test(start_paused = true)]
async fn one_unusable_tool_costs_only_itself() {
    let server = ScriptedServer::new(
        HTTP_LIKE,
        modern(|_, _| {
            Reply::Result(json!({"ttlMs": 5000, "tools": [
                {"name": "good", "inputSchema": {"type": "object"}},
                {"name": "", "inputSchema": {}},
                {"name": "bad header", "inputSchema": {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}},
                {"name": "good", "inputSchema": {"type": "string"}},
                7
            ]}))
        }),
    );
    let (client, _signals) = connect(&server).await;
    let catalog = client.list_tools().await.unwrap();
    assert_eq!(catalog.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["good"]);
    let left_out: Vec<_> = catalog.quarantined.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(left_out, ["", "bad header", "good", ""]);
    assert_eq!(catalog.ttl, Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_tools_is_a_broken_protocol() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Result(json!({"tools": {}}))));
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.list_tools().await.unwrap_err().code(), "upstream_protocol");
}
