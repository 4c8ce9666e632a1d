//! `subscriptions/listen`: the modern era's stream of change notifications, kept open.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::Inner;
use super::options::ClientSignal;
use crate::error::TransportError;
use crate::protocol::{Era, Incoming, ProtocolVersion, RequestId, RequestMeta, code};
use crate::transport::{Mirror, OutgoingRequest, ReplyStream};

/// Wait before a stream that ended is opened again; doubled up to [`MAX_WAIT`] while it keeps ending.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// Longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// A stream that has lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// The subscription of one client: opened when it is first polled, opened again when it ends.
pub(super) struct Subscription<'a> {
    inner: &'a Inner,
    /// False where the server announces no changes in this way.
    possible: bool,
    capabilities: Value,
    watched: watch::Receiver<BTreeSet<String>>,
    stream: Option<(ReplyStream, Instant)>,
    wait: Duration,
    opened_before: bool,
}

impl<'a> Subscription<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        let session = inner.session.load();
        Self {
            inner,
            possible: session.era() == Era::Modern,
            capabilities: session.capabilities.clone(),
            watched: inner.watched.subscribe(),
            stream: None,
            wait: Duration::ZERO,
            opened_before: false,
        }
    }

    /// The next message of the stream, reopening it as often as it takes; pending where there is no subscription.
    ///
    /// Cancel-safe: what was opened stays open.
    pub(super) async fn next(&mut self) -> Incoming {
        loop {
            if !self.possible {
                return std::future::pending().await;
            }
            let Some((stream, opened)) = &mut self.stream else {
                self.open().await;
                continue;
            };
            let message = tokio::select! {
                message = stream.next() => message,
                Ok(()) = self.watched.changed() => {
                    // Asked for anew, with the other filter.
                    self.stream = None;
                    self.wait = Duration::ZERO;
                    continue;
                }
            };
            match message {
                Some(Ok(Incoming::Response { outcome: Err(error), .. }))
                    if [code::METHOD_NOT_FOUND, code::INVALID_PARAMS].contains(&error.code) =>
                {
                    tracing::debug!(slug = %self.inner.options.slug, code = error.code, "the server has no subscriptions");
                    self.possible = false;
                    self.stream = None;
                }
                Some(Ok(message @ (Incoming::Notification { .. } | Incoming::Request { .. }))) => {
                    return message;
                }
                Some(Ok(Incoming::Response { .. }) | Err(_)) | None => {
                    if opened.elapsed() >= GOOD {
                        self.wait = MIN_WAIT;
                    }
                    self.stream = None;
                }
            }
        }
    }

    /// Waits for the time of the next attempt, then makes it; or waits for something to ask for.
    async fn open(&mut self) {
        let Some(filter) = filter(&self.capabilities, &self.watched.borrow_and_update()) else {
            // The sender lives as long as the client.
            let _ = self.watched.changed().await;
            return;
        };
        sleep(self.wait).await;
        self.wait = (self.wait * 2).clamp(MIN_WAIT, MAX_WAIT);
        match self.inner.transport.exchange(self.inner.listen_request(&filter)).await {
            Ok(stream) => {
                self.stream = Some((stream, Instant::now()));
                if std::mem::replace(&mut self.opened_before, true) {
                    // Changes in between were not announced.
                    self.inner.signal(ClientSignal::ToolsChanged);
                }
            }
            Err(TransportError::Status { rpc: Some(error), .. }) if error.code == code::METHOD_NOT_FOUND => {
                self.possible = false;
            }
            Err(error) => tracing::debug!(slug = %self.inner.options.slug, %error, "no subscription"),
        }
    }
}

/// The notifications that the server announces, as the filter that asks for them.
fn filter(capabilities: &Value, watched: &BTreeSet<String>) -> Option<Value> {
    let announces = |feature: &str| capabilities[feature]["listChanged"] == true;
    let mut filter = serde_json::Map::new();
    for (feature, key) in [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ] {
        if announces(feature) {
            filter.insert(key.to_owned(), true.into());
        }
    }
    if !watched.is_empty() {
        filter.insert("resourceSubscriptions".to_owned(), watched.iter().cloned().collect());
    }
    (!filter.is_empty()).then_some(Value::Object(filter))
}

impl Inner {
    fn listen_request(&self, filter: &Value) -> OutgoingRequest {
        let id = self.next_id();
        let version: ProtocolVersion = self.session.load().version;
        let meta = RequestMeta {
            protocol_version: Some(version.as_str()),
            client_info: Some(&self.options.info),
            client_capabilities: Some(&self.capabilities),
            ..RequestMeta::default()
        };
        let body = json!({
            "jsonrpc": "2.0",
            "id": id,
            "method": "subscriptions/listen",
            "params": {"notifications": filter, "_meta": meta}
        });
        OutgoingRequest {
            id: RequestId::Number(id),
            method: "subscriptions/listen".into(),
            body: Bytes::from(body.to_string()),
            mirror: Mirror::version(version),
        }
    }
}
