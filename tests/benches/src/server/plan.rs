//! What a URL answers.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::reply::{self, Reply};
use crate::Era;

/// Results up to this size are copied into one piece with their envelope.
const SMALL: usize = 16 << 10;

const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":3600000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fast","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fast","version":"1"}}"#;
const UNKNOWN_METHOD: &[u8] = br#","error":{"code":-32601,"message":"Method not found"}}"#;

/// The answers of one URL.
pub(super) struct Plan {
    /// How `tools/call` is answered: `answer=json|sse|open`, where `open` is an event stream that stays open.
    form: Form,
    /// The result of `tools/call`: a text of `bytes=N`.
    result: Bytes,
    /// The results of `tools/list`: `tools=N` in pages of `page=N`.
    pages: Vec<Bytes>,
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Events { open: bool },
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Page<'a> {
    cursor: Option<&'a str>,
}

impl Plan {
    pub(super) fn new(query: &str) -> Self {
        let mut plan = Self { form: Form::Json, result: result(2), pages: Vec::new() };
        let (mut tools, mut page) = (20, usize::MAX);
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = value.parse().unwrap_or_default();
            match (key, value) {
                ("answer", "sse") => plan.form = Form::Events { open: false },
                ("answer", "open") => plan.form = Form::Events { open: true },
                ("bytes", _) => plan.result = result(number),
                ("tools", _) => tools = number,
                ("page", _) => page = number.max(1),
                _ => {}
            }
        }
        plan.pages = pages(tools, page);
        plan
    }

    pub(super) fn answer(&self, body: &[u8], era: Era) -> Response<Reply> {
        let Ok(Message { id, method, params }) = serde_json::from_slice(body) else {
            return reply::empty(http::StatusCode::BAD_REQUEST);
        };
        let (Some(id), Some(method)) = (id, method) else {
            return reply::empty(http::StatusCode::ACCEPTED);
        };
        let id = id.get();
        match (method, era) {
            ("tools/call", _) => match self.form {
                Form::Json => reply::json(enveloped(id, &self.result, "", "}")),
                Form::Events { open } => {
                    reply::event(enveloped(id, &self.result, "event: message\ndata: ", "}\n\n"), open)
                }
            },
            ("tools/list", _) => {
                let cursor =
                    params.and_then(|params| serde_json::from_str::<Page<'_>>(params.get()).ok()?.cursor);
                let index: usize = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or_default();
                match self.pages.get(index) {
                    Some(page) => reply::json(enveloped(id, page, "", "}")),
                    None => reply::empty(http::StatusCode::NOT_FOUND),
                }
            }
            ("server/discover", Era::Modern) => {
                reply::json(enveloped(id, &Bytes::from_static(DISCOVERED.as_bytes()), "", "}"))
            }
            ("initialize", Era::Legacy) => {
                let result = Bytes::from_static(INITIALIZED.as_bytes());
                let mut response = reply::json(enveloped(id, &result, "", "}"));
                response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("0123456789abcdef"));
                response
            }
            _ => {
                let head = format!(r#"{{"jsonrpc":"2.0","id":{id}"#);
                reply::json([Bytes::from(head), Bytes::from_static(UNKNOWN_METHOD)])
            }
        }
    }
}

/// A result in its message, as few parts as can be had without copying a large one.
fn enveloped(id: &str, result: &Bytes, before: &str, after: &'static str) -> Vec<Bytes> {
    let mut head = String::with_capacity(64 + if result.len() > SMALL { 0 } else { result.len() });
    // Writing to a string does not fail.
    let _ = write!(head, r#"{before}{{"jsonrpc":"2.0","id":{id},"result":"#);
    if result.len() > SMALL {
        return vec![Bytes::from(head), result.clone(), Bytes::from_static(after.as_bytes())];
    }
    let mut whole = head.into_bytes();
    whole.extend_from_slice(result);
    whole.extend_from_slice(after.as_bytes());
    vec![Bytes::from(whole)]
}

/// A `CallToolResult` with a text of about so many bytes, in lines as files have them.
fn result(bytes: usize) -> Bytes {
    const LINE: &str =
        "The quick brown fox jumps over the lazy dog; \\\"quoted\\\" and tabbed\\t, then the end.\\n";
    let text = if bytes < LINE.len() { "ok".to_owned() } else { LINE.repeat(bytes.div_ceil(LINE.len())) };
    Bytes::from(format!(
        r#"{{"resultType":"complete","content":[{{"type":"text","text":"{text}"}}],"isError":false}}"#
    ))
}

fn pages(tools: usize, page: usize) -> Vec<Bytes> {
    let all: Vec<String> = (0..tools).map(tool).collect();
    let count = tools.div_ceil(page).max(1);
    (0..count)
        .map(|index| {
            let start = index * page.min(tools);
            let shown = &all[start..tools.min(start.saturating_add(page))];
            let next =
                if index + 1 < count { format!(r#","nextCursor":"{}""#, index + 1) } else { String::new() };
            Bytes::from(format!(
                r#"{{"resultType":"complete","tools":[{}]{next},"ttlMs":3600000,"cacheScope":"public"}}"#,
                shown.join(",")
            ))
        })
        .collect()
}

/// A definition of the size that servers in use have, about 900 bytes.
fn tool(index: usize) -> String {
    json!({
        "name": format!("tool_{index}"),
        "title": format!("Tool number {index}"),
        "description": "Searches the issues of a repository by text, state, labels and author, and returns the matching \
                        ones with their numbers, titles and the dates of their last changes, newest first.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "repository": {"type": "string", "description": "Owner and name, as in `owner/name`."},
                "query": {"type": "string", "description": "The text to search for.", "minLength": 1},
                "state": {"type": "string", "enum": ["open", "closed", "all"], "default": "open"},
                "labels": {"type": "array", "items": {"type": "string"}, "description": "All of them have to match."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
            },
            "required": ["query"],
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": true, "openWorldHint": true}
    })
    .to_string()
}
