//! The transport: one conversation with one server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use connectors_core::TransportError;
use connectors_core::transport::{
    IncomingStream, Mirror, OutgoingNotification, OutgoingRequest, ReplyStream, Traits, Transport,
};
use reqwest::Response;
use tokio::sync::{SetOnce, watch};

use crate::body::release;
use crate::headers;
use crate::http_sse::{self, HttpSse};
use crate::incoming::listen;
use crate::reply::{Reply, Resumption};
use crate::response::{Content, content, not_mcp, refusal};
use crate::session::{Session, SessionStore};
use crate::wire::{Outgoing, Verb, Wire};

/// The request that opens a session of the legacy versions.
const INITIALIZE: &str = "initialize";

/// How long the server has for the end of a session that nobody needs any more.
const FAREWELL: Duration = Duration::from_secs(2);

/// Streamable HTTP, both eras: which one a message belongs to is told by its [`Mirror`].
///
/// Opened by an [`HttpDialer`](crate::HttpDialer). An exchange is polled by its caller alone: no task or channel stands
/// between the socket and the [`ReplyStream`]. Dropping the stream closes the connection (HTTP/2: resets the stream),
/// which is how a modern server is told to stop.
///
/// A server that refuses the POST of `initialize` (400, 404 or 405, without a JSON-RPC error) and names an endpoint on a
/// GET stream speaks HTTP with SSE alone (2024-11-05). The transport then keeps to that wire: all answers arrive on the
/// one stream, and its end is the end of the conversation.
pub struct HttpTransport {
    wire: Arc<Wire>,
    sessions: Arc<SessionStore>,
    /// Counts the calls of `incoming`: each takes over from the one before.
    listeners: watch::Sender<u64>,
    /// Set once the server has turned out to speak HTTP with SSE.
    http_sse: Arc<SetOnce<HttpSse>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

impl HttpTransport {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire: Arc::new(wire),
            sessions: Arc::default(),
            listeners: watch::Sender::new(0),
            http_sse: Arc::default(),
        }
    }

    /// The session that a message belongs to: none for modern ones and for the one that opens it.
    fn session_of(&self, mirror: &Mirror, method: Option<&str>) -> Result<Arc<Session>, TransportError> {
        if mirror.is_modern() || method == Some(INITIALIZE) {
            return Ok(Arc::default());
        }
        self.sessions.usable()
    }

    /// Turns to HTTP with SSE, if the server speaks it.
    async fn fall_back(&self) -> Result<Option<&HttpSse>, TransportError> {
        if let Some(opened) = HttpSse::open(&self.wire).await? {
            // Refused where another `initialize` was quicker; this stream is then closed again.
            let _ = self.http_sse.set(opened);
        }
        Ok(self.http_sse.get())
    }

    /// Posts a message and returns an answer with a successful status.
    async fn post(
        &self,
        body: Bytes,
        mirror: &Mirror,
        method: Option<&str>,
        session: &Session,
    ) -> Result<Response, TransportError> {
        let headers = headers::post(mirror, method, session)?;
        let response = self.wire.send(&Outgoing { verb: Verb::Post, headers, body }).await?;
        if !response.status().is_success() {
            // Boxed: every message is posted with this future, and few are refused.
            let error = Box::pin(refusal(response, session.id().is_some())).await;
            if matches!(error, TransportError::SessionExpired) {
                self.sessions.expire(session);
            }
            return Err(error);
        }
        self.sessions.confirm(session, mirror.protocol_version);
        Ok(response)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    fn traits(&self) -> Traits {
        Traits { drop_cancels: true, mirrors_headers: true, is_process: false }
    }

    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        if let Some(http_sse) = self.http_sse.get() {
            return http_sse.exchange(request);
        }
        let mut session = self.session_of(&request.mirror, Some(&request.method))?;
        let posted = self.post(request.body.clone(), &request.mirror, Some(&request.method), &session).await;
        let response = match posted {
            Err(refusal) if request.method == INITIALIZE && http_sse::is_possible(&refusal) => {
                let http_sse = Box::pin(self.fall_back()).await?;
                return http_sse.ok_or(refusal)?.exchange(request);
            }
            posted => posted?,
        };
        let OutgoingRequest { id, method, mirror, .. } = request;
        if method == INITIALIZE {
            self.sessions.open(response.headers())?;
            session = self.sessions.current();
        }
        let wire = Arc::clone(&self.wire);
        match content(&response) {
            Content::Json => Ok(Reply::json(wire, id, response)),
            Content::Events => {
                let resumption =
                    (!mirror.is_modern()).then(|| Resumption::new(session, mirror.protocol_version));
                Ok(Reply::events(wire, id, response, resumption))
            }
            other => {
                release(response);
                Err(not_mcp(&other))
            }
        }
    }

    async fn notify(&self, note: OutgoingNotification) -> Result<(), TransportError> {
        if let Some(http_sse) = self.http_sse.get() {
            return http_sse.notify(note).await;
        }
        let OutgoingNotification { method, body, mirror } = note;
        let session = self.session_of(&mirror, method.as_deref())?;
        release(self.post(body, &mirror, method.as_deref(), &session).await?);
        Ok(())
    }

    fn incoming(&self) -> IncomingStream {
        if let Some(http_sse) = self.http_sse.get() {
            return http_sse.incoming();
        }
        self.listeners.send_modify(|turn| *turn += 1);
        let listener = listen(Arc::clone(&self.wire), Arc::clone(&self.sessions), self.listeners.subscribe());
        http_sse::incoming_after(listener, Arc::clone(&self.http_sse))
    }

    async fn close(&self) {
        self.wire.closed.cancel();
        let session = self.sessions.take();
        if session.id().is_none() {
            return;
        }
        let headers = headers::of_session(&session, session.version());
        let farewell = Outgoing { verb: Verb::Delete, headers, body: Bytes::new() };
        match tokio::time::timeout(FAREWELL, self.wire.send_even_closed(&farewell)).await {
            // 405: the server ends its sessions itself.
            Ok(Ok(response)) => release(response),
            Ok(Err(error)) => tracing::debug!(%error, "the session could not be ended"),
            Err(_) => tracing::debug!("the server did not acknowledge the end of the session"),
        }
    }
}
