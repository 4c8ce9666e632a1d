//! The transport over the engine's server type.

use std::collections::HashMap;
use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use car_engine::{McpServer, McpServerConfig};
use connectors_core::protocol::{Incoming, RequestId};
use connectors_core::transport::{
    IncomingStream, OutgoingNotification, OutgoingRequest, ReplyStream, Traits,
};
use connectors_core::{Limits, Transport, TransportError};
use futures_util::{StreamExt, stream};
use tokio::sync::{Mutex, watch};

use super::answers::{self, Answer, Silence};
use super::lifeline::Lifeline;

/// What the status says of connectors on this wire.
const LIMITATIONS: &[&str] = &[
    "one call at a time: others wait for it",
    "only the first page of the server's tools",
    "no notifications: changed tools show on a refresh, calls report no progress, and a cancelled call goes on at the server",
    "no more of a tool than its name, description and input schema: without annotations, it counts as one that writes, destroys \
     and reaches the open world",
    "structured content is lost where there is text",
    "a tool's failure whose text begins with `MCP error: ` shows as an error of the server's",
    "tools alone: no resources, prompts, completions, log messages or questions to the user",
    "version 2024-11-05 of the protocol alone",
    "the size of an answer is checked when all of it is in memory",
];

/// How long a process may take to be seen as ended after the engine has lost it.
const SETTLE: Duration = Duration::from_secs(1);

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A process to start.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) args: Vec<String>,
    pub(super) env: HashMap<String, String>,
    pub(super) cwd: Option<String>,
}

/// One server, handled by `car_engine::McpServer`.
///
/// For hosts that want the engine's process handling. It is weaker than [`StdioTransport`](crate::StdioTransport) in all that
/// [`limitations`](Transport::limitations) says. The process is started by `initialize`, which the engine sends itself. The
/// engine would start a dead server again by itself; here the connection ends with it, so that its connector knows.
pub struct EngineTransport {
    start: Start,
    server: Mutex<Option<McpServer>>,
    lifeline: StdMutex<Option<Lifeline>>,
    /// Why the connection is over.
    over: watch::Sender<Option<&'static str>>,
    limits: Limits,
}

impl std::fmt::Debug for EngineTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineTransport").field("name", &self.start.name).finish_non_exhaustive()
    }
}

impl EngineTransport {
    pub(super) fn new(start: Start, lifeline: Lifeline, limits: &Limits) -> Self {
        Self {
            start,
            server: Mutex::new(None),
            lifeline: StdMutex::new(Some(lifeline)),
            over: watch::Sender::new(None),
            limits: limits.clone(),
        }
    }

