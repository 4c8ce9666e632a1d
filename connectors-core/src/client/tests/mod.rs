//! The conversation, over scripted servers and in paused time.

mod calls;
mod incoming;
mod listing;
mod negotiation;
mod pages;
mod subscribing;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ClientOptions, ClientSignal, ConnectFailure, McpClient};
use crate::contract::scripted::{Reply, ScriptedServer, ScriptedTransport};
use crate::names::Slug;

fn discover_result() -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "1"}}
    })
}

fn initialize_result() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": {"name": "scripted", "version": "1"}
    })
}

fn one_tool() -> Value {
    json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
}

/// Answers the handshake of the modern era, and the rest by `script`.
fn modern(
    mut script: impl FnMut(&str, &Value) -> Reply + Send + 'static,
) -> impl FnMut(&str, &Value) -> Reply + Send {
    move |method, params| match method {
        "server/discover" => Reply::Result(discover_result()),
        _ => script(method, params),
    }
}

/// Answers the handshake of the legacy era, and the rest by `script`.
fn legacy(
    mut script: impl FnMut(&str, &Value) -> Reply + Send + 'static,
) -> impl FnMut(&str, &Value) -> Reply + Send {
    move |method, params| match method {
        "server/discover" => Reply::Error(-32601, "Method not found"),
        "initialize" => Reply::Result(initialize_result()),
        _ => script(method, params),
    }
}

fn options() -> ClientOptions {
    ClientOptions::new(Slug::verbatim("s"))
}

async fn connect(server: &Arc<ScriptedServer>) -> (McpClient, mpsc::Receiver<ClientSignal>) {
    try_connect(server, options()).await.unwrap()
}

async fn try_connect(
    server: &Arc<ScriptedServer>,
    options: ClientOptions,
) -> Result<(McpClient, mpsc::Receiver<ClientSignal>), ConnectFailure> {
    McpClient::connect(Arc::new(ScriptedTransport(Arc::clone(server))), options).await
}
