//! The border to a wire: moving JSON-RPC messages to one server.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::authorizer::Authorizer;
use crate::definition::{ConnectorDefinition, SecretVariable};
use crate::error::TransportError;
use crate::limits::Limits;
use crate::protocol::{Era, Incoming, ProtocolVersion, RequestId};
use crate::trace::Trace;

/// What arrives for one exchange, in order; ends after the response, or with an error.
pub type ReplyStream = BoxStream<'static, Result<Incoming, TransportError>>;

/// What the server sends on its own, outside any exchange.
pub type IncomingStream = BoxStream<'static, Result<Incoming, TransportError>>;

/// Moves JSON-RPC messages to **one** server, and knows nothing of what they mean.
///
/// Implemented by the HTTP and stdio siblings (and by anyone with another wire), used by
/// [`McpClient`](crate::client::McpClient) alone, which owns versions, ids, paging and cancellation.
///
/// # What implementers owe
///
/// *Concurrency.* Every method takes `&self`, and any number of exchanges run at once: nothing on the way of one
/// may wait for another's answer. Replies are matched by id; a response with an id that nobody waits for is dropped,
/// never handed to another exchange.
///
/// *Order.* What the server sends about a request before it answers comes before the answer: on the request's own stream, or,
/// where all messages share one channel, by the progress token, which is the request's id.
///
/// *Cancellation.* Dropping the future of a method, or a [`ReplyStream`], gives that exchange up: its memory is freed at
/// once, a late answer is dropped. Where closing the stream is itself the protocol's cancellation signal
/// ([`Traits::drop_cancels`]), the drop closes it.
///
/// *Errors.* A failure concerns the exchange that it is returned from. A transport that can carry nothing any more ends
/// every open exchange and the [`incoming`](Self::incoming) stream with [`TransportError::Closed`].
///
/// *Limits.* Sizes of [`Limits`] are enforced while reading, before memory is spent.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Properties of this kind of wire; constant over its life.
    fn traits(&self) -> Traits;

    /// Sends a request and returns what comes back for it.
    ///
    /// Returns as soon as the server has begun to answer. Messages are delivered as they arrive: a response on a
    /// stream that stays open is not held back until the stream ends.
    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError>;

    /// Sends a message that is not answered: a notification, or (legacy versions) the response to a request of the
    /// server's. Returns once the wire has taken it.
    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError>;

    /// What the server sends on its own. Called once per session; a later call takes the stream over.
    ///
    /// Over HTTP this is the legacy GET stream, opened when the stream is first polled; where a server offers none, it
    /// stays pending. Over stdio it ends when the process does.
    fn incoming(&self) -> IncomingStream;

    /// What cannot be done over this wire, whatever the server offers: a sentence each, for the user. Nothing for most.
    fn limitations(&self) -> &'static [&'static str] {
        &[]
    }

    /// Ends the conversation in the wire's orderly way and frees everything. Idempotent, bounded in time.
    async fn close(&self);
}

/// What a kind of wire can and cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Dropping a [`ReplyStream`] tells a modern server to stop (each request has a stream of its own).
    pub drop_cancels: bool,
    /// The modern era's request metadata is mirrored into headers, and tools with an invalid `x-mcp-header` are excluded.
    pub mirrors_headers: bool,
    /// All messages share one channel, which dies with the server's process.
    pub is_process: bool,
}

/// A request on its way to a wire.
#[derive(Debug, Clone)]
pub struct OutgoingRequest {
    /// Its id, unique within the session.
    pub id: RequestId,
    /// Its method.
    pub method: Cow<'static, str>,
    /// The whole message, serialised, without line breaks.
    pub body: Bytes,
    /// What a wire with headers mirrors from the message.
    pub mirror: Mirror,
}

/// A notification, or a response to a server's request, on its way to a wire.
#[derive(Debug, Clone)]
pub struct OutgoingNotification {
    /// Its method; `None` for a response.
    pub method: Option<Cow<'static, str>>,
    /// The whole message, serialised, without line breaks.
    pub body: Bytes,
    /// What a wire with headers mirrors from the message.
    pub mirror: Mirror,
}

/// The parts of a message that HTTP mirrors into headers (2026-07-28, Streamable HTTP, request metadata).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// `MCP-Protocol-Version`; `None` on `initialize`, which negotiates it.
    pub protocol_version: Option<ProtocolVersion>,
    /// `Mcp-Name`: `params.name` or `params.uri`, not yet encoded. Modern requests only.
    pub name: Option<String>,
    /// `Mcp-Param-{name}`: suffix and value, not yet encoded. Modern requests only.
    pub params: Vec<(String, String)>,
}

impl Mirror {
    /// Mirrors nothing but the version.
    pub fn version(version: ProtocolVersion) -> Self {
        Self { protocol_version: Some(version), ..Self::default() }
    }

    /// True if the message follows the modern era's rules for headers.
    pub fn is_modern(&self) -> bool {
        self.protocol_version.is_some_and(|version| version.era() == Era::Modern)
    }
}

/// Opens transports: one implementation per wire, chosen by the composing host.
///
/// *Cancellation.* Dropping the future abandons the dial and leaves nothing behind: no process, no connection.
///
/// *Errors.* A dial fails only for what can be known without talking MCP: a URL or command that cannot be used, a
/// process that does not start.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// True if this dialer's wire is the one that `definition` wants.
    fn serves(&self, definition: &ConnectorDefinition) -> bool;

    /// Checks what a user entered, before it is stored: the field that is wrong and why.
    fn check(&self, definition: &ConnectorDefinition) -> Result<(), InvalidDefinition>;

    /// Opens a transport to the server.
    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn Transport>, TransportError>;
}

/// Everything that a [`Dialer`] needs.
#[derive(Clone)]
#[non_exhaustive]
pub struct DialTarget {
    /// What to dial.
    pub definition: Arc<ConnectorDefinition>,
    /// Where the credentials of its requests come from.
    pub authorizer: Arc<dyn Authorizer>,
    /// The limits that hold for it.
    pub limits: Arc<Limits>,
    /// Where the steps of connecting are recorded.
    pub trace: Trace,
    /// The variables of a local server's environment whose values are secrets, with their values. They count before those that
    /// the definition holds.
    pub environment: Vec<SecretVariable>,
}

impl DialTarget {
    /// A target with no secret variables.
    pub fn new(
        definition: Arc<ConnectorDefinition>,
        authorizer: Arc<dyn Authorizer>,
        limits: Arc<Limits>,
        trace: Trace,
    ) -> Self {
        Self { definition, authorizer, limits, trace, environment: Vec::new() }
    }

    /// With these variables.
    #[must_use]
    pub fn with_environment(mut self, environment: Vec<SecretVariable>) -> Self {
        self.environment = environment;
        self
    }
}

impl fmt::Debug for DialTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialTarget").field("slug", &self.definition.slug).finish_non_exhaustive()
    }
}

/// A field of a definition that no transport can work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct InvalidDefinition {
    /// The parameter, as the WebSocket API names it.
    pub field: &'static str,
    /// What is wrong with it, and what to enter instead.
    pub problem: String,
}
