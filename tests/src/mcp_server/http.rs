//! Streamable HTTP, as 2026-07-28 and the revisions before it want it of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Era, Failure, LEGACY, MODERN, meta, notification, response};
use super::faults::{Fault, Stage, respond};
use super::headers;
use super::in_flight::InFlight;
use super::record::{Cancelled, Record, SeenRequest, Signal, StreamEnd};
use super::script::{Eras, Linger, ReplyAs};
use super::sse::{SseSender, stream_response};

/// The path of the MCP endpoint.
const ENDPOINT: &str = "/mcp";
const SESSION: &str = "mcp-session-id";
/// Far over any limit that a test sets; the server itself trusts its clients.
const BODY_LIMIT: usize = 256 << 20;

/// The server behind every connection.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) engine: Engine,
    pub(crate) record: Record,
    pub(crate) faults: Mutex<Vec<(Stage, Fault)>>,
    sessions: Mutex<HashMap<String, ()>>,
    /// By session and id: how to stop it, and its method.
    in_flight: Mutex<HashMap<String, (CancellationToken, String)>>,
}

impl Http {
    pub(crate) fn new(engine: Engine, record: Record) -> Self {
        let faults = Mutex::new(engine.script.faults.clone());
        Self { engine, record, faults, sessions: Mutex::default(), in_flight: Mutex::default() }
    }

    /// Forgets every session, as a server that was restarted has.
    pub(crate) fn forget_sessions(&self) {
        self.sessions.lock().expect("no panic with the lock").clear();
    }

