//! What can be wrong with a server.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

/// The requests that a delay or a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// All of them, GET and DELETE included.
    Every,
    /// `initialize` and `server/discover`.
    Handshake,
    /// `tools/list`.
    List,
    /// `tools/call`.
    Call,
    /// Another method.
    Method(&'static str),
}

impl Stage {
    /// True if requests of `method` (of `GET` or `DELETE` for those) belong to this stage.
    pub fn covers(self, method: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Handshake => matches!(method, "initialize" | "server/discover"),
            Self::List => method == "tools/list",
            Self::Call => method == "tools/call",
            Self::Method(name) => method == name,
        }
    }
}

/// How a request is mistreated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Accepted, and never answered by a single byte.
    Hang,
    /// The connection is closed without an answer.
    Drop,
    /// The connection is closed in the middle of the answer's body.
    Truncate,
    /// A stream of server-sent events that ends without an answer.
    SseWithoutAnswer,
    /// A body that begins like an answer and never ends.
    EndlessBody,
    /// A JSON string as large as this, in an otherwise correct answer.
    Oversized(usize),
    /// These bytes, whatever was asked.
    Canned {
        /// The HTTP status.
        status: u16,
        /// `Content-Type`; none if empty.
        content_type: &'static str,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// A JSON-RPC error, in an answer of status 200.
    RpcError {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
}

impl Fault {
    fn canned(status: u16, content_type: &'static str, body: &str) -> Self {
        Self::Canned { status, content_type, headers: Vec::new(), body: body.to_owned() }
    }

    /// A page for people.
    pub fn html(status: u16) -> Self {
        Self::canned(
            status,
            "text/html; charset=utf-8",
            "<!doctype html><title>Hello</title><h1>Not here</h1>",
        )
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::canned(status, "", "")
    }

    /// A body that calls itself JSON and is not.
    pub fn broken_json() -> Self {
        Self::canned(200, "application/json", r#"{"jsonrpc":"2.0","id":1,"result":{"#)
    }

    /// JSON that is no JSON-RPC message.
    pub fn not_json_rpc() -> Self {
        Self::canned(200, "application/json", r#"{"hello":"world"}"#)
    }

    /// A stream whose only event is not JSON.
    pub fn broken_sse() -> Self {
        Self::canned(200, "text/event-stream", "event: message\ndata: {\"jsonrpc\":\"2.0\",\n\n")
    }

    /// An answer to another request.
    pub fn wrong_id() -> Self {
        Self::canned(200, "application/json", r#"{"jsonrpc":"2.0","id":987654321,"result":{"tools":[]}}"#)
    }

    /// A permanent move to another address, method kept.
    pub fn redirect(to: &str) -> Self {
        Self::Canned {
            status: 308,
            content_type: "",
            headers: vec![("location", to.to_owned())],
            body: String::new(),
        }
    }

    /// A demand for a token.
    pub fn unauthorized() -> Self {
        Self::Canned {
            status: 401,
            content_type: "application/json",
            headers: vec![("www-authenticate", r#"Bearer error="invalid_token""#.to_owned())],
            body: r#"{"error":"invalid_token"}"#.to_owned(),
        }
    }

    /// The answer of this fault to the request with `id`; `None` for the two that give none.
    pub(crate) fn response(&self, id: &serde_json::Value) -> Option<Response<Body>> {
        Some(match self {
            Self::Hang | Self::Drop => return None,
            Self::Truncate => {
                let start = stream::once(async { Ok(Bytes::from_static(b"{\"jsonrpc\":\"2.0\",")) });
                // The server sends nothing of a body that fails at once.
                let end = stream::once(async {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Err(io::Error::from(io::ErrorKind::ConnectionReset))
                });
                let body = start.chain(end);
                respond(200, "application/json", Body::from_stream(body))
            }
            Self::SseWithoutAnswer => respond(200, "text/event-stream", Body::from(": nothing to say\n\n")),
            Self::EndlessBody => {
                let filler = Bytes::from(vec![b'x'; 64 << 10]);
                let start = stream::once(async { Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"result\":\"") });
                // A breath between pieces, so that the server's thread serves its other connections too.
                let rest = stream::unfold(filler, |filler| async {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                    Some((filler.clone(), filler))
                });
                let body = start.chain(rest).map(Ok::<_, Infallible>);
                respond(200, "application/json", Body::from_stream(body))
            }
            Self::Oversized(bytes) => {
                let filler = "x".repeat(*bytes);
                let body = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": {"filler": filler}});
                respond(200, "application/json", Body::from(body.to_string()))
            }
            Self::Canned { status, content_type, headers, body } => {
                let mut response = respond(*status, content_type, Body::from(body.clone()));
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().expect("a header value"));
                }
                response
            }
            Self::RpcError { code, message } => {
                let error = serde_json::json!({"code": code, "message": message});
                let body = serde_json::json!({"jsonrpc": "2.0", "id": id, "error": error});
                respond(200, "application/json", Body::from(body.to_string()))
            }
        })
    }
}

/// A response of `status` and `content_type` (none if empty).
pub(crate) fn respond(status: u16, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if !content_type.is_empty() {
        response = response.header(header::CONTENT_TYPE, content_type);
    }
    response.body(body).expect("a valid response")
}
