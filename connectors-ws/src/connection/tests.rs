use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use connectors_core::error::StorageError;
use connectors_core::{ConfigStore, ConnectorDefinition, EventKind, MemoryConfigStore, Slug};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::PollSender;

use super::*;
use crate::fixture::Fixture;

/// The daemon's end of a WebSocket.
struct Socket {
    incoming: mpsc::UnboundedReceiver<Result<Message, String>>,
    outgoing: PollSender<Message>,
}

impl Stream for Socket {
    type Item = Result<Message, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx)
    }
}

impl Sink<Message> for Socket {
    type Error = String;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.outgoing.poll_ready_unpin(cx).map_err(|_| "gone".to_owned())
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), String> {
        self.outgoing.start_send_unpin(message).map_err(|_| "gone".to_owned())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.outgoing.poll_flush_unpin(cx).map_err(|_| "gone".to_owned())
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.outgoing.poll_close_unpin(cx).map_err(|_| "gone".to_owned())
    }
}

/// The client's end.
struct Client {
    to_daemon: mpsc::UnboundedSender<Result<Message, String>>,
    from_daemon: mpsc::Receiver<Message>,
    served: JoinHandle<()>,
}

impl Client {
    /// Connects to `connections`; the wire holds `capacity` frames that are not read.
    fn connect(connections: &Connections, capacity: usize) -> Self {
        let (to_daemon, incoming) = mpsc::unbounded_channel();
        let (outgoing, from_daemon) = mpsc::channel(capacity);
        let socket = Socket { incoming, outgoing: PollSender::new(outgoing) };
        Self { to_daemon, from_daemon, served: tokio::spawn(connections.clone().accept(socket)) }
    }

    fn to(fixture: &Fixture) -> Self {
        Self::connect(&Connections::new(fixture.dispatcher.clone(), None), 1000)
    }

    fn send(&self, id: u64, method: &str, params: Value) {
        self.text(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
    }

    fn text(&self, text: &str) {
        self.to_daemon.send(Ok(Message::Text(text.into()))).unwrap();
    }

    async fn frame(&mut self) -> Message {
        self.from_daemon.recv().await.unwrap()
    }

    async fn message(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not text: {other:?}"),
        }
    }

    /// Id and error code of the next reply; 0 for a result.
    async fn reply(&mut self) -> (Value, i64) {
        let reply = self.message().await;
        (reply["id"].clone(), reply["error"]["code"].as_i64().unwrap_or(0))
    }
}

fn wait_for_it() -> Value {
    json!({"slug": "one", "tool": "wait"})
}

#[tokio::test]
async fn a_request_that_takes_long_delays_no_other() {
    let mut fixture = Fixture::with_tools().await;
    let mut client = Client::to(&fixture);
    client.send(1, "connectors.call_tool", wait_for_it());
    let answer = fixture.waiting.recv().await.unwrap();
    client.send(2, "connectors.list", json!({}));
    assert_eq!(client.reply().await, (json!(2), 0));
    answer.send(json!({"content": []})).unwrap();
    assert_eq!(client.reply().await, (json!(1), 0));
}

