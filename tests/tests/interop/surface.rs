//! What the servers in `interop/` offer, whoever's SDK they are on: one list of expectations for all of them.

use connectors_core::elicitation::ElicitationAnswer;
use connectors_core::feature::{CompletionArgument, CompletionReference, CompletionRequest};
use connectors_core::protocol::Era;
use connectors_core::{ConnectorError, EventKind};
use connectors_tests::deadline::poll;
use serde_json::{Map, Value, json};

use super::host::Host;

const NOTE: &str = "note://today";

/// How the servers differ.
pub(super) struct Expected {
    /// Who the server says it is.
    pub(super) name: &'static str,
    pub(super) era: Era,
    /// Whether it serves subscriptions to resources.
    pub(super) subscriptions: bool,
}

/// Uses everything that the server offers.
pub(super) async fn works_in_full(host: Host, expected: Expected) {
    let session = host.session();
    let name = session.server.as_ref().map(|server| server.name.as_str());
    assert_eq!((name, session.era()), (Some(expected.name), expected.era));
    lists_and_calls_tools(&host).await;
    reports_progress(&host).await;
    learns_of_a_cancelled_call(&host).await;
    asks_the_user(&host).await;
    offers_resources(&host).await;
    offers_prompts(&host).await;
    completes(&host).await;
    if expected.subscriptions {
        announces_a_changed_resource(&host).await;
    }
    announces_changed_lists(&host).await;
    host.manager.shutdown().await;
}

async fn lists_and_calls_tools(host: &Host) {
    let mut tools = host.tools();
    tools.sort();
    assert_eq!(tools, ["add", "ask", "cancellations", "count", "echo", "fail", "grow", "touch", "wait"]);
    let error = host.call("echo", json!({"message": "hello"})).await.expect_err("it is not enabled");
    assert_eq!(error.code(), "unknown_tool");
    host.enable(&["echo", "add", "fail"]).await;
    assert_eq!(host.text("echo", json!({"message": "grüß dich"})).await, "grüß dich");
    assert_eq!(host.text("add", json!({"a": 2, "b": 40})).await, "42");
    let failed = host.call("fail", json!({})).await.expect("a tool's failure is a result");
    assert!(failed.outcome.is_error(), "{}", failed.outcome.raw());
    assert!(failed.outcome.text().contains("it did not work"), "{}", failed.outcome.raw());
}

async fn reports_progress(host: &Host) {
    host.enable(&["count"]).await;
    let mut events = host.watch();
    assert_eq!(host.text("count", json!({"steps": 4})).await, "counted to 4");
    assert_eq!(events.reports_of("count").await, 4);
}

async fn learns_of_a_cancelled_call(host: &Host) {
    host.enable(&["wait", "cancellations"]).await;
    assert_eq!(host.text("cancellations", json!({})).await, "0");
    let mut events = host.watch();
    let cancel = async {
        // It has reached the server.
        events.find("progress", |kind| matches!(kind, EventKind::CallProgress { .. }).then_some(())).await;
        assert!(host.manager.cancel("wait"));
    };
    let (outcome, ()) = tokio::join!(host.call("wait", json!({})), cancel);
    assert_eq!(outcome.expect_err("it was cancelled").code(), "cancelled");
    poll("the server to notice the cancellation", async || {
        (host.text("cancellations", json!({})).await == "1").then_some(())
    })
    .await;
}

async fn asks_the_user(host: &Host) {
    host.enable(&["ask"]).await;
    let name = Map::from_iter([("name".to_owned(), json!("Ada"))]);
    let answer = ElicitationAnswer::Accept(name);
    assert_eq!(host.text_after("ask", json!({}), answer).await, "Ada is 42");
    assert_eq!(host.text_after("ask", json!({}), ElicitationAnswer::Decline).await, "decline");
}

