//! `server-everything`: everything that it offers, over each of its three wires. It speaks the legacy era alone, and its
//! tools do not look whether they are cancelled.

use std::time::Duration;

use connectors_core::elicitation::ElicitationAnswer;
use connectors_core::feature::{CompletionArgument, CompletionReference, CompletionRequest};
use connectors_core::protocol::ProtocolVersion;
use connectors_core::{ConnectorError, EventKind, ToolCall, ToolOutcome};
use serde_json::{Map, Value, json};

use super::host::Host;
use super::servers::{Installed, Listening, installed};

const RESOURCE: &str = "demo://resource/dynamic/text/1";

async fn listening(servers: &Installed, mode: &str) -> Listening {
    let server = servers.everything().with_argument(mode);
    server.listening(|server, port| server.with_variable("PORT", port)).await
}

/// Uses everything that the server offers, over a wire on which this version is spoken.
async fn works_in_full(host: Host, version: ProtocolVersion) {
    let session = host.session();
    let name = session.server.as_ref().map(|server| server.name.as_str());
    assert_eq!((name, session.version), (Some("mcp-servers/everything"), version));
    lists_and_calls_tools(&host).await;
    reports_progress_until_cancelled(&host).await;
    asks_the_user(&host).await;
    sends_the_user_to_a_page_first(&host).await;
    offers_resources(&host).await;
    offers_prompts_and_completions(&host).await;
    announces_what_changed(&host).await;
    host.manager.shutdown().await;
}

async fn lists_and_calls_tools(host: &Host) {
    host.enable(&["echo", "get-sum", "get-structured-content"]).await;
    assert_eq!(host.text("echo", json!({"message": "hello"})).await, "Echo: hello");
    assert_eq!(host.text("get-sum", json!({"a": 2, "b": 40})).await, "The sum of 2 and 40 is 42.");
    let weather =
        host.call("get-structured-content", json!({"location": "New York"})).await.expect("a result");
    let structured = weather.outcome.structured_content().expect("structured content");
    assert!(structured["temperature"].is_number(), "{structured}");
}

async fn reports_progress_until_cancelled(host: &Host) {
    let tool = "trigger-long-running-operation";
    host.enable(&[tool]).await;
    let mut events = host.watch();
    let done = host.text(tool, json!({"duration": 0.2, "steps": 4})).await;
    assert_eq!(done, "Long running operation completed. Duration: 0.2 seconds, Steps: 4.");
    assert_eq!(events.reports_of(tool).await, 4);

    let mut events = host.watch();
    let cancel = async {
        events.find("progress", |kind| matches!(kind, EventKind::CallProgress { .. }).then_some(())).await;
        assert!(host.manager.cancel(tool));
    };
    let (outcome, ()) = tokio::join!(host.call(tool, json!({"duration": 3600, "steps": 36_000})), cancel);
    assert_eq!(outcome.expect_err("it was cancelled").code(), "cancelled");
    assert_eq!(host.text("echo", json!({"message": "still here"})).await, "Echo: still here");
}

