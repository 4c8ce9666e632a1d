//! What a server has seen.

use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Method};
use serde_json::Value;
use tokio::sync::watch;

use crate::deadline;

/// One HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenRequest {
    /// `POST`, `GET` or `DELETE`.
    pub http_method: Method,
    /// The path and query asked for.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The JSON of its body; `null` if there was none.
    pub body: Value,
}

impl SeenRequest {
    /// The JSON-RPC method; for a GET or DELETE, that.
    pub fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or(self.http_method.as_str())
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How a client gave a request up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It closed the connection or the response stream.
    Disconnect,
    /// It sent `notifications/cancelled`.
    Notification,
}

/// A request that the client gave up before it was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Cancelled {
    /// Its JSON-RPC id.
    pub id: Value,
    /// Its JSON-RPC method.
    pub method: String,
    /// How.
    pub signal: Signal,
}

/// Who ended a response stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The server, when it had nothing more to say.
    Server,
    /// The client.
    Client,
}

/// Everything that a server has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Every request, in order.
    pub requests: Vec<SeenRequest>,
    /// Connections accepted.
    pub connections: usize,
    /// Connections open now.
    pub open_connections: usize,
    /// Requests given up.
    pub cancelled: Vec<Cancelled>,
    /// Response streams that have delivered an answer.
    pub answered_streams: usize,
    /// Response streams that have ended, and who ended them.
    pub ended_streams: Vec<StreamEnd>,
    /// GET streams and `subscriptions/listen` streams open now.
    pub listeners: usize,
    /// Sessions opened.
    pub sessions: usize,
}

impl Seen {
    /// The requests of one method.
    pub fn of(&self, method: &str) -> Vec<SeenRequest> {
        self.requests.iter().filter(|request| request.method() == method).cloned().collect()
    }

    /// How many requests of one method there were.
    pub fn count(&self, method: &str) -> usize {
        self.requests.iter().filter(|request| request.method() == method).count()
    }
}

/// The growing record of one server. Cloning shares it.
#[derive(Debug)]
pub struct Record<T = Seen> {
    seen: Arc<Mutex<T>>,
    changed: watch::Sender<()>,
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self { seen: Arc::clone(&self.seen), changed: self.changed.clone() }
    }
}

impl<T: Default> Default for Record<T> {
    fn default() -> Self {
        Self { seen: Arc::default(), changed: watch::Sender::new(()) }
    }
}

impl<T> Record<T> {
    /// Notes something.
    pub(crate) fn note<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let noted = change(&mut self.seen.lock().expect("nobody panics while noting"));
        self.changed.send_replace(());
        noted
    }

    /// Looks at what has been seen.
    pub fn look<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.seen.lock().expect("nobody panics while noting"))
    }

    /// Waits until `probe` finds what it looks for; panics, naming `what`, if it never does.
    pub async fn wait_for<R>(&self, what: &str, probe: impl Fn(&T) -> Option<R>) -> R {
        let mut changed = self.changed.subscribe();
        deadline::soon(what, async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = self.look(&probe) {
                    return found;
                }
                changed.changed().await.expect("the record outlives this borrow of it");
            }
        })
        .await
    }
}