#[tokio::test]
async fn the_sixty_fifth_request_is_refused_and_the_others_are_answered() {
    let mut fixture = Fixture::with_tools().await;
    let mut client = Client::to(&fixture);
    let mut answers = Vec::new();
    for id in 1..=64 {
        client.send(id, "connectors.call_tool", wait_for_it());
        answers.push(fixture.waiting.recv().await.unwrap());
    }
    client.send(65, "connectors.list", json!({}));
    assert_eq!(client.reply().await, (json!(65), -32046));
    for answer in answers {
        answer.send(json!({"content": []})).unwrap();
    }
    let mut answered = Vec::new();
    for id in 1..=64 {
        let (answered_id, code) = client.reply().await;
        assert_eq!(code, 0);
        answered.push(answered_id.as_u64().unwrap());
        // Each reply makes room for another request.
        client.send(100 + id, "connectors.cancel", json!({"call_id": "x"}));
        let (other, code) = client.reply().await;
        assert_eq!(code, 0);
        answered.push(other.as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=64).chain(101..=164).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_does_not_authenticate_first_is_told_and_turned_away() {
    let fixture = Fixture::new().await;
    let connections = Connections::new(fixture.dispatcher.clone(), Some(Arc::new(Token::generate())));
    for (first, id) in [
        (r#"{"jsonrpc":"2.0","id":7,"method":"connectors.list"}"#, json!(7)),
        (r#"{"jsonrpc":"2.0","method":"connectors.list"}"#, Value::Null),
    ] {
        let mut client = Client::connect(&connections, 10);
        client.text(first);
        assert_eq!(client.reply().await, (id, -32001));
        let Message::Close(Some(close)) = client.frame().await else { panic!("not closed") };
        assert_eq!(close.code, close_code::POLICY);
        drop(client.to_daemon);
        client.served.await.unwrap();
    }
    let mut client = Client::connect(&connections, 10);
    client.text("not json");
    assert_eq!(client.reply().await, (Value::Null, -32700));
    assert!(matches!(client.frame().await, Message::Close(_)));
}

#[tokio::test]
async fn a_wrong_token_can_be_followed_by_the_right_one() {
    let fixture = Fixture::new().await;
    let token = Arc::new(Token::generate());
    let mut client =
        Client::connect(&Connections::new(fixture.dispatcher.clone(), Some(Arc::clone(&token))), 10);
    client.send(1, "session.auth", json!({"token": "wrong"}));
    assert_eq!(client.reply().await, (json!(1), -32603));
    client.send(2, "session.auth", json!({"token": token.expose()}));
    assert_eq!(
        client.message().await,
        json!({"jsonrpc": "2.0", "id": 2, "result": {"ok": true, "auth_enabled": true}})
    );
    client.send(3, "connectors.list", json!({}));
    assert_eq!(client.message().await, json!({"jsonrpc": "2.0", "id": 3, "result": {"connectors": []}}));
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_a_notification_is_not() {
    let fixture = Fixture::new().await;
    let mut client = Client::to(&fixture);
    client.text("{");
    assert_eq!(client.reply().await, (Value::Null, -32700));
    client.text("[]");
    assert_eq!(client.reply().await, (Value::Null, -32600));
    client.to_daemon.send(Ok(Message::Binary("{}".into()))).unwrap();
    assert_eq!(client.reply().await, (Value::Null, -32600));
    client.text(r#"{"jsonrpc":"2.0","method":"connectors.list"}"#);
    client.text(r#"{"jsonrpc":"2.0","method":"connectors.fly"}"#);
    client.send(1, "connectors.list", json!({}));
    assert_eq!(client.reply().await, (json!(1), 0));
}

#[tokio::test]
async fn a_closed_connection_takes_its_calls_along() {
    let mut fixture = Fixture::with_tools().await;
    let client = Client::to(&fixture);
    client.send(1, "connectors.call_tool", wait_for_it());
    let mut answer = fixture.waiting.recv().await.unwrap();
    drop(client.to_daemon);
    client.served.await.unwrap();
    // The exchange with the server was given up.
    answer.closed().await;
}

/// A manifest that waits before it takes a connector.
struct Slow {
    inner: MemoryConfigStore,
    asked: Notify,
    go_on: Notify,
}

#[async_trait]
impl ConfigStore for Slow {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.inner.load().await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.asked.notify_one();
        self.go_on.notified().await;
        self.inner.insert(definition).await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.inner.replace(definition).await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        self.inner.compare_and_swap(expected, new).await
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.inner.remove(slug).await
    }
}

#[tokio::test]
async fn a_change_is_finished_though_its_connection_is_closed() {
    let manifest =
        Arc::new(Slow { inner: MemoryConfigStore::default(), asked: Notify::new(), go_on: Notify::new() });
    let fixture = Fixture::on(Arc::<Slow>::clone(&manifest)).await;
    let mut events = fixture.dispatcher.manager().events().subscribe();
    let client = Client::to(&fixture);
    client.send(1, "connectors.add", json!({"name": "One", "url": "http://one"}));
    manifest.asked.notified().await;
    drop(client.to_daemon);
    client.served.await.unwrap();
    manifest.go_on.notify_one();
    events.recv().await.unwrap();
    assert_eq!(fixture.dispatcher.manager().list()[0].slug.as_str(), "one");
}

#[tokio::test]
async fn a_slow_reader_loses_events_and_is_told_but_no_reply() {
    let fixture = Fixture::new().await;
    let mut client = Client::connect(&Connections::new(fixture.dispatcher.clone(), None), 1);
    client.send(1, "connectors.subscribe", json!({}));
    assert_eq!(client.reply().await, (json!(1), 0));
    for id in 2..=60 {
        client.send(id, "connectors.cancel", json!({"call_id": "x"}));
    }
    for _ in 0..5000 {
        let kind = EventKind::SignIn { wanted: true, reason: None, scopes: Vec::new() };
        fixture.dispatcher.manager().events().publish(None, kind);
    }
    let (mut replies, mut seen, mut lost) = (Vec::new(), 0, 0);
    while replies.len() < 59 || seen + lost < 5000 {
        let message = client.message().await;
        match message.get("id") {
            Some(id) => replies.push(id.as_u64().unwrap()),
            None if message["params"]["kind"] == "overflow" => {
                lost += message["params"]["lost"].as_u64().unwrap();
            }
            None => seen += 1,
        }
    }
    replies.sort_unstable();
    assert_eq!(replies, (2..=60).collect::<Vec<_>>());
    assert_eq!(seen + lost, 5000);
    assert!(lost > 0);
}

#[tokio::test]
async fn what_happened_before_a_reply_is_told_before_it() {
    let mut fixture = Fixture::with_tools().await;
    let mut client = Client::to(&fixture);
    client.send(1, "connectors.subscribe", json!({}));
    client.reply().await;
    client.send(2, "connectors.call_tool", json!({"slug": "one", "tool": "wait", "call_id": "c"}));
    fixture.waiting.recv().await.unwrap().send(json!({"content": []})).unwrap();
    let mut kinds = Vec::new();
    loop {
        let message = client.message().await;
        match message["params"]["kind"].as_str() {
            Some(kind) => kinds.push(kind.to_owned()),
            None => break,
        }
    }
    assert_eq!(kinds, ["call_started", "call_finished"]);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_answered_and_ends_the_connection() {
    let fixture = Fixture::new().await;
    let mut client = Client::to(&fixture);
    client.to_daemon.send(Err("Space limit exceeded: Message too long: 9 > 8".to_owned())).unwrap();
    assert_eq!(client.reply().await, (Value::Null, -32046));
    let Message::Close(Some(close)) = client.frame().await else { panic!("not closed") };
    assert_eq!(close.code, close_code::SIZE);
}

#[tokio::test]
async fn a_result_that_fits_no_frame_is_an_error_of_its_request_alone() {
    let fixture = Fixture::with_tools().await;
    let mut client = Client::to(&fixture);
    client.send(1, "connectors.call_tool", json!({"slug": "one", "tool": "large"}));
    assert_eq!(client.reply().await, (json!(1), -32046));
    client.send(2, "connectors.list", json!({}));
    assert_eq!(client.reply().await, (json!(2), 0));
}

#[tokio::test]
async fn every_connection_is_closed_at_the_end() {
    let fixture = Fixture::new().await;
    let connections = Connections::new(fixture.dispatcher.clone(), None);
    let mut client = Client::connect(&connections, 10);
    client.send(1, "connectors.list", json!({}));
    assert_eq!(client.reply().await, (json!(1), 0));
    let Client { to_daemon, mut from_daemon, served } = client;
    let ((), close) = tokio::join!(connections.close(), async {
        let close = from_daemon.recv().await;
        drop(to_daemon);
        close
    });
    let Some(Message::Close(Some(close))) = close else { panic!("not closed") };
    assert_eq!(close.code, close_code::AWAY);
    served.await.unwrap();
}