async fn offers_resources(host: &Host) {
    let connection = host.connection();
    let resources = connection.list_resources().await.expect("a list of resources");
    assert_eq!(resources.iter().map(|resource| resource.uri.as_str()).collect::<Vec<_>>(), [NOTE]);
    let templates = connection.list_resource_templates().await.expect("a list of templates");
    let templates: Vec<_> = templates.iter().map(|template| template.uri_template.as_str()).collect();
    assert_eq!(templates, ["note://days/{day}"]);
    assert_eq!(read(host, NOTE).await, "touched 0 times");
    assert_eq!(read(host, "note://days/monday").await, "nothing on monday");
    let error = connection.read_resource("note://nowhere").await.expect_err("there is no such resource");
    assert!(matches!(error, ConnectorError::Upstream { .. }), "{error:?}");
}

async fn read(host: &Host, uri: &str) -> String {
    let result =
        host.connection().read_resource(uri).await.unwrap_or_else(|error| panic!("{uri}: {error:?}"));
    let result: Value = result.parse(&host.slug).expect("an object");
    assert_eq!(result["contents"][0]["uri"], uri);
    result["contents"][0]["text"].as_str().expect("a text").to_owned()
}

async fn offers_prompts(host: &Host) {
    let connection = host.connection();
    let prompts = connection.list_prompts().await.expect("a list of prompts");
    let [greet] = &prompts[..] else { panic!("{prompts:?}") };
    let arguments: Vec<_> = greet.arguments.iter().map(|arg| (arg.name.as_str(), arg.required)).collect();
    assert_eq!((greet.name.as_str(), arguments), ("greet", vec![("name", true)]));
    let ada = Map::from_iter([("name".to_owned(), json!("Ada"))]);
    let prompt = connection.get_prompt("greet", ada).await.expect("a prompt");
    let prompt: Value = prompt.parse(&host.slug).expect("an object");
    let message = &prompt["messages"][0];
    assert_eq!([&message["role"], &message["content"]["text"]], ["user", "Say hello to Ada."]);
}

async fn completes(host: &Host) {
    let name = CompletionReference::Prompt { name: "greet".to_owned() };
    assert_eq!(completions(host, name, "name", "A").await, ["Ada", "Alan"]);
    let day = CompletionReference::Resource { uri: "note://days/{day}".to_owned() };
    assert_eq!(completions(host, day, "day", "s").await, ["saturday", "sunday"]);
}

async fn completions(host: &Host, reference: CompletionReference, name: &str, value: &str) -> Vec<String> {
    let argument = CompletionArgument { name: name.to_owned(), value: value.to_owned() };
    let result = host.connection().complete(CompletionRequest { reference, argument }).await;
    let result: Value = result.expect("completions").parse(&host.slug).expect("an object");
    serde_json::from_value(result["completion"]["values"].clone()).expect("an array of texts")
}

async fn announces_a_changed_resource(host: &Host) {
    host.enable(&["touch"]).await;
    let connection = host.connection();
    connection.subscribe_resource(NOTE).await.expect("a subscription");
    let mut events = host.watch();
    assert_eq!(host.text("touch", json!({})).await, "touched");
    assert_eq!(events.changed("resource").await.as_deref(), Some(NOTE));
    assert_eq!(read(host, NOTE).await, "touched 1 times");
    connection.unsubscribe_resource(NOTE).await.expect("the end of a subscription");
}

async fn announces_changed_lists(host: &Host) {
    host.enable(&["grow"]).await;
    let (mut prompts, mut resources) = (host.watch(), host.watch());
    assert_eq!(host.text("grow", json!({})).await, "grown");
    prompts.changed("prompts").await;
    resources.changed("resources").await;
    poll("the tool that was added", async || host.tools().contains(&"grown".to_owned()).then_some(())).await;
    host.enable(&["grown"]).await;
    assert_eq!(host.text("grown", json!({})).await, "I am new");
    let prompts = host.connection().list_prompts().await.expect("a list of prompts");
    assert!(prompts.iter().any(|prompt| prompt.name == "grown"), "{prompts:?}");
    assert_eq!(read(host, "note://grown").await, "I am new");
}
