//! Pages that a legacy server wants the user to visit before it serves a request.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::*;
use crate::connector::{Connector, ToolCall};
use crate::contract::scripted::{HTTP_LIKE, STDIO_LIKE, notification};
use crate::error::ConnectorError;
use crate::host::{InputHandler, InputRequest};
use crate::limits::Limits;
use crate::protocol::RpcError;
use crate::tool::ToolDefinition;

/// A host whose user does the same with every page.
struct User {
    capabilities: Value,
    answer: Option<Value>,
    asked: Mutex<Vec<Value>>,
}

impl User {
    fn who(answer: Value) -> Arc<Self> {
        let capabilities = json!({"elicitation": {"form": {}, "url": {}}});
        Arc::new(Self { capabilities, answer: Some(answer), asked: Mutex::default() })
    }

    fn who_accepts() -> Arc<Self> {
        Self::who(json!({"action": "accept"}))
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl InputHandler for User {
    fn capabilities(&self) -> Value {
        self.capabilities.clone()
    }

    async fn answer(&self, _: &Slug, request: InputRequest) -> Result<Value, RpcError> {
        assert_eq!(request.method, "elicitation/create");
        self.asked.lock().unwrap().push(serde_json::from_str(request.params.unwrap().get()).unwrap());
        match &self.answer {
            Some(answer) if answer.is_object() => Ok(answer.clone()),
            Some(_) => Err(RpcError::new(-32602, "no")),
            None => std::future::pending().await,
        }
    }
}

fn page(id: &str) -> Value {
    json!({"mode": "url", "elicitationId": id, "url": format!("https://sign.example/{id}"), "message": "?", "x": 1})
}

fn required(data: &Value) -> Reply {
    let data = Some(to_raw_value(data).unwrap());
    Reply::ErrorWith(RpcError { code: -32042, message: "visit this".to_owned(), data })
}

fn two_pages() -> Value {
    json!({"elicitations": [page("a"), page("b")]})
}

/// Answers `method` with the error this many times, then with a result, and other requests with an empty result.
fn gate(method: &'static str, mut times: usize, data: Value) -> impl FnMut(&str, &Value) -> Reply + Send {
    move |asked, _| {
        if asked == method && times > 0 {
            times -= 1;
            return required(&data);
        }
        Reply::Result(json!({"content": [{"type": "text", "text": "done"}]}))
    }
}

fn visited(id: &str) -> Result<crate::protocol::Incoming, crate::error::TransportError> {
    Ok(notification("notifications/elicitation/complete", json!({"elicitationId": id})))
}

async fn with(server: &Arc<ScriptedServer>, user: &Arc<User>) -> McpClient {
    let client = try_connect(server, options().with_input(Arc::clone(user) as _)).await.unwrap().0;
    // Lets the listening task take the stream.
    tokio::time::sleep(Duration::from_millis(1)).await;
    client
}

fn call() -> ToolCall {
    let raw = RawValue::from_string(r#"{"name":"t","inputSchema":{"type":"object"}}"#.to_owned()).unwrap();
    ToolCall::new(Arc::new(ToolDefinition::read(&raw, &Limits::default(), true).unwrap()), json!({"r": "x"}))
}

fn calls(server: &ScriptedServer) -> Vec<Value> {
    server.seen().into_iter().filter(|seen| seen.method == "tools/call").map(|seen| seen.params).collect()
}

/// That the error is the one that the server sent, with everything in it.
fn assert_is_the_servers(error: ConnectorError, data: &Value) {
    let ConnectorError::Upstream { error, .. } = error else { panic!("{error:?}") };
    let received: Value = serde_json::from_str(error.data.as_ref().unwrap().get()).unwrap();
    assert_eq!((error.code, error.message.as_str(), &received), (-32042, "visit this", data));
}

#[tokio::test(start_paused = true)]
async fn a_call_is_repeated_once_the_pages_have_been_visited() {
    for traits in [HTTP_LIKE, STDIO_LIKE] {
        let server = ScriptedServer::new(traits, legacy(gate("tools/call", 1, two_pages())));
        let user = User::who_accepts();
        let client = with(&server, &user).await;
        let started = Instant::now();
        let visits = async {
            server.wait_for("tools/call").await;
            for id in ["unknown", "b", "b"] {
                tokio::time::sleep(Duration::from_secs(10)).await;
                server.send(visited(id));
            }
            assert_eq!(calls(&server).len(), 1);
            server.send(visited("a"));
        };
        let (outcome, ()) = tokio::join!(client.call_tool(call()), visits);
        assert_eq!(outcome.unwrap().text(), "done");
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert_eq!(user.asked(), [page("a"), page("b")]);
        let [mut first, mut second] = <[Value; 2]>::try_from(calls(&server)).unwrap();
        let tokens = [first["_meta"].take(), second["_meta"].take()];
        assert_ne!(tokens[0], tokens[1]);
        assert_eq!(first, second);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_announce_the_end_of_a_visit_is_asked_again_in_time() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    for (call, wait) in [
        (call(), minutes(1)),
        (call().with_total_timeout(minutes(10)), minutes(5)),
        (call().with_total_timeout(minutes(10)).with_idle_timeout(minutes(2)), minutes(2)),
    ] {
        let server = ScriptedServer::new(HTTP_LIKE, legacy(gate("tools/call", 1, two_pages())));
        let client = with(&server, &User::who_accepts()).await;
        let started = Instant::now();
        assert_eq!(client.call_tool(call).await.unwrap().text(), "done");
        assert_eq!(started.elapsed(), wait);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_user_does_not_agree_to_fails_as_the_server_said() {
    for answer in [json!({"action": "decline"}), json!({"action": "cancel"}), json!({}), json!("an error")] {
        let server = ScriptedServer::new(HTTP_LIKE, legacy(gate("tools/call", 1, two_pages())));
        let user = User::who(answer);
        let client = with(&server, &user).await;
        assert_is_the_servers(client.call_tool(call()).await.unwrap_err(), &two_pages());
        assert_eq!((user.asked().len(), calls(&server).len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_pages_visited_again_is_not_obeyed_twice() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(gate("tools/call", 9, two_pages())));
    let user = User::who_accepts();
    let client = with(&server, &user).await;
    assert_is_the_servers(client.call_tool(call()).await.unwrap_err(), &two_pages());
    assert_eq!((user.asked().len(), calls(&server).len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_what_this_host_or_era_does_not_offer() {
    let plain_page = json!({"elicitations": [page("a"), {"mode": "url", "elicitationId": "b", "url": "http://x.example"}]});
    let form_alone = json!({"elicitation": {"form": {}}});
    let url = json!({"elicitation": {"url": {}}});
    for (capabilities, data, is_modern) in [
        (form_alone, two_pages(), false),
        (json!({}), two_pages(), false),
        (url.clone(), plain_page, false),
        (url.clone(), json!({}), false),
        (url, two_pages(), true),
    ] {
        let script = gate("tools/call", 1, data.clone());
        let server = if is_modern {
            ScriptedServer::new(HTTP_LIKE, modern(script))
        } else {
            ScriptedServer::new(HTTP_LIKE, legacy(script))
        };
        let answer = Some(json!({"action": "accept"}));
        let user = Arc::new(User { capabilities, answer, asked: Mutex::default() });
        let client = with(&server, &user).await;
        assert_is_the_servers(client.call_tool(call()).await.unwrap_err(), &data);
        assert_eq!((user.asked(), calls(&server).len()), (Vec::<Value>::new(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_does_not_answer_costs_the_call_its_whole_time() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(gate("tools/call", 1, two_pages())));
    let capabilities = json!({"elicitation": {"url": {}}});
    let user = Arc::new(User { capabilities, answer: None, asked: Mutex::default() });
    let client = with(&server, &user).await;
    let started = Instant::now();
    let error = client.call_tool(call()).await.unwrap_err();
    assert_eq!(error.to_string(), "`s`: the user's consent to visit a page took longer than 1800s");
    assert_eq!((started.elapsed(), calls(&server).len()), (Duration::from_secs(30 * 60), 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_on_behalf_of_a_user_may_want_pages_and_what_is_not_may_not() {
    for (method, may) in [
        ("resources/read", true),
        ("prompts/get", true),
        ("resources/subscribe", true),
        ("ping", false),
        ("tools/list", false),
    ] {
        let server = ScriptedServer::new(HTTP_LIKE, legacy(gate(method, 1, two_pages())));
        let user = User::who_accepts();
        let client = with(&server, &user).await;
        let outcome = match method {
            "resources/read" => client.read_resource("note:a").await.map(drop),
            "prompts/get" => client.get_prompt("p", serde_json::Map::new()).await.map(drop),
            "resources/subscribe" => client.subscribe_resource("note:a").await,
            "ping" => client.ping().await,
            _ => client.list_tools().await.map(drop),
        };
        assert_eq!((outcome.is_ok(), user.asked().len()), (may, if may { 2 } else { 0 }), "{method}");
    }
}
