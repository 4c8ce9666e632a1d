//! The transport over the engine's server type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use car_engine::{McpServer, McpServerConfig};
use connectors_core::protocol::{Incoming, RequestId};
use connectors_core::transport::{
    IncomingStream, OutgoingNotification, OutgoingRequest, ReplyStream, Traits,
};
use connectors_core::{Limits, Transport, TransportError};
use futures_util::{StreamExt, stream};
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tracing::Instrument;

use super::answers::{self, Answer, Silence};
use super::life::{CLOSED, Life};
use super::lifeline::{Lifeline, Watch};
use crate::redact::Redactor;
use crate::stderr::{self, LastLines};

/// What the status says of connectors on this wire.
const LIMITATIONS: &[&str] = &[
    "one call at a time: others wait for it",
    "only the first page of the server's tools",
    "no notifications: changed tools show on a refresh, calls report no progress, and a cancelled call goes on at the server",
    "no more of a tool than its name, description and input schema: without annotations, it counts as one that writes, destroys \
     and reaches the open world",
    "structured content, images, audio, resources and `_meta` are lost where there is text",
    "one definition that is malformed fails the whole list of tools",
    "errors of the server's lose their code and their data",
    "requests of the server's are not answered, not even its pings; one with the id of the request under way fails that one",
    "a call with more than 4 KiB of arguments that is given up ends the server, which is started again",
    "a tool's failure whose text begins with `MCP error: ` shows as an error of the server's",
    "tools alone: no resources, prompts, completions, log messages or questions to the user",
    "version 2024-11-05 of the protocol alone",
    "the size of an answer is checked when all of it is in memory",
];

/// What is larger may be half written when its exchange is dropped, in bytes: the engine writes past its buffer of 8 KiB then, in words
/// that may be longer than the client's.
const LARGE: usize = 4 << 10;

/// How long a process may take to be seen as ended after the engine has lost it.
const SETTLE: Duration = Duration::from_secs(1);

/// How long what a dead process has left in its standard error may take to read: all of it, unless something has escaped the guard.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long closing may take.
const CLOSE: Duration = Duration::from_secs(5);

/// A process to start. Its variables hold secrets, so that it is not to be printed.
#[derive(Clone)]
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
    redactor: Redactor,
    server: Mutex<Option<McpServer>>,
    lifeline: SharedLifeline,
    /// What watches over the process.
    watching: OnceLock<AbortHandle>,
    life: Life,
    limits: Limits,
}

impl std::fmt::Debug for EngineTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineTransport").field("name", &self.start.name).finish_non_exhaustive()
    }
}

/// `None` once all that was started has to end.
#[derive(Clone)]
struct SharedLifeline(Arc<StdMutex<Option<Lifeline>>>);

impl SharedLifeline {
    fn get(&self) -> MutexGuard<'_, Option<Lifeline>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EngineTransport {
    pub(super) fn new(start: Start, redactor: Redactor, lifeline: Lifeline, limits: &Limits) -> Self {
        Self {
            start,
            redactor,
            server: Mutex::new(None),
            lifeline: SharedLifeline(Arc::new(StdMutex::new(Some(lifeline)))),
            watching: OnceLock::new(),
            life: Life::new(),
            limits: limits.clone(),
        }
    }

    async fn initialize(&self) -> Result<Answer, TransportError> {
        let mut server = self.server.lock().await;
        if server.is_some() {
            return Ok(answers::initialized());
        }
        let watched = self.lifeline.get().as_mut().and_then(Lifeline::watch);
        let Some((watch, said)) = watched else {
            return Err(closed(CLOSED));
        };
        let span = tracing::debug_span!("stdio", connector = %self.start.name);
        let (lifeline, redactor, life) = (self.lifeline.clone(), self.redactor.clone(), self.life.clone());
        let watching = tokio::spawn(watch_over(watch, said, redactor, lifeline, life).instrument(span));
        // Set once: the pipes are there once.
        let _ = self.watching.set(watching.abort_handle());
        let Start { name, command, args, env, cwd } = self.start.clone();
        match McpServer::start(McpServerConfig { name, command, args, env, cwd }).await {
            Ok(started) => *server = Some(started),
            Err(error) => return Err(self.not_started(&error).await),
        }
        Ok(answers::initialized())
    }

