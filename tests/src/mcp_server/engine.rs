//! What a server answers, whatever its wire: the methods of both eras.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::script::{Cursors, Script};
use super::tool::{Tool, ToolContext};

/// The one modern version.
pub const MODERN: &str = "2026-07-28";
/// The legacy versions, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// `_meta` keys that modern requests and notifications carry.
pub mod meta {
    /// The version of the request.
    pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// The capabilities of the client.
    pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Who the server says it is.
    pub const SERVER: &str = "io.modelcontextprotocol/serverInfo";
    /// The `subscriptions/listen` request that a notification belongs to.
    pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
}

/// The era that one request is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28.
    Modern,
    /// Earlier.
    Legacy,
}

/// A JSON-RPC error to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its code.
    pub code: i64,
    /// Its message.
    pub message: String,
    /// Its data; `null` is left out.
    pub data: Value,
}

impl Failure {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: Value::Null }
    }

    pub(crate) fn unknown_method(method: &str) -> Self {
        Self::new(-32601, format!("Method not found: {method}"))
    }

    pub(crate) fn unsupported_version(requested: &Value) -> Self {
        let data = json!({"supported": [MODERN], "requested": requested});
        Self { data, ..Self::new(-32022, "Unsupported protocol version") }
    }

    /// As a response to the request with `id`.
    pub(crate) fn response(&self, id: &Value) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.data.is_null() {
            error["data"] = self.data.clone();
        }
        json!({"jsonrpc": "2.0", "id": id, "error": error})
    }
}

/// A notification.
pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// The response to the request with `id`.
pub(crate) fn response(id: &Value, outcome: Result<Value, Failure>) -> Value {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(failure) => failure.response(id),
    }
}

/// A server without a wire.
#[derive(Debug)]
pub struct Engine {
    pub(crate) script: Script,
    tools: Mutex<Vec<Tool>>,
    tools_changed: watch::Sender<()>,
}

impl Engine {
    /// A server that follows `script`.
    pub fn new(script: Script) -> Self {
        let tools = Mutex::new(script.tools.clone());
        Self { script, tools, tools_changed: watch::Sender::new(()) }
    }

    /// The tools of the moment.
    pub fn tools(&self) -> Vec<Tool> {
        self.tools.lock().expect("nobody panics while holding the tools").clone()
    }

    /// Replaces the tools, and tells whoever listens.
    pub fn set_tools(&self, tools: Vec<Tool>) {
        *self.tools.lock().expect("nobody panics while holding the tools") = tools;
        self.tools_changed.send_replace(());
    }

    /// Tells of changes of the tools from now on.
    pub(crate) fn tool_changes(&self) -> watch::Receiver<()> {
        self.tools_changed.subscribe()
    }

    /// Answers one request; `notes` takes the notifications that come before the answer.
    pub async fn answer(
        &self,
        era: Era,
        method: &str,
        params: &Value,
        notes: mpsc::UnboundedSender<Value>,
    ) -> Result<Value, Failure> {
        let delay = self.script.delay_at(method);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let result = match (era, method) {
            (Era::Modern, "server/discover") => self.discovery(),
            (Era::Legacy, "initialize") => initialization(params),
            (Era::Legacy, "ping") => json!({}),
            (_, "tools/list") => self.list(params)?,
            (_, "tools/call") => self.call(params, notes).await?,
            _ => return Err(Failure::unknown_method(method)),
        };
        Ok(if era == Era::Modern { self.modern(method, result) } else { result })
    }

    /// Adds what every modern result carries.
    fn modern(&self, method: &str, mut result: Value) -> Value {
        result["resultType"] = json!("complete");
        result["_meta"][meta::SERVER] = server_info();
        if method != "tools/call" {
            result["ttlMs"] = json!(u64::try_from(self.script.ttl.as_millis()).unwrap_or(u64::MAX));
            result["cacheScope"] = json!("private");
        }
        result
    }

    fn discovery(&self) -> Value {
        json!({
            "supportedVersions": [MODERN],
            "capabilities": {"tools": {"listChanged": true}},
            "instructions": "A server for tests.",
        })
    }

    fn list(&self, params: &Value) -> Result<Value, Failure> {
        let tools = self.tools();
        let honest = self.script.cursors == Cursors::Honest;
        let start = match &params["cursor"] {
            Value::Null => 0,
            cursor => cursor
                .as_str()
                .and_then(|cursor| cursor.parse::<usize>().ok())
                .filter(|start| !honest || *start < tools.len())
                .ok_or_else(|| Failure::new(-32602, "Invalid cursor"))?,
        };
        let size = self.script.page_size;
        let page: Vec<_> = tools.iter().skip(start).take(size).map(Tool::definition).collect();
        let next = match self.script.cursors {
            Cursors::Honest => start.checked_add(size).filter(|next| *next < tools.len()),
            Cursors::Repeated => Some(0),
            Cursors::Endless => Some(start.saturating_add(size.min(tools.len().max(1)))),
        };
        Ok(match next {
            Some(next) => json!({"tools": page, "nextCursor": next.to_string()}),
            None => json!({"tools": page}),
        })
    }

    async fn call(&self, params: &Value, notes: mpsc::UnboundedSender<Value>) -> Result<Value, Failure> {
        let name = params["name"].as_str().unwrap_or_default();
        let tool = self.tools().into_iter().find(|tool| tool.name() == name);
        let tool = tool.ok_or_else(|| Failure::new(-32602, format!("Unknown tool: {name}")))?;
        let arguments = match &params["arguments"] {
            Value::Null => json!({}),
            arguments => arguments.clone(),
        };
        let progress_token = params["_meta"].get("progressToken").cloned();
        tool.call(ToolContext { arguments, progress_token, notes }).await
    }
}

fn initialization(params: &Value) -> Value {
    let requested = params["protocolVersion"].as_str().unwrap_or_default();
    let version = LEGACY.into_iter().find(|version| *version == requested).unwrap_or(LEGACY[0]);
    json!({
        "protocolVersion": version,
        "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": server_info(),
        "instructions": "A server for tests.",
    })
}

fn server_info() -> Value {
    json!({"name": "test-server", "version": "1.0.0", "title": "Test server"})
}

/// Checks the `_meta` that every modern request carries (2026-07-28, base protocol, `_meta`), and returns its version.
pub(crate) fn check_meta(params: &Value) -> Result<&Value, Failure> {
    let meta = &params["_meta"];
    if !meta[meta::VERSION].is_string() {
        return Err(Failure::new(-32602, format!("_meta lacks {}", meta::VERSION)));
    }
    if !meta[meta::CAPABILITIES].is_object() {
        return Err(Failure::new(-32602, format!("_meta lacks {}", meta::CAPABILITIES)));
    }
    Ok(&meta[meta::VERSION])
}
