//! Between JSON-RPC, as the client speaks it, and the engine's functions.

use std::time::Duration;

use car_engine::{McpServer, McpToolInfo};
use connectors_core::TransportError;
use connectors_core::protocol::{RpcError, code};
use connectors_core::transport::OutgoingRequest;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// The version that the engine speaks, whatever the server offers.
const VERSION: &str = "2024-11-05";

/// A result, or the error in its place.
pub(super) type Answer = Result<Box<RawValue>, RpcError>;

/// Why there is no answer.
pub(super) enum Silence {
    /// The engine says that the connection is over.
    Closed,
    /// Either the engine could not reach the server, or a tool has failed in these words: the process shows which.
    Doubtful(String),
    Failed(TransportError),
}

/// What `initialize` comes to once the engine has its own handshake behind it. It keeps neither what the server is called nor what
/// else it can do.
pub(super) fn initialized() -> Answer {
    written(&json!({"protocolVersion": VERSION, "capabilities": {"tools": {}}}))
}

/// What everything that the engine cannot do comes to.
pub(super) fn unknown_method() -> Answer {
    Err(RpcError::new(code::METHOD_NOT_FOUND, "Method not found"))
}

/// `tools/list`: the one page that the engine reads.
pub(super) async fn list(server: &mut McpServer) -> Result<Answer, Silence> {
    let tool = |tool: &McpToolInfo| {
        let mut definition = Map::new();
        definition.insert("name".to_owned(), json!(tool.name));
        if let Some(description) = &tool.description {
            definition.insert("description".to_owned(), json!(description));
        }
        if let Some(schema) = &tool.input_schema {
            definition.insert("inputSchema".to_owned(), schema.clone());
        }
        Value::Object(definition)
    };
    match server.list_tools().await {
        Ok(tools) => Ok(written(&json!({"tools": tools.iter().map(tool).collect::<Vec<_>>()}))),
        Err(error) => match own(&error, server.name(), "tools/list") {
            Some(Own::Rpc(error)) => Ok(Err(error)),
            Some(Own::TimedOut) => Err(timed_out(ENGINES_LIMIT)),
            Some(Own::Closed | Own::Unreached) => Err(Silence::Closed),
            Some(Own::Empty) => Err(empty()),
            None => {
                let why = connectors_core::text::display(&error, 500);
                Err(Silence::Failed(TransportError::Malformed(why)))
            }
        },
    }
}

/// `tools/call`
pub(super) async fn call(
    server: &mut McpServer,
    request: &OutgoingRequest,
    limit: Duration,
) -> Result<Answer, Silence> {
    #[derive(Deserialize)]
    struct Call {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        name: String,
        #[serde(default)]
        arguments: Value,
    }
    let Ok(Call { params }) = serde_json::from_slice(&request.body) else {
        return Ok(Err(RpcError::new(code::INVALID_PARAMS, "Invalid params")));
    };
    let began = Instant::now();
    match server.call_tool_with_timeout(&params.name, params.arguments, Some(limit)).await {
        // The engine hands the text of a result on, and the whole of one without text.
        Ok(Value::String(text)) => Ok(written(&json!({"content": [{"type": "text", "text": text}]}))),
        Ok(whole) => Ok(written(&whole)),
        // A tool may fail in the engine's words.
        Err(error) => match own(&error, server.name(), "tools/call") {
            Some(Own::Rpc(error)) => Ok(Err(error)),
            Some(Own::TimedOut) if began.elapsed() >= limit => Err(timed_out(limit)),
            Some(Own::Closed) => Err(Silence::Closed),
            Some(Own::Empty) => Err(empty()),
            Some(Own::Unreached) => Err(Silence::Doubtful(error)),
            Some(Own::TimedOut) | None => Ok(tool_error(&error)),
        },
    }
}

/// What a failure of the tool's own comes to.
pub(super) fn tool_error(text: &str) -> Answer {
    written(&json!({"content": [{"type": "text", "text": text}], "isError": true}))
}

/// How long the engine waits for what it sets no other limit to.
const ENGINES_LIMIT: Duration = Duration::from_secs(600);

/// What the engine's own words mean.
enum Own {
    /// The server's JSON-RPC error, without its code.
    Rpc(RpcError),
    TimedOut,
    /// The server has closed its end.
    Closed,
    /// The answer has neither a result nor an error.
    Empty,
    /// The request could not be written, or no process be started for it in the place of a dead one.
    Unreached,
}

/// True if `error`, with which the engine has failed to start the server of this name, can be due to the end of its process.
pub(super) fn is_lost(error: &str, name: &str) -> bool {
    matches!(own(error, name, "initialize"), Some(Own::Closed | Own::Unreached))
}

/// All failures of the engine's are texts, its own and the servers' alike. `None` for what cannot be its own.
fn own(error: &str, name: &str, method: &str) -> Option<Own> {
    if let Some(message) = error.strip_prefix("MCP error: ") {
        return Some(Own::Rpc(RpcError::new(code::INTERNAL_ERROR, message)));
    }
    if error == format!("MCP request '{method}' timed out") {
        return Some(Own::TimedOut);
    }
    if error == format!("MCP server '{name}' closed the connection") {
        return Some(Own::Closed);
    }
    if error == "MCP server returned no result" {
        return Some(Own::Empty);
    }
    let is_unwritten =
        ["write to MCP server: ", "write newline: ", "flush: "].iter().any(|own| error.starts_with(own));
    let is_unreached =
        is_unwritten || error.starts_with(&format!("MCP session '{name}' is dead and reconnect failed: "));
    is_unreached.then_some(Own::Unreached)
}

fn empty() -> Silence {
    Silence::Failed(TransportError::Malformed("an answer with neither a result nor an error".to_owned()))
}

fn timed_out(limit: Duration) -> Silence {
    Silence::Failed(TransportError::TimedOut { what: "the server's answer", limit })
}

fn written(value: &Value) -> Answer {
    to_raw_value(value).map_err(|error| RpcError::new(code::INTERNAL_ERROR, error.to_string()))
}