    /// What the process says of its end explains more than that the engine has lost it.
    async fn not_started(&self, error: &str) -> TransportError {
        if answers::is_lost(error, &self.start.name)
            && let Some(reason) = self.life.over_soon(SETTLE).await
        {
            return closed(&reason);
        }
        let reason = connectors_core::text::display(error, 500);
        TransportError::Closed { reason: format!("the engine could not start the server: {reason}") }
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
        if !self.life.is_on() {
            return Err(closed(&self.life.over().await));
        }
        let server = server.as_mut().ok_or_else(|| closed("the conversation has not begun"))?;
        let mut writing = HalfWritten((request.body.len() > LARGE).then_some(&self.life));
        let answer = match &*request.method {
            "tools/list" => answers::list(server).await,
            _ => answers::call(server, request, self.limits.call_total).await,
        };
        writing.0 = None;
        match answer {
            Ok(answer) => self.within_limits(answer),
            Err(Silence::Failed(error)) => Err(error),
            Err(Silence::Closed) => {
                let ended = self.life.over_soon(SETTLE).await;
                self.life.end(LOST);
                Err(closed(ended.as_deref().unwrap_or(LOST)))
            }
            // If it was the engine after all, it ends the process before it starts another one, and the connection ends with it.
            Err(Silence::Doubtful(text)) => match self.life.over_soon(SETTLE).await {
                Some(reason) => Err(closed(&reason)),
                None => self.within_limits(answers::tool_error(&text)),
            },
        }
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

/// Ends the connection when it is dropped: what is sent next would be the rest of half a line.
struct HalfWritten<'a>(Option<&'a Life>);

impl Drop for HalfWritten<'_> {
    fn drop(&mut self) {
        if let Some(life) = self.0 {
            life.end("a request was given up that may be half written");
        }
    }
}

const LOST: &str = "the engine has lost the server";

fn closed(reason: &str) -> TransportError {
    TransportError::Closed { reason: reason.to_owned() }
}

/// Reads the standard error of the process and waits for its end, with which the connection ends.
async fn watch_over(
    watch: Watch,
    said: pipe::Receiver,
    redactor: Redactor,
    lifeline: SharedLifeline,
    life: Life,
) {
    let last_lines = LastLines::default();
    // Ends with this task.
    let mut drain = JoinSet::new();
    drain.spawn(stderr::drain(said, redactor, last_lines.clone()).in_current_span());
    let end = match watch.ended().await {
        Ok(()) => "the server's process has ended".to_owned(),
        // Without that nobody would notice its end.
        Err(error) => format!("the server's process cannot be watched: {error}"),
    };
    life.is_ending();
    let retired = lifeline.get().as_mut().map_or(Ok(()), Lifeline::retire);
    if let Err(error) = retired {
        tracing::debug!(%error, "what the server's process has started is not killed yet");
    }
    let _ = timeout(LAST_WORDS, drain.join_next()).await;
    let words = last_lines.last_words().map(|words| format!("; its last words: {words}")).unwrap_or_default();
    life.end(&format!("{end}{words}"));
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
            reason = self.life.over() => return Err(closed(&reason)),
        };
        Ok(stream::iter([Ok(Incoming::Response { id: Some(id), outcome })]).boxed())
    }

    async fn notify(&self, _: OutgoingNotification) -> Result<(), TransportError> {
        match self.life.reason() {
            Some(reason) => Err(closed(&reason)),
            // The engine sends none but its own.
            None => Ok(()),
        }
    }

    fn incoming(&self) -> IncomingStream {
        let over = self.life.over();
        stream::once(async move { Err(closed(&over.await)) }).boxed()
    }

    fn limitations(&self) -> &'static [&'static str] {
        LIMITATIONS
    }

    async fn close(&self) {
        self.life.end(CLOSED);
        // Whoever has the server gives it back now.
        let shut = async {
            if let Some(server) = self.server.lock().await.take() {
                server.shutdown().await;
            }
        };
        if tokio::time::timeout(CLOSE, shut).await.is_err() {
            tracing::warn!(name = %self.start.name, "a server of the engine's did not end in time");
        }
        drop(self.lifeline.get().take());
    }
}

impl Drop for EngineTransport {
    fn drop(&mut self) {
        self.life.end(CLOSED);
        drop(self.lifeline.get().take());
        if let Some(watching) = self.watching.get() {
            watching.abort();
        }
    }
}
