//! Between JSON-RPC, as the client speaks it, and the engine's functions.

use std::time::Duration;

use car_engine::{McpServer, McpToolInfo};
use connectors_core::TransportError;
use connectors_core::protocol::{RpcError, code};
use connectors_core::transport::OutgoingRequest;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// The version that the engine speaks, whatever the server offers.
const VERSION: &str = "2024-11-05";

/// A result, or the error in its place.
pub(super) type Answer = Result<Box<RawValue>, RpcError>;

/// Why there is no answer.
pub(super) enum Silence {
    /// The engine says that the connection is over.
    Closed,
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
        Err(error) => failed(error, server.name(), "tools/list"),
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
    match server.call_tool_with_timeout(&params.name, params.arguments, Some(limit)).await {
        // The engine hands the text of a result on, and the whole of one without text.
        Ok(Value::String(text)) => Ok(written(&json!({"content": [{"type": "text", "text": text}]}))),
        Ok(whole) => Ok(written(&whole)),
        Err(error) => match failed(error, server.name(), "tools/call") {
            Ok(Err(error)) if error.code == TOOL_ERROR => {
                Ok(written(&json!({"content": [{"type": "text", "text": error.message}], "isError": true})))
            }
            other => other,
        },
    }
}

/// Marks what is none of the engine's own failures.
const TOOL_ERROR: i64 = 0;

/// All failures of the engine's are texts, its own and the servers' alike.
fn failed(error: String, name: &str, method: &'static str) -> Result<Answer, Silence> {
    if let Some(message) = error.strip_prefix("MCP error: ") {
        return Ok(Err(RpcError::new(code::INTERNAL_ERROR, message)));
    }
    if error == format!("MCP request '{method}' timed out") {
        let limit = Duration::from_secs(600);
        return Err(Silence::Failed(TransportError::TimedOut { what: "the server's answer", limit }));
    }
    let is_over = error == format!("MCP server '{name}' closed the connection")
        || ["write to MCP server: ", "write newline: ", "flush: "].iter().any(|own| error.starts_with(own));
    if is_over {
        return Err(Silence::Closed);
    }
    if method == "tools/call" {
        return Ok(Err(RpcError::new(TOOL_ERROR, error)));
    }
    Err(Silence::Failed(TransportError::Malformed(connectors_core::text::display(&error, 500))))
}

fn written(value: &Value) -> Answer {
    to_raw_value(value).map_err(|error| RpcError::new(code::INTERNAL_ERROR, error.to_string()))
}
