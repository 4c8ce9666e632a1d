//! `subscriptions/listen`: the modern era's stream of change notifications, kept open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Inner;
use super::cancel::CancelGuard;
use super::watching::Interest;
use crate::error::TransportError;
use crate::protocol::{Era, Incoming, ProtocolVersion, RequestId, RequestMeta, code};
use crate::transport::{Mirror, OutgoingRequest, ReplyStream};

const METHOD: &str = "subscriptions/listen";

/// Wait before a stream that ended is opened again; doubled up to [`MAX_WAIT`] while it keeps ending.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// Longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// How long a stream goes on when the one in its place is acknowledged: what it brought before may still be on its way,
/// on another connection.
const OVERLAP: Duration = Duration::from_secs(2);
/// A stream that has lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// The subscription of one client: opened when it is first polled, opened again when it ends or when something else is
/// wanted of it.
pub(super) struct Subscription<'a> {
    inner: &'a Inner,
    /// False where the server announces no changes in this way.
    possible: bool,
    capabilities: Value,
    watched: watch::Receiver<BTreeMap<String, Interest>>,
    acknowledged: watch::Receiver<bool>,
    stream: Option<Open>,
    /// The one before, which goes on until the server has acknowledged `stream`: no change falls between the two.
    retiring: Option<Open>,
    /// When `retiring` is closed, once that is known.
    retire_at: Option<Instant>,
    /// When the next attempt may be made; `None` while there is nothing to ask for.
    due: Option<Instant>,
    wait: Duration,
    opened_before: bool,
}

/// A stream that is open, and the request behind it.
struct Open {
    stream: ReplyStream,
    since: Instant,
    /// Tells the server that the stream is no longer wanted, where closing it does not.
    cancel: CancelGuard,
}

/// What there is to act on.
enum Next {
    Message(Incoming),
    Refused,
    Ended,
    Retired,
    Wanted,
    Acknowledged,
    Retire,
    Due,
}

impl<'a> Subscription<'a> {
    pub(super) fn new(inner: &'a Inner) -> Self {
        let session = inner.session.load();
        Self {
            inner,
            possible: session.era() == Era::Modern,
            capabilities: session.capabilities.clone(),
            watched: inner.watched.changes(),
            acknowledged: inner.agreement.acknowledged(),
            stream: None,
            retiring: None,
            retire_at: None,
            due: Some(Instant::now()),
            wait: Duration::ZERO,
            opened_before: false,
        }
    }

    /// The next message of the stream, reopening it as often as it takes; pending where there is no subscription.
    ///
    /// Cancel-safe: what was opened stays open.
    pub(super) async fn next(&mut self) -> Incoming {
        if !self.possible {
            return std::future::pending().await;
        }
        loop {
            match self.wait().await {
                Next::Message(message) => return message,
                Next::Refused => {
                    self.give_up();
                    return std::future::pending().await;
                }
                Next::Ended => {
                    if let Some(mut ended) = self.stream.take() {
                        ended.cancel.disarm();
                        if ended.since.elapsed() >= GOOD {
                            self.wait = MIN_WAIT;
                        }
                    }
                    self.due = Some(Instant::now() + self.wait);
                }
                Next::Retired => {
                    if let Some(mut ended) = self.retiring.take() {
                        ended.cancel.disarm();
                    }
                }
                Next::Acknowledged => self.retire_at = Some(Instant::now() + OVERLAP),
                Next::Retire => self.retiring = None,
                Next::Wanted => {
                    // Asked for anew, with the other filter.
                    let replaced = self.stream.take();
                    if self.retire_at.take().is_some() || self.retiring.is_none() {
                        self.retiring = replaced;
                    }
                    self.wait = Duration::ZERO;
                    self.due = Some(Instant::now());
                }
                Next::Due => self.open().await,
            }
            if !self.possible {
                return std::future::pending().await;
            }
        }
    }

