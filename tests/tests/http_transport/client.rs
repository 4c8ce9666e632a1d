//! The transport under test, and messages for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors_core::authorizer::{Authorizer, SecretHeader, StaticHeaders};
use connectors_core::protocol::{Incoming, ProtocolVersion, RequestId, RpcError};
use connectors_core::transport::{
    DialTarget, IncomingStream, Mirror, OutgoingNotification, OutgoingRequest, ReplyStream,
};
use connectors_core::{ConnectorDefinition, Dialer, Limits, Slug, Trace, Transport, TransportError};
use connectors_http::HttpDialer;
use connectors_tests::deadline::soon;
use futures_util::StreamExt;
use serde_json::{Value, json};

pub(crate) const LEGACY: ProtocolVersion = ProtocolVersion::LATEST_LEGACY;

/// A transport to `url` without credentials.
pub(crate) async fn transport(url: &str) -> Arc<dyn Transport> {
    transport_with(url, Limits::default(), vec![]).await
}

/// A transport that sends these headers.
pub(crate) async fn transport_with(
    url: &str,
    limits: Limits,
    headers: Vec<SecretHeader>,
) -> Arc<dyn Transport> {
    dial(url, limits, Arc::new(StaticHeaders::new(headers))).await
}

/// A transport with an authorizer of its own.
pub(crate) async fn dial(url: &str, limits: Limits, authorizer: Arc<dyn Authorizer>) -> Arc<dyn Transport> {
    let target = DialTarget::new(Arc::new(definition(url)), authorizer, Arc::new(limits), Trace::default());
    HttpDialer::new().dial(target).await.expect("a dial makes no connection")
}

/// The connector under test.
pub(crate) fn definition(url: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(Slug::verbatim("under_test"), "Under test", url)
}

pub(crate) fn request(id: i64, method: &'static str, version: Option<ProtocolVersion>) -> OutgoingRequest {
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}).to_string();
    let mirror = Mirror { protocol_version: version, ..Mirror::default() };
    OutgoingRequest { id: RequestId::Number(id), method: method.into(), body: Bytes::from(body), mirror }
}

/// What an exchange comes to: its result, or the error of the server or of the wire.
pub(crate) async fn result(reply: &mut ReplyStream) -> Result<Result<Value, RpcError>, TransportError> {
    loop {
        let message =
            soon("an answer", reply.next()).await.expect("a reply ends with a response or an error")?;
        if let Incoming::Response { outcome, .. } = message {
            return Ok(outcome.map(|result| serde_json::from_str(result.get()).expect("JSON")));
        }
    }
}

/// One exchange of the legacy era.
pub(crate) async fn call(
    wire: &dyn Transport,
    id: i64,
    method: &'static str,
) -> Result<Value, TransportError> {
    exchange(wire, request(id, method, Some(LEGACY))).await
}

/// One exchange of the modern era.
pub(crate) async fn call_modern(
    wire: &dyn Transport,
    id: i64,
    method: &'static str,
) -> Result<Value, TransportError> {
    exchange(wire, request(id, method, Some(ProtocolVersion::LATEST))).await
}

async fn exchange(wire: &dyn Transport, request: OutgoingRequest) -> Result<Value, TransportError> {
    let mut reply = soon("an exchange", wire.exchange(request)).await?;
    Ok(result(&mut reply).await?.expect("a result"))
}

/// Opens a session (id 0).
pub(crate) async fn initialize(wire: &dyn Transport) -> Result<Value, TransportError> {
    exchange(wire, request(0, "initialize", None)).await
}

/// The first message after it, with which a session is in use.
pub(crate) async fn initialized(wire: &dyn Transport) -> Result<(), TransportError> {
    notify(wire, "notifications/initialized").await
}

pub(crate) async fn notify(wire: &dyn Transport, method: &'static str) -> Result<(), TransportError> {
    let body = Bytes::from(json!({"jsonrpc": "2.0", "method": method}).to_string());
    let note = OutgoingNotification { method: Some(method.into()), body, mirror: Mirror::version(LEGACY) };
    soon("a notification", wire.notify(note)).await
}

/// The next message of an incoming stream, by its method.
pub(crate) async fn next_incoming(stream: &mut IncomingStream) -> Result<String, TransportError> {
    match soon("an incoming message", stream.next()).await.expect("the stream goes on")? {
        Incoming::Notification { method, .. } | Incoming::Request { method, .. } => Ok(method),
        message @ Incoming::Response { .. } => panic!("{message:?}"),
    }
}

/// Limits that make a test of them quick.
pub(crate) fn small_limits() -> Limits {
    let mut limits = Limits::default();
    limits.reply_bytes = 64 << 10;
    limits.event_bytes = 64 << 10;
    limits.handshake = Duration::from_secs(2);
    limits
}
