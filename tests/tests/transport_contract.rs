//! The suite of the core crate, over real HTTP: answers as JSON, as streams of events, and on the one stream of HTTP+SSE.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Response};
use connectors_core::contract::transport::{self, PeerAction, ScriptedPeer, TransportFixture};
use connectors_core::protocol::RequestId;
use connectors_core::{Limits, Transport};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::http_transport::client::{initialize, transport_with};
use crate::http_transport::server::{Call, Server, answer, events, open_events, status};

/// How the peer's messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Each answer is a stream.
    Events,
    /// An answer is one object where nothing precedes it.
    Json,
    /// All answers are on one stream (2024-11-05).
    HttpSse,
}

/// A peer behind HTTP.
struct Bridge {
    style: Style,
    peer: Mutex<ScriptedPeer>,
    /// Where the messages of each exchange go, and whether they are its last.
    exchanges: Mutex<HashMap<RequestId, mpsc::UnboundedSender<(String, bool)>>>,
    /// The one stream of HTTP+SSE.
    shared: Mutex<Option<mpsc::UnboundedSender<String>>>,
    dies: Notify,
}

impl Bridge {
    async fn handle(self: Arc<Self>, call: Call) -> Response<Body> {
        match (&call.method, call.target.as_str(), self.style) {
            (&Method::POST, "/mcp", Style::Events | Style::Json) => self.post(call).await,
            (&Method::GET, "/mcp", Style::HttpSse) => {
                let (sender, response) = open_events();
                sender
                    .send("event: endpoint\ndata: /messages?session=1\n\n".to_owned())
                    .expect("an open stream");
                *self.shared.lock().expect("no panic") = Some(sender);
                response
            }
            (&Method::POST, "/messages?session=1", Style::HttpSse) => self.post_to_shared(&call),
            _ => status(405),
        }
    }

    /// Hands a message to the peer and does what it wants.
    fn play(&self, message: &str) {
        let actions = self.peer.lock().expect("no panic").receive(message.as_bytes());
        for action in actions {
            match action {
                PeerAction::Send { exchange, message, last } => {
                    if let Some(shared) = &*self.shared.lock().expect("no panic") {
                        // A client that has left needs nothing.
                        let _ = shared.send(event(&message));
                    } else if let Some(sender) = self.exchanges.lock().expect("no panic").get(&exchange) {
                        let _ = sender.send((message, last));
                    }
                }
                PeerAction::Die => self.dies.notify_one(),
            }
        }
    }

    async fn post(&self, call: Call) -> Response<Body> {
        let Ok(id) = serde_json::from_value::<RequestId>(call.body()["id"].clone()) else {
            self.play(&call.text);
            return status(202);
        };
        let (sender, mut messages) = mpsc::unbounded_channel();
        self.exchanges.lock().expect("no panic").insert(id, sender);
        self.play(&call.text);
        if self.style == Style::Json {
            match messages.recv().await.expect("the exchange stays open") {
                (only, true) => return answer(200, "application/json", only),
                (first, false) => {
                    let mut text = event(&first);
                    while let Some((message, last)) = messages.recv().await {
                        text.push_str(&event(&message));
                        if last {
                            break;
                        }
                    }
                    return events(text);
                }
            }
        }
        let (sender, response) = open_events();
        tokio::spawn(async move {
            while let Some((message, last)) = messages.recv().await {
                if sender.send(event(&message)).is_err() || last {
                    return;
                }
            }
        });
        response
    }

    fn post_to_shared(&self, call: &Call) -> Response<Body> {
        let body = call.body();
        if body["method"] == "initialize" {
            let result = json!({"jsonrpc": "2.0", "id": body["id"], "result": {}});
            let shared = self.shared.lock().expect("no panic");
            shared
                .as_ref()
                .expect("an open stream")
                .send(event(&result.to_string()))
                .expect("an open stream");
        } else {
            self.play(&call.text);
        }
        answer(202, "text/plain", "Accepted")
    }
}

fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// Starts a server of this style for each transport.
struct OverHttp(Style);

#[async_trait]
impl TransportFixture for OverHttp {
    async fn connect(&self, limits: Limits) -> Arc<dyn Transport> {
        let bridge = Arc::new(Bridge {
            style: self.0,
            peer: Mutex::default(),
            exchanges: Mutex::default(),
            shared: Mutex::default(),
            dies: Notify::new(),
        });
        let of_server = Arc::clone(&bridge);
        let server = Server::start(move |call| Arc::clone(&of_server).handle(call)).await;
        let transport = transport_with(&server.url("/mcp"), limits, vec![]).await;
        if self.0 == Style::HttpSse {
            initialize(&*transport).await.expect("an answer to initialize");
        }
        tokio::spawn(async move {
            bridge.dies.notified().await;
            server.stop();
        });
        transport
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_streams_of_events() {
    transport::all(&OverHttp(Style::Events)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_json() {
    transport::all(&OverHttp(Style::Json)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_http_with_sse() {
    transport::all(&OverHttp(Style::HttpSse)).await;
}
