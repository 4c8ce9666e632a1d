//! Asking a server what it wants, where no request has been refused yet.

use bytes::Bytes;
use connectors_core::http::HttpRequest;
use connectors_core::protocol::ProtocolVersion;
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use crate::challenge::{self, Wanted};
use crate::exchange::Exchange;

/// Asks without credentials, and in a way that leaves nothing behind at the server: no session is opened. `None` where the server
/// does not say what it wants, or cannot be reached: discovery then finds out more.
pub(super) async fn probe(exchange: &Exchange) -> Option<Wanted> {
    let version = ProtocolVersion::V2026_07_28.as_str();
    let body = serde_json::json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "server/discover",
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    });
    let mut request = HttpRequest::new(Bytes::from(body.to_string()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = exchange.server.as_str().parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("mcp-method", HeaderValue::from_static("server/discover"));
    headers.insert("mcp-protocol-version", HeaderValue::from_static(version));
    let answer = exchange.send(request, false).await.ok()?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return None;
    }
    let fields: Vec<String> = answer
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    challenge::wanted(&fields)
}