    /// Answers one HTTP request; `connection` cuts the connection that it came on.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        connection: CancellationToken,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
            return respond(400, "", Body::empty());
        };
        let guard = self.engine.script.guard.clone();
        if let Some(guard) = &guard
            && parts.uri.path() != ENDPOINT
        {
            return guard.elsewhere(&parts, &body, &connection).await;
        }
        let message: Value = match &body[..] {
            [] => Value::Null,
            body => match serde_json::from_slice(body) {
                Ok(message) => message,
                Err(_) => return failure(400, &Value::Null, &Failure::new(-32700, "Parse error")),
            },
        };
        let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let seen = SeenRequest {
            http_method: parts.method.clone(),
            target,
            headers: parts.headers.clone(),
            body: message.clone(),
        };
        let stage_name = seen.method().to_owned();
        let guarded = guard.map(|guard| (guard, seen.clone()));
        self.record.note(|all| all.requests.push(seen));
        if let Some(fault) = self.fault_at(&stage_name) {
            return self.misbehave(&fault, &message, &stage_name, &connection).await;
        }
        if let Some((guard, seen)) = &guarded
            && let Err(refusal) = guard.admit(seen)
        {
            return *refusal;
        }
        if let Some(refusal) = self.unauthorized(&parts.headers) {
            return refusal;
        }
        let mut answer = match parts.method {
            Method::POST => self.post(&parts.headers, message).await,
            Method::GET => self.get(&parts.headers),
            Method::DELETE => self.delete(&parts.headers),
            _ => respond(405, "", Body::empty()),
        };
        if let Some((guard, _)) = guarded {
            guard.sign(&mut answer);
        }
        answer
    }

    fn fault_at(&self, method: &str) -> Option<Fault> {
        let faults = self.faults.lock().expect("no panic with the lock");
        faults.iter().find(|(stage, _)| stage.covers(method)).map(|(_, fault)| fault.clone())
    }

    async fn misbehave(
        &self,
        fault: &Fault,
        message: &Value,
        method: &str,
        connection: &CancellationToken,
    ) -> Response<Body> {
        if let Some(response) = fault.response(&message["id"]) {
            return response;
        }
        // Dropped with the connection: that is how a client that gives up is noticed.
        let _in_flight = InFlight::new(&self.record, &message["id"], method);
        if *fault == Fault::Drop {
            connection.cancel();
        }
        std::future::pending().await
    }

    fn unauthorized(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let wanted = &self.engine.script.required_headers;
        let satisfied =
            wanted.iter().all(|(name, value)| headers.get(name).is_some_and(|given| given == value));
        (!satisfied).then(|| Fault::unauthorized().response(&Value::Null).expect("this fault has an answer"))
    }

    async fn post(self: Arc<Self>, headers: &HeaderMap, message: Value) -> Response<Body> {
        let accept = header(headers, "accept");
        if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
            return failure(406, &Value::Null, &Failure::new(-32000, "Not Acceptable"));
        }
        if !header(headers, "content-type").starts_with("application/json") {
            return failure(415, &Value::Null, &Failure::new(-32000, "Unsupported Media Type"));
        }
        let modern = match self.engine.script.eras {
            Eras::Modern => true,
            Eras::Legacy => false,
            Eras::Dual => {
                header(headers, "mcp-protocol-version") == MODERN
                    || message["params"]["_meta"].get(meta::VERSION).is_some()
            }
        };
        if modern {
            self.post_modern(headers, message).await
        } else {
            self.post_legacy(headers, message).await
        }
    }

    async fn post_modern(self: Arc<Self>, headers: &HeaderMap, message: Value) -> Response<Body> {
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
        if method.is_empty() {
            return failure(400, id, &Failure::new(-32600, "Only requests and notifications are accepted"));
        }
        if id.is_null() {
            return respond(202, "", Body::empty());
        }
        if let Err(error) = headers::check(headers, method, &message["params"], &self.engine.tools()) {
            return failure(400, id, &error);
        }
        match method {
            "server/discover" | "tools/list" | "tools/call" => {
                self.exchange(Era::Modern, String::new(), message).await
            }
            "subscriptions/listen" => self.listen(&message),
            method => failure(404, id, &Failure::unknown_method(method)),
        }
    }

    async fn post_legacy(self: Arc<Self>, headers: &HeaderMap, message: Value) -> Response<Body> {
        let (id, method) = (message["id"].clone(), message["method"].as_str().unwrap_or_default());
        if method == "initialize" {
            let session = self.open_session();
            let mut response = self.exchange(Era::Legacy, session.clone().unwrap_or_default(), message).await;
            if let Some(session) = session {
                let value = HeaderValue::from_str(&session).expect("an ASCII session id");
                response.headers_mut().insert(SESSION, value);
            }
            return response;
        }
        let session = match self.session(headers) {
            Ok(session) => session,
            Err(refusal) => return *refusal,
        };
        let version = header(headers, "mcp-protocol-version");
        if !version.is_empty() && !LEGACY.contains(&version) {
            let problem = format!("Bad Request: Unsupported protocol version: {version}");
            return failure(400, &Value::Null, &Failure::new(-32000, problem));
        }
        if method == "notifications/cancelled" {
            self.cancel(&session, &message["params"]["requestId"]);
        }
        if method.is_empty() || id.is_null() {
            return respond(202, "", Body::empty());
        }
        self.exchange(Era::Legacy, session, message).await
    }

    fn open_session(&self) -> Option<String> {
        self.engine.script.sessions.then(|| {
            let mut sessions = self.sessions.lock().expect("no panic with the lock");
            let number = self.record.look(|seen| seen.sessions) + 1;
            let session = format!("session-{number}");
            sessions.insert(session.clone(), ());
            self.record.note(|seen| seen.sessions = number);
            session
        })
    }

    /// The session of a request; empty where there are none.
    fn session(&self, headers: &HeaderMap) -> Result<String, Box<Response<Body>>> {
        if !self.engine.script.sessions {
            return Ok(String::new());
        }
        let session = header(headers, SESSION);
        if session.is_empty() {
            let problem = "Bad Request: Mcp-Session-Id header is required";
            return Err(Box::new(failure(400, &Value::Null, &Failure::new(-32000, problem))));
        }
        if !self.sessions.lock().expect("no panic with the lock").contains_key(session) {
            return Err(Box::new(failure(404, &Value::Null, &Failure::new(-32001, "Session not found"))));
        }
        Ok(session.to_owned())
    }

    fn get(self: Arc<Self>, headers: &HeaderMap) -> Response<Body> {
        if !self.engine.script.get_stream {
            return respond(405, "", Body::empty());
        }
        match self.session(headers) {
            Err(refusal) => *refusal,
            Ok(_) => stream_response(move |sender| async move {
                self.announce_changes(&sender, json!({})).await;
            }),
        }
    }

    fn delete(&self, headers: &HeaderMap) -> Response<Body> {
        if self.engine.script.eras == Eras::Modern || !self.engine.script.sessions {
            return respond(405, "", Body::empty());
        }
        match self.session(headers) {
            Err(refusal) => *refusal,
            Ok(session) => {
                self.sessions.lock().expect("no panic with the lock").remove(&session);
                respond(200, "", Body::empty())
            }
        }
    }

    fn listen(self: Arc<Self>, message: &Value) -> Response<Body> {
        let wanted = message["params"]["notifications"]["toolsListChanged"] == true;
        let about = json!({"_meta": {meta::SUBSCRIPTION: message["id"]}});
        stream_response(move |sender| async move {
            let honoured = if wanted { json!({"toolsListChanged": true}) } else { json!({}) };
            let mut params = about.clone();
            params["notifications"] = honoured;
            let acknowledged = notification("notifications/subscriptions/acknowledged", params);
            if sender.send(&acknowledged).await.is_err() {
                return;
            }
            if wanted {
                self.announce_changes(&sender, about).await;
            } else {
                sender.closed().await;
            }
        })
    }

    /// Sends `list_changed` whenever the tools change, until the client leaves.
    async fn announce_changes(&self, sender: &SseSender, params: Value) {
        let mut changes = self.engine.tool_changes();
        self.record.note(|seen| seen.listeners += 1);
        loop {
            tokio::select! {
                () = sender.closed() => break,
                changed = changes.changed() => {
                    let note = notification("notifications/tools/list_changed", params.clone());
                    if changed.is_err() || sender.send(&note).await.is_err() {
                        break;
                    }
                }
            }
        }
        self.record.note(|seen| seen.listeners -= 1);
    }

    /// Gives up a request that the client no longer wants, whether or not it is still connected for the answer.
    fn cancel(&self, session: &str, id: &Value) {
        let request =
            self.in_flight.lock().expect("no panic with the lock").remove(&format!("{session} {id}"));
        if let Some((stop, method)) = request {
            let cancelled = Cancelled { id: id.clone(), method, signal: Signal::Notification };
            self.record.note(|seen| seen.cancelled.push(cancelled));
            stop.cancel();
        }
    }

    /// Answers a request: as one object, or as a stream if the script says so or notifications come first.
    async fn exchange(self: Arc<Self>, era: Era, session: String, message: Value) -> Response<Body> {
        let key = format!("{session} {}", message["id"]);
        let cancelled = CancellationToken::new();
        let method = message["method"].as_str().unwrap_or_default();
        let mut in_flight = InFlight::new(&self.record, &message["id"], method);
        let entry = (cancelled.clone(), method.to_owned());
        self.in_flight.lock().expect("no panic with the lock").insert(key.clone(), entry);
        let (sender, mut notes) = mpsc::unbounded_channel();
        let http = Arc::clone(&self);
        let reply = self.engine.script.reply;
        let mut work = Box::pin(async move {
            let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
            let outcome = http.engine.answer(era, method, &message["params"], sender).await;
            http.in_flight.lock().expect("no panic with the lock").remove(&key);
            response(id, outcome)
        });
        let mut first = None;
        if reply == ReplyAs::Json {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    in_flight.settle();
                    return respond(200, "text/event-stream", Body::empty());
                }
                Some(note) = notes.recv() => first = Some(note),
                answer = &mut work => {
                    in_flight.settle();
                    return respond(200, "application/json", Body::from(answer.to_string()));
                }
            }
        }
        let linger = match reply {
            ReplyAs::Json => Linger::No,
            ReplyAs::Sse(linger) => linger,
        };
        stream_response(move |stream| async move {
            let told = async {
                if let Some(note) = first {
                    stream.send(&note).await?;
                }
                let answer = loop {
                    tokio::select! {
                        biased;
                        Some(note) = notes.recv() => stream.send(&note).await?,
                        answer = &mut work => break answer,
                    }
                };
                // What the tool said with its last breath.
                while let Ok(note) = notes.try_recv() {
                    stream.send(&note).await?;
                }
                stream.send(&answer).await
            };
            let answered = tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    in_flight.settle();
                    return;
                }
                () = stream.closed() => false,
                told = told => told.is_ok(),
            };
            if !answered {
                return;
            }
            in_flight.settle();
            in_flight.record().note(|seen| seen.answered_streams += 1);
            let end = tokio::select! {
                () = stream.closed() => StreamEnd::Client,
                () = lingering(linger) => StreamEnd::Server,
            };
            in_flight.record().note(|seen| seen.ended_streams.push(end));
        })
    }
}

async fn lingering(linger: Linger) {
    match linger {
        Linger::No => {}
        Linger::For(time) => tokio::time::sleep(time).await,
        Linger::Forever => std::future::pending().await,
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn failure(status: u16, id: &Value, failure: &Failure) -> Response<Body> {
    respond(status, "application/json", Body::from(failure.response(id).to_string()))
}
