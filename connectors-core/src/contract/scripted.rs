//! A server made of a closure, and the transport and dialer that lead to it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;

use crate::definition::ConnectorDefinition;
use crate::error::TransportError;
use crate::protocol::{Incoming, RequestId, RpcError};
use crate::transport::{
    DialTarget, Dialer, IncomingStream, InvalidDefinition, OutgoingNotification, OutgoingRequest,
    ReplyStream, Traits, Transport,
};

/// What a scripted server does with one request.
pub enum Reply {
    /// Answers with this result.
    Result(Value),
    /// Answers with this error.
    Error(i64, &'static str),
    /// Answers with this error and data.
    ErrorWith(RpcError),
    /// Sends these before it does something else.
    After(Vec<Incoming>, Box<Reply>),
    /// Never answers.
    Never,
    /// The exchange fails on the wire.
    Wire(TransportError),
    /// Ends the stream without an answer.
    Ends,
    /// Sends these as they come, and no answer but what is among them.
    Streams(futures_util::stream::BoxStream<'static, Incoming>),
    /// Answers with what the future gives, when it is there.
    Later(futures_util::future::BoxFuture<'static, Value>),
}

/// A message that the server has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its method; empty for a response.
    pub method: String,
    /// Its parameters, or the whole message for a response.
    pub params: Value,
}

type Script = Box<dyn FnMut(&str, &Value) -> Reply + Send>;

/// A server made of a closure, one per connection or shared by several.
pub struct ScriptedServer {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    traits: Traits,
    incoming: Mutex<Option<mpsc::UnboundedSender<Result<Incoming, TransportError>>>>,
    closed: AtomicBool,
    closing: Mutex<Duration>,
    dials: AtomicUsize,
    note_seen: tokio::sync::Notify,
}

/// A wire like Streamable HTTP.
pub const HTTP_LIKE: Traits = Traits { drop_cancels: true, mirrors_headers: true, is_process: false };
/// A wire like stdio.
pub const STDIO_LIKE: Traits = Traits { drop_cancels: false, mirrors_headers: false, is_process: true };

impl ScriptedServer {
    /// A server that answers every request by this script.
    pub fn new(traits: Traits, script: impl FnMut(&str, &Value) -> Reply + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
            traits,
            incoming: Mutex::default(),
            closed: AtomicBool::new(false),
            closing: Mutex::default(),
            dials: AtomicUsize::new(0),
            note_seen: tokio::sync::Notify::new(),
        })
    }

    /// Every message so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods of every message so far.
    pub fn methods(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.method).collect()
    }

    /// How often it has been dialled.
    pub fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    /// Closing its transports takes this long from now on.
    pub fn set_slow_to_close(&self, time: Duration) {
        *self.closing.lock().unwrap() = time;
    }

    /// True once the transport was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Sends something outside any exchange.
    pub fn send(&self, message: Result<Incoming, TransportError>) {
        let incoming = self.incoming.lock().unwrap();
        incoming.as_ref().expect("nobody listens yet").send(message).expect("the listener has gone");
    }

    /// Waits until a message with this method has been seen.
    pub async fn wait_for(&self, method: &str) -> Seen {
        loop {
            let changed = self.note_seen.notified();
            if let Some(seen) = self.seen().into_iter().rev().find(|seen| seen.method == method) {
                return seen;
            }
            changed.await;
        }
    }

    fn record(&self, body: &[u8]) -> (String, Value) {
        let message: Value = serde_json::from_slice(body).expect("the client sends JSON");
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        assert!(!body.contains(&b'\n'), "a message holds a line break");
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let params = if method.is_empty() { message } else { message["params"].clone() };
        self.seen.lock().unwrap().push(Seen { method: method.clone(), params: params.clone() });
        self.note_seen.notify_waiters();
        (method, params)
    }
}

/// A notification as a server sends it.
pub fn notification(method: &str, params: Value) -> Incoming {
    Incoming::Notification { method: method.to_owned(), params: Some(raw(&params)) }
}

/// A request of the server's own.
pub fn request(id: RequestId, method: &str, params: Value) -> Incoming {
    Incoming::Request { id, method: method.to_owned(), params: Some(raw(&params)) }
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).expect("a value is JSON")
}

/// The transport to a [`ScriptedServer`].
pub struct ScriptedTransport(pub Arc<ScriptedServer>);

#[async_trait]
impl Transport for ScriptedTransport {
    fn traits(&self) -> Traits {
        self.0.traits
    }

    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let (method, params) = self.0.record(&request.body);
        assert_eq!(method, request.method);
        let mut reply = {
            let mut script = self.0.script.lock().unwrap();
            script(&method, &params)
        };
        let mut messages = Vec::new();
        while let Reply::After(before, then) = reply {
            messages.extend(before);
            reply = *then;
        }
        let answer = |outcome| Incoming::Response { id: Some(request.id.clone()), outcome };
        let messages = stream::iter(messages.into_iter().map(Ok));
        Ok(match reply {
            Reply::Result(result) => {
                let answer = answer(Ok(raw(&result)));
                messages.chain(stream::iter([Ok(answer)])).boxed()
            }
            Reply::Error(code, message) => {
                let answer = answer(Err(RpcError::new(code, message)));
                messages.chain(stream::iter([Ok(answer)])).boxed()
            }
            Reply::ErrorWith(error) => messages.chain(stream::iter([Ok(answer(Err(error)))])).boxed(),
            Reply::Later(result) => {
                let id = request.id.clone();
                let later =
                    async move { Ok(Incoming::Response { id: Some(id), outcome: Ok(raw(&result.await)) }) };
                messages.chain(stream::once(later)).boxed()
            }
            Reply::Streams(rest) => messages.chain(rest.map(Ok)).boxed(),
            Reply::Wire(error) => return Err(error),
            Reply::Ends => messages.boxed(),
            Reply::Never | Reply::After(..) => messages.chain(stream::pending()).boxed(),
        })
    }

    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        let (method, _) = self.0.record(&note.body);
        assert_eq!(method, note.method.as_deref().unwrap_or_default());
        Ok(())
    }

    fn incoming(&self) -> IncomingStream {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.incoming.lock().unwrap() = Some(sender);
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|m| (m, receiver)) })
            .boxed()
    }

    async fn close(&self) {
        let time = *self.0.closing.lock().unwrap();
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        self.0.closed.store(true, Ordering::SeqCst);
    }
}

/// Dials scripted servers: whichever the closure gives for a definition.
pub struct ScriptedDialer<F>(pub F);

#[async_trait]
impl<F> Dialer for ScriptedDialer<F>
where
    F: Fn(&ConnectorDefinition) -> Result<Arc<ScriptedServer>, TransportError> + Send + Sync + 'static,
{
    fn serves(&self, _: &ConnectorDefinition) -> bool {
        true
    }

    fn check(&self, _: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        Ok(())
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError> {
        let server = (self.0)(&target.definition)?;
        server.dials.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(ScriptedTransport(server)))
    }
}
