//! A client of the daemon's WebSocket: JSON-RPC with any number of calls at once, and the events in between.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::deadline::soon;

/// A JSON-RPC error.
#[derive(Clone, PartialEq)]
pub struct RpcError {
    /// Its code; [`RpcError::CLOSED`] where the connection ended instead.
    pub code: i64,
    /// Its message.
    pub message: String,
    /// Its data; `null` if there is none.
    pub data: Value,
}

impl RpcError {
    /// The code of a call that was open when the connection ended.
    pub const CLOSED: i64 = 0;

    fn read(error: &Value) -> Self {
        Self {
            code: error["code"].as_i64().expect("an error has a code"),
            message: error["message"].as_str().expect("an error has a message").to_owned(),
            data: error["data"].clone(),
        }
    }

    fn closed() -> Self {
        Self { code: Self::CLOSED, message: "the connection was closed".to_owned(), data: Value::Null }
    }

    /// `data.code`; empty if there is none.
    pub fn data_code(&self) -> &str {
        self.data["code"].as_str().unwrap_or_default()
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.code, self.message, self.data)
    }
}

/// The events of one connection, in order.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Value>);

impl Events {
    /// The next event; panics if none comes.
    pub async fn next(&mut self) -> Value {
        soon("an event", self.0.recv()).await.expect("the connection is open")
    }

    /// The next event, whenever it comes.
    pub async fn next_ever(&mut self) -> Value {
        self.0.recv().await.expect("the connection is open")
    }

    /// The next event for which `wanted` holds; earlier ones are dropped.
    pub async fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        soon(what, async {
            loop {
                let event =
                    self.0.recv().await.unwrap_or_else(|| panic!("no {what} before the connection ended"));
                if wanted(&event) {
                    return event;
                }
            }
        })
        .await
    }

    /// The events that have arrived by now.
    pub fn arrived(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

type Pending = Arc<Mutex<Option<HashMap<i64, oneshot::Sender<Result<Value, RpcError>>>>>>;

/// One WebSocket connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct WsClient {
    outgoing: mpsc::UnboundedSender<Message>,
    pending: Pending,
    next_id: AtomicI64,
    events: Mutex<Option<Events>>,
    strays: tokio::sync::Mutex<mpsc::UnboundedReceiver<Value>>,
    reading: watch::Sender<bool>,
    closed: watch::Receiver<bool>,
}

/// Connects to `address`; `headers` replace those that the handshake would have. Fails with the HTTP status of a refusal.
async fn handshake(
    address: &str,
    headers: &[(&'static str, &str)],
    receive_buffer: Option<u32>,
) -> Result<WebSocketStream<TcpStream>, u16> {
    let mut request = format!("ws://{address}/").into_client_request().expect("a WebSocket URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header value"));
    }
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
    }
    let stream = socket.connect(address.parse().expect("an address")).await.expect("the daemon listens");
    stream.set_nodelay(true).expect("a TCP option");
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("the handshake failed: {error}"),
    }
}

impl WsClient {
    /// Connects to the daemon at `address` (`host:port`), without authenticating.
    pub async fn connect(address: &str) -> Self {
        Self::connect_with(address, &[]).await.expect("the daemon accepts the connection")
    }

    /// Connects with these headers in the handshake; fails with the HTTP status of a refusal.
    pub async fn connect_with(address: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        Ok(Self::run(handshake(address, headers, None).await?))
    }

    /// Connects with so small a receive buffer that the daemon soon notices when nothing is read.
    pub async fn connect_narrow(address: &str) -> Self {
        Self::run(handshake(address, &[], Some(4 << 10)).await.expect("the daemon accepts the connection"))
    }

    fn run(socket: WebSocketStream<TcpStream>) -> Self {
        let (outgoing, outbox) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let (stray_sender, strays) = mpsc::unbounded_channel();
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let (closed_sender, closed) = watch::channel(false);
        let reading = watch::Sender::new(true);
        let reader = Reader {
            pending: Arc::clone(&pending),
            events: event_sender,
            strays: stray_sender,
            closed: closed_sender,
            reading: reading.subscribe(),
        };
        tokio::spawn(reader.run(socket, outbox));
        Self {
            outgoing,
            pending,
            next_id: AtomicI64::new(1),
            events: Mutex::new(Some(Events(events))),
            strays: tokio::sync::Mutex::new(strays),
            reading,
            closed,
        }
    }

