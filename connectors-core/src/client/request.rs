//! One request and its answer.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::cancel::CancelGuard;
use super::encode::{self, Meta};
use super::failure::Failure;
use super::{Inner, PROGRESS_BACKLOG};
use crate::connector::{Progress, ProgressSink};
use crate::error::TransportError;
use crate::protocol::{Era, Incoming, ProtocolVersion, RequestId};
use crate::transport::{Mirror, OutgoingNotification, OutgoingRequest};

/// A request before it has an id.
pub(super) struct Request<'a, P> {
    pub(super) method: &'static str,
    /// The members of `params` but for `_meta`.
    pub(super) params: &'a P,
    /// The version to speak; `None` for `initialize`.
    pub(super) version: Option<ProtocolVersion>,
    pub(super) deadline: Deadline,
    /// Told of progress; `None` does not opt in.
    pub(super) progress: Option<&'a ProgressSink>,
    /// `Mcp-Name`, for the methods that have one.
    pub(super) name: Option<&'a str>,
    /// `Mcp-Param-*`.
    pub(super) header_params: Vec<(String, String)>,
}

/// How long an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) idle: Duration,
    pub(super) total: Duration,
    started: Instant,
}

impl Deadline {
    pub(super) fn starting_now(idle: Duration, total: Duration) -> Self {
        Self { idle, total, started: Instant::now() }
    }

    fn next(&self) -> Instant {
        (Instant::now() + self.idle).min(self.end())
    }

    /// When even progress does not help any more.
    pub(super) fn end(&self) -> Instant {
        self.started + self.total
    }

    /// How long it is until then.
    pub(super) fn left(&self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end()
    }

    fn failure(&self, method: &str) -> Failure {
        let (limit, note) = if self.is_over() { (self.total, "") } else { (self.idle, " without progress") };
        Failure::TimedOut { what: format!("{method}{note}"), limit }
    }
}

impl<'a, P: Serialize> Request<'a, P> {
    pub(super) fn new(
        method: &'static str,
        params: &'a P,
        version: Option<ProtocolVersion>,
        deadline: Deadline,
    ) -> Self {
        Self { method, params, version, deadline, progress: None, name: None, header_params: Vec::new() }
    }
}

impl Inner {
    /// Sends a request and waits for its result. Dropping the future cancels it at the server.
    pub(super) async fn request<P: Serialize + Sync>(
        &self,
        request: Request<'_, P>,
    ) -> Result<Box<RawValue>, Failure> {
        let id = self.next_id();
        let modern = request.version.is_some_and(|version| version.era() == Era::Modern);
        let outgoing = OutgoingRequest {
            id: RequestId::Number(id),
            method: Cow::Borrowed(request.method),
            body: self.encode(id, &request, modern)?,
            mirror: Mirror {
                protocol_version: request.version,
                name: request.name.filter(|_| modern).map(ToOwned::to_owned),
                params: request.header_params,
            },
        };
        // Progress of a modern HTTP call can only be on its own stream.
        let mut elsewhere = match request.progress {
            Some(_) if !(modern && self.traits.drop_cancels) => Some(ProgressRoute::open(self, id)),
            _ => None,
        };
        let mut cancel = CancelGuard::new(self, id, request.version, request.method);
        let deadline = request.deadline;

        // One timer for the whole exchange: each new one would be one more entry in the runtime's wheel.
        let mut timer = pin!(sleep_until(deadline.next()));
        let exchanged = tokio::select! {
            biased;
            exchanged = self.transport.exchange(outgoing) => exchanged,
            () = &mut timer => return Err(deadline.failure(request.method)),
        };
        let mut replies = exchanged.inspect_err(|_| cancel.disarm())?;
        loop {
            let message = tokio::select! {
                biased;
                message = replies.next() => message,
                Some(progress) = recv(&mut elsewhere) => {
                    timer.as_mut().reset(deadline.next());
                    if let Some(sink) = request.progress {
                        sink(progress);
                    }
                    continue;
                }
                () = &mut timer => {
                    // The server waits for the user, and so does the call.
                    if self.is_asking() && !deadline.is_over() {
                        timer.as_mut().reset(deadline.next());
                        continue;
                    }
                    return Err(deadline.failure(request.method));
                }
            };
            match message {
                Some(Ok(Incoming::Response { id: Some(RequestId::Number(answered)), outcome }))
                    if answered == id =>
                {
                    cancel.disarm();
                    return outcome.map_err(Failure::Rpc);
                }
                // Where the server could not read the id, its error can only be about the one request of this stream.
                Some(Ok(Incoming::Response { id: None, outcome: Err(error) }))
                    if self.traits.drop_cancels =>
                {
                    cancel.disarm();
                    return Err(Failure::Rpc(error));
                }
                Some(Ok(Incoming::Response { id: other, .. })) => {
                    tracing::debug!(slug = %self.options.slug, id, ?other, "ignored a response to another request");
                }
                Some(Ok(Incoming::Notification { method, params })) => {
                    if let Some(progress) = self.notified(&method, params.as_deref(), Some(id)) {
                        timer.as_mut().reset(deadline.next());
                        if let Some(sink) = request.progress {
                            sink(progress);
                        }
                    }
                }
                Some(Ok(Incoming::Request { id, method, params })) => self.requested(id, method, params),
                Some(Err(error)) => {
                    cancel.disarm();
                    return Err(error.into());
                }
                None => {
                    cancel.disarm();
                    let reason = "the server ended the stream before it answered".to_owned();
                    return Err(Failure::Transport(TransportError::Closed { reason }));
                }
            }
        }
    }

    fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire) > 0
    }

    fn encode<P: Serialize>(
        &self,
        id: i64,
        request: &Request<'_, P>,
        modern: bool,
    ) -> Result<Bytes, Failure> {
        let meta = Meta {
            progress_token: request.progress.map(|_| id),
            modern: request.version.filter(|_| modern).map(|version| (version, &self.meta)),
        };
        encode::request(id, request.method, request.params, &meta).map_err(|error| {
            Failure::Transport(TransportError::Malformed(format!("cannot write the request: {error}")))
        })
    }

    /// Sends a notification with these `params`.
    pub(super) async fn notify(
        &self,
        method: &'static str,
        params: serde_json::Value,
        version: ProtocolVersion,
    ) -> Result<(), TransportError> {
        let body = serde_json::json!({"jsonrpc": "2.0", "method": method, "params": params});
        let note = OutgoingNotification {
            method: Some(Cow::Borrowed(method)),
            body: Bytes::from(body.to_string()),
            mirror: Mirror::version(version),
        };
        self.transport.notify(note).await
    }
}

async fn recv(route: &mut Option<ProgressRoute<'_>>) -> Option<Progress> {
    match route {
        Some(route) => route.receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// The entry of one call in the table of progress tokens; gone with the call.
struct ProgressRoute<'a> {
    inner: &'a Inner,
    token: i64,
    receiver: mpsc::Receiver<Progress>,
}

impl<'a> ProgressRoute<'a> {
    fn open(inner: &'a Inner, token: i64) -> Self {
        let (sender, receiver) = mpsc::channel(PROGRESS_BACKLOG);
        inner.progress().insert(token, sender);
        Self { inner, token, receiver }
    }
}

impl Drop for ProgressRoute<'_> {
    fn drop(&mut self) {
        self.inner.progress().remove(&self.token);
    }
}