    fn lifeline(&self) -> std::sync::MutexGuard<'_, Option<Lifeline>> {
        self.lifeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn initialize(&self) -> Result<Answer, TransportError> {
        let mut server = self.server.lock().await;
        if server.is_some() {
            return Ok(answers::initialized());
        }
        let Some(watch) = self.lifeline().as_mut().and_then(Lifeline::watch) else {
            return Err(closed(CLOSED));
        };
        let over = self.over.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = watch.ended() => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "a server's process cannot be watched any more");
                    }
                    over.send_if_modified(|over| over.is_none() && over.replace("the server's process has ended").is_none());
                }
                // Closed or dropped.
                () = over.closed() => {}
            }
        });
        let Start { name, command, args, env, cwd } = self.start.clone();
        let started = McpServer::start(McpServerConfig { name, command, args, env, cwd }).await;
        let started = started.map_err(|error| {
            let reason = connectors_core::text::display(&error, 500);
            TransportError::Closed { reason: format!("the engine could not start the server: {reason}") }
        })?;
        *server = Some(started);
        Ok(answers::initialized())
    }

    async fn answer(&self, request: &OutgoingRequest) -> Result<Answer, TransportError> {
        match &*request.method {
            "initialize" => return self.initialize().await,
            "ping" => {
                return Ok(serde_json::value::to_raw_value(&serde_json::json!({})).map_err(|_| {
                    connectors_core::protocol::RpcError::new(
                        connectors_core::protocol::code::INTERNAL_ERROR,
                        "",
                    )
                }));
            }
            "tools/list" | "tools/call" => {}
            _ => return Ok(answers::unknown_method()),
        }
        let mut server = self.server.lock().await;
        // Asked again: it may have ended while another call had it, and the engine would start it anew.
        if let Some(reason) = *self.over.borrow() {
            return Err(closed(reason));
        }
        let server = server.as_mut().ok_or_else(|| closed("the conversation has not begun"))?;
        let answer = match &*request.method {
            "tools/list" => answers::list(server).await,
            _ => answers::call(server, request, self.limits.call_total).await,
        };
        match answer {
            Ok(answer) => self.within_limits(answer),
            Err(Silence::Failed(error)) => Err(error),
            Err(Silence::Closed) => {
                let ended = self.settled().await;
                self.over.send_if_modified(|over| over.is_none() && over.replace(LOST).is_none());
                Err(closed(ended.unwrap_or(LOST)))
            }
            // If it was the engine after all, it ends the process before it starts another one, and the connection ends with it.
            Err(Silence::Doubtful(text)) => match self.settled().await {
                Some(reason) => Err(closed(reason)),
                None => self.within_limits(answers::tool_error(&text)),
            },
        }
    }

    /// Why the connection is over, if the process is seen as ended soon.
    async fn settled(&self) -> Option<&'static str> {
        let mut over = self.over.subscribe();
        let over = tokio::time::timeout(SETTLE, over.wait_for(Option::is_some)).await;
        over.ok()?.ok().and_then(|over| *over)
    }

    fn within_limits(&self, answer: Answer) -> Result<Answer, TransportError> {
        let max = self.limits.reply_bytes;
        match &answer {
            Ok(result) if result.get().len() > max => Err(TransportError::LimitExceeded {
                limit: "the server's answer",
                max: crate::size::display(max),
            }),
            _ => Ok(answer),
        }
    }
}

const CLOSED: &str = "the connection was closed";
const LOST: &str = "the engine has lost the server";

fn closed(reason: &str) -> TransportError {
    TransportError::Closed { reason: reason.to_owned() }
}

/// Waits for the end; returns its reason.
async fn end(mut over: watch::Receiver<Option<&'static str>>) -> &'static str {
    match over.wait_for(Option::is_some).await {
        Ok(over) => over.unwrap_or(CLOSED),
        Err(_) => CLOSED,
    }
}

#[async_trait]
impl Transport for EngineTransport {
    fn traits(&self) -> Traits {
        Traits { drop_cancels: false, mirrors_headers: false, is_process: true }
    }

    async fn exchange(&self, request: OutgoingRequest) -> Result<ReplyStream, TransportError> {
        let id: RequestId = request.id.clone();
        let outcome = tokio::select! {
            answer = self.answer(&request) => answer?,
            reason = end(self.over.subscribe()) => return Err(closed(reason)),
        };
        Ok(stream::iter([Ok(Incoming::Response { id: Some(id), outcome })]).boxed())
    }

    async fn notify(&self, _: OutgoingNotification) -> Result<(), TransportError> {
        match *self.over.borrow() {
            Some(reason) => Err(closed(reason)),
            // The engine sends none but its own.
            None => Ok(()),
        }
    }

    fn incoming(&self) -> IncomingStream {
        let over = self.over.subscribe();
        stream::once(async move { Err(closed(end(over).await)) }).boxed()
    }

    fn limitations(&self) -> &'static [&'static str] {
        LIMITATIONS
    }

    async fn close(&self) {
        self.over.send_if_modified(|over| over.is_none() && over.replace(CLOSED).is_none());
        // Whoever has the server gives it back now.
        let shut = async {
            if let Some(server) = self.server.lock().await.take() {
                server.shutdown().await;
            }
        };
        if tokio::time::timeout(CLOSE, shut).await.is_err() {
            tracing::warn!(name = %self.start.name, "a server of the engine's did not end in time");
        }
        drop(self.lifeline().take());
    }
}

impl Drop for EngineTransport {
    fn drop(&mut self) {
        self.over.send_replace(Some(CLOSED));
    }
}