    /// `session.auth` with this token.
    pub async fn authenticate(&self, token: &str) -> Result<Value, RpcError> {
        self.call("session.auth", json!({"token": token})).await
    }

    /// Calls a method and waits for its reply, however long it takes.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.start(method, params).await.unwrap_or_else(|_| Err(RpcError::closed()))
    }

    /// Sends a request now; its reply comes through what is returned.
    pub fn start(&self, method: &str, params: Value) -> oneshot::Receiver<Result<Value, RpcError>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        match self.pending.lock().expect("no panic with the lock").as_mut() {
            Some(pending) => drop(pending.insert(id, sender)),
            None => drop(sender.send(Err(RpcError::closed()))),
        }
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_text(&request.to_string());
        reply
    }

    /// The result of a call that must succeed.
    pub async fn must(&self, method: &str, params: Value) -> Value {
        let shown = params.to_string();
        match soon(method, self.call(method, params)).await {
            Ok(result) => result,
            Err(error) => panic!("{method} {shown} failed: {error:?}"),
        }
    }

    /// The error of a call that must fail.
    pub async fn must_fail(&self, method: &str, params: Value) -> RpcError {
        let shown = params.to_string();
        match soon(method, self.call(method, params)).await {
            Ok(result) => panic!("{method} {shown} succeeded: {result}"),
            Err(error) => error,
        }
    }

    /// Sends a frame as it is.
    pub fn send_text(&self, text: &str) {
        // A closed connection shows in the reply that does not come.
        let _ = self.outgoing.send(Message::text(text));
    }

    /// The next message that answers no call of this client's, such as an error without an id.
    pub async fn stray(&self) -> Value {
        let mut strays = self.strays.lock().await;
        soon("a message without a known id", strays.recv()).await.expect("the connection is open")
    }

    /// The events of this connection; can be taken once. They come after `connectors.subscribe`.
    pub fn events(&self) -> Events {
        self.events.lock().expect("no panic with the lock").take().expect("the events are taken once")
    }

    /// Subscribes, and returns the events.
    pub async fn subscribe(&self) -> Events {
        let events = self.events();
        self.must("connectors.subscribe", json!({})).await;
        events
    }

    /// Stops reading from the socket, or goes on.
    pub fn read(&self, reading: bool) {
        self.reading.send_replace(reading);
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the reader has gone, and the connection with it.
        let _ = soon("the end of the connection", closed.wait_for(|closed| *closed)).await;
    }

    /// True if the connection has ended.
    pub fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }
}

struct Reader {
    pending: Pending,
    events: mpsc::UnboundedSender<Value>,
    strays: mpsc::UnboundedSender<Value>,
    closed: watch::Sender<bool>,
    reading: watch::Receiver<bool>,
}

impl Reader {
    async fn run(mut self, socket: WebSocketStream<TcpStream>, mut outbox: mpsc::UnboundedReceiver<Message>) {
        let (mut sink, mut stream) = socket.split();
        loop {
            let may_read = *self.reading.borrow_and_update();
            tokio::select! {
                changed = self.reading.changed() => if changed.is_err() { break },
                message = outbox.recv() => match message {
                    Some(message) => if sink.send(message).await.is_err() { break },
                    None => {
                        let _ = sink.close().await;
                        break;
                    }
                },
                frame = stream.next(), if may_read => match frame {
                    Some(Ok(Message::Text(text))) => self.receive(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
            }
        }
        // Calls that are still open learn that nothing will come.
        self.pending.lock().expect("no panic with the lock").take();
        self.closed.send_replace(true);
    }

    fn receive(&self, text: &str) {
        let message: Value = serde_json::from_str(text).expect("the daemon sends JSON");
        if message["method"] == "connectors.event" {
            // Nobody may be interested.
            let _ = self.events.send(message["params"].clone());
            return;
        }
        let waiting = message["id"].as_i64().and_then(|id| {
            self.pending.lock().expect("no panic with the lock").as_mut().and_then(|all| all.remove(&id))
        });
        let Some(waiting) = waiting else {
            let _ = self.strays.send(message);
            return;
        };
        let outcome = match message.get("error") {
            Some(error) => Err(RpcError::read(error)),
            None => Ok(message["result"].clone()),
        };
        let _ = waiting.send(outcome);
    }
}