async fn asks_the_user(host: &Host) {
    let (form, page) = ("trigger-elicitation-request", "trigger-url-elicitation");
    host.enable(&[form, page]).await;
    let name = Map::from_iter([("name".to_owned(), json!("Ada"))]);
    let text = host.text_after(form, json!({}), ElicitationAnswer::Accept(name)).await;
    assert!(text.contains("- Name: Ada\n- Favorite Integer: 42\n- Favorite Number: 3.14"), "{text}");
    let text = host.text_after(form, json!({}), ElicitationAnswer::Decline).await;
    assert!(text.contains("User declined"), "{text}");

    let mut events = host.watch();
    let shown = events.find("a page", |kind| match kind {
        EventKind::InputWanted { mode: "url", url, host, .. } => Some((url.clone(), host.clone())),
        _ => None,
    });
    let arguments = json!({"url": "https://sign.example/in?for=me"});
    let opened = host.text_after(page, arguments, ElicitationAnswer::Accept(Map::new()));
    let (shown, text) = tokio::join!(shown, opened);
    assert_eq!(shown, (Some("https://sign.example/in?for=me".to_owned()), Some("sign.example".to_owned())));
    assert!(text.contains(r#""action": "accept""#), "{text}");
}

/// The server's demand is an error, after which the call is repeated.
async fn sends_the_user_to_a_page_first(host: &Host) {
    const FIRST: &str = "https://modelcontextprotocol.io/";
    let (page, other) = ("https://sign.example/in", "https://sign.example/up");
    let accepts = || ElicitationAnswer::Accept(Map::new());
    let (outcome, visited) = visiting(host, page, vec![accepts(), accepts()]).await;
    let text = outcome.expect("a result").text();
    assert!(text.contains(r#""action": "accept""#), "{text}");
    assert_eq!(visited, [FIRST, page]);

    let (outcome, visited) = visiting(host, other, vec![ElicitationAnswer::Decline]).await;
    let Err(ConnectorError::Upstream { error, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code, visited), (-32042, vec![FIRST.to_owned()]));
}

/// Calls the tool that demands it, and gives these answers to what the user is asked: the outcome, and the pages shown.
async fn visiting(
    host: &Host,
    page: &str,
    answers: Vec<ElicitationAnswer>,
) -> (Result<ToolOutcome, ConnectorError>, Vec<String>) {
    let connection = host.connection();
    let tools = connection.list_tools().await.expect("a catalogue");
    let tool = tools.get("trigger-url-elicitation").expect("the tool");
    // This server does not say when a visit is over.
    let call = ToolCall::new(tool.clone(), json!({"url": page, "errorPath": true}))
        .with_idle_timeout(Duration::from_secs(2));
    let mut events = host.watch();
    let user = async {
        let mut shown = Vec::new();
        for answer in answers {
            let (id, url) = events
                .find("a page", |kind| match kind {
                    EventKind::InputWanted { request_id, url, .. } => Some((request_id.clone(), url.clone())),
                    _ => None,
                })
                .await;
            assert!(host.manager.answer(&id, answer), "the question is no longer open");
            shown.extend(url);
        }
        shown
    };
    tokio::join!(connection.call_tool(call), user)
}

async fn offers_resources(host: &Host) {
    let connection = host.connection();
    let resources = connection.list_resources().await.expect("a list of resources");
    let features = resources.iter().find(|resource| resource.name == "features.md").expect("a document");
    assert_eq!(features.mime_type.as_deref(), Some("text/markdown"));
    assert!(read(host, &features.uri).await["text"].as_str().expect("a text").contains("Tools"));
    let templates = connection.list_resource_templates().await.expect("a list of templates");
    let mut templates: Vec<_> = templates.iter().map(|template| template.uri_template.as_str()).collect();
    templates.sort_unstable();
    let expected = ["demo://resource/dynamic/blob/{resourceId}", "demo://resource/dynamic/text/{resourceId}"];
    assert_eq!(templates, expected);
    assert!(read(host, "demo://resource/dynamic/blob/7").await["blob"].is_string());

    connection.subscribe_resource(RESOURCE).await.expect("a subscription");
    host.enable(&["toggle-subscriber-updates"]).await;
    let mut events = host.watch();
    host.text("toggle-subscriber-updates", json!({})).await;
    assert_eq!(events.changed("resource").await.as_deref(), Some(RESOURCE));
    host.text("toggle-subscriber-updates", json!({})).await;
    connection.unsubscribe_resource(RESOURCE).await.expect("the end of a subscription");
}

async fn read(host: &Host, uri: &str) -> Value {
    let result =
        host.connection().read_resource(uri).await.unwrap_or_else(|error| panic!("{uri}: {error:?}"));
    let result: Value = result.parse(&host.slug).expect("an object");
    result["contents"][0].clone()
}

async fn offers_prompts_and_completions(host: &Host) {
    let connection = host.connection();
    let prompts = connection.list_prompts().await.expect("a list of prompts");
    let mut names: Vec<_> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["args-prompt", "completable-prompt", "resource-prompt", "simple-prompt"]);
    let city = Map::from_iter([("city".to_owned(), json!("Zurich"))]);
    let prompt = connection.get_prompt("args-prompt", city).await.expect("a prompt");
    let prompt: Value = prompt.parse(&host.slug).expect("an object");
    assert_eq!(prompt["messages"][0]["content"]["text"], "What's weather in Zurich?");

    let reference = CompletionReference::Prompt { name: "completable-prompt".to_owned() };
    let argument = CompletionArgument { name: "department".to_owned(), value: "S".to_owned() };
    let completed =
        connection.complete(CompletionRequest { reference, argument }).await.expect("completions");
    let completed: Value = completed.parse(&host.slug).expect("an object");
    assert_eq!(completed["completion"]["values"], json!(["Sales", "Support"]));
}

/// What the server adds at run time are resources.
async fn announces_what_changed(host: &Host) {
    host.enable(&["gzip-file-as-resource"]).await;
    let mut events = host.watch();
    let arguments = json!({"name": "hello.gz", "data": "data:text/plain,hello"});
    host.text("gzip-file-as-resource", arguments).await;
    events.changed("resources").await;
    let zipped = read(host, "demo://resource/session/hello.gz").await;
    assert_eq!(zipped["mimeType"], "application/gzip");
}

#[tokio::test]
async fn server_everything_works_in_full_over_streamable_http() {
    let Some(servers) = installed() else { return };
    let server = listening(&servers, "streamableHttp").await;
    works_in_full(Host::of(server, "mcp").await, ProtocolVersion::V2025_11_25).await;
}

#[tokio::test]
async fn server_everything_works_in_full_over_http_with_sse() {
    let Some(servers) = installed() else { return };
    let server = listening(&servers, "sse").await;
    works_in_full(Host::of(server, "sse").await, ProtocolVersion::V2025_11_25).await;
}

#[tokio::test]
async fn server_everything_works_in_full_over_stdio() {
    let Some(servers) = installed() else { return };
    let host = Host::of_command(servers.everything().over_stdio()).await;
    works_in_full(host, ProtocolVersion::V2025_11_25).await;
}