    async fn wait(&mut self) -> Next {
        let due = self.due.filter(|_| self.stream.is_none());
        let retire_at = self.retire_at.filter(|_| self.retiring.is_some());
        let is_replacing = self.stream.is_some() && self.retiring.is_some() && self.retire_at.is_none();
        tokio::select! {
            () = until(due) => Next::Due,
            () = until(retire_at) => Next::Retire,
            message = of(&mut self.stream) => match message {
                Some(Ok(Incoming::Response { outcome: Err(error), .. }))
                    if [code::METHOD_NOT_FOUND, code::INVALID_PARAMS].contains(&error.code) => Next::Refused,
                Some(Ok(message @ (Incoming::Notification { .. } | Incoming::Request { .. }))) => {
                    Next::Message(message)
                }
                Some(Ok(Incoming::Response { .. }) | Err(_)) | None => Next::Ended,
            },
            message = of(&mut self.retiring) => match message {
                Some(Ok(message @ Incoming::Notification { .. })) => Next::Message(message),
                _ => Next::Retired,
            },
            // The senders live as long as the client.
            Ok(()) = self.watched.changed() => Next::Wanted,
            Ok(_) = self.acknowledged.wait_for(|acknowledged| *acknowledged), if is_replacing => {
                Next::Acknowledged
            }
        }
    }

    /// Asks for what is wanted, if anything is.
    async fn open(&mut self) {
        let watched: BTreeSet<String> = self.watched.borrow_and_update().keys().cloned().collect();
        let Some(filter) = filter(&self.capabilities, &watched) else {
            self.due = None;
            self.retiring = None;
            return;
        };
        self.wait = (self.wait * 2).clamp(MIN_WAIT, MAX_WAIT);
        self.due = Some(Instant::now() + self.wait);
        let (id, version) = (self.inner.next_id(), self.inner.session.load().version);
        self.inner.agreement.ask(RequestId::Number(id), watched, self.retiring.is_some());
        let mut cancel = CancelGuard::new(self.inner, id, Some(version), METHOD);
        match self.inner.transport.exchange(self.inner.listen_request(id, version, &filter)).await {
            Ok(stream) => {
                self.stream = Some(Open { stream, since: Instant::now(), cancel });
                if std::mem::replace(&mut self.opened_before, true) && self.retiring.is_none() {
                    self.inner.signal_gap();
                }
            }
            Err(error) => {
                cancel.disarm();
                tracing::debug!(slug = %self.inner.options.slug, %error, "no subscription");
                if is_unknown_method(&error) {
                    self.give_up();
                }
            }
        }
    }

    fn give_up(&mut self) {
        tracing::debug!(slug = %self.inner.options.slug, "the server has no subscriptions");
        for mut open in [self.stream.take(), self.retiring.take()].into_iter().flatten() {
            open.cancel.disarm();
        }
        self.possible = false;
        self.inner.agreement.give_up();
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What comes on a stream; pending without one.
async fn of(open: &mut Option<Open>) -> Option<Result<Incoming, TransportError>> {
    match open {
        Some(open) => open.stream.next().await,
        None => std::future::pending().await,
    }
}

fn is_unknown_method(error: &TransportError) -> bool {
    matches!(error, TransportError::Status { rpc: Some(error), .. } if error.code == code::METHOD_NOT_FOUND)
}

fn announces(capabilities: &Value, feature: &str) -> bool {
    capabilities[feature]["listChanged"] == true
}

/// The notifications that the server announces, as the filter that asks for them.
fn filter(capabilities: &Value, watched: &BTreeSet<String>) -> Option<Value> {
    let mut filter = serde_json::Map::new();
    for (feature, key) in [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ] {
        if announces(capabilities, feature) {
            filter.insert(key.to_owned(), true.into());
        }
    }
    if !watched.is_empty() {
        filter.insert("resourceSubscriptions".to_owned(), watched.iter().cloned().collect());
    }
    (!filter.is_empty()).then_some(Value::Object(filter))
}

impl Inner {
    /// Waits until the server has acknowledged that it announces changes of its tools, where it says that it does, but no longer
    /// than `patience`: a list that is read after that need not be read again.
    pub(super) async fn tools_announced(&self, patience: Duration) {
        let session = self.session.load_full();
        if session.era() == Era::Modern && announces(&session.capabilities, "tools") {
            // Without an acknowledgement the list is read again once it comes.
            let _ = timeout(patience, self.agreement.settled()).await;
        }
    }

    fn listen_request(&self, id: i64, version: ProtocolVersion, filter: &Value) -> OutgoingRequest {
        let meta = RequestMeta {
            protocol_version: Some(version.as_str()),
            client_info: Some(&self.options.info),
            client_capabilities: Some(&self.capabilities),
            ..RequestMeta::default()
        };
        let body = json!({
            "jsonrpc": "2.0",
            "id": id,
            "method": METHOD,
            "params": {"notifications": filter, "_meta": meta}
        });
        OutgoingRequest {
            id: RequestId::Number(id),
            method: METHOD.into(),
            body: Bytes::from(body.to_string()),
            mirror: Mirror::version(version),
        }
    }
}
