//! What the head of an answer promises, and what a refusal means.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use connectors_core::TransportError;
use connectors_core::protocol::{Incoming, RpcError, code, read_messages};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::body::{excerpt, release};
use crate::session::says_session_is_gone;

/// How much of a refusal's body is read, and how long it may take.
const REFUSAL_BODY: usize = 64 << 10;
const REFUSAL_WAIT: Duration = Duration::from_secs(10);

/// A media type longer than this is not one.
const MAX_MEDIA_TYPE: usize = 100;

/// What the body of a successful answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Json,
    Events,
    /// Nothing: right for a notification alone.
    Nothing,
    /// Something that is not MCP.
    Other(Option<String>),
}

/// Reads from the head what the body is.
pub(crate) fn content(response: &Response) -> Content {
    if response.content_length() == Some(0) || response.status() == StatusCode::NO_CONTENT {
        return Content::Nothing;
    }
    // As most servers write them.
    match response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(b"application/json") => return Content::Json,
        Some(b"text/event-stream") => return Content::Events,
        _ => {}
    }
    let media_type = media_type(response.headers());
    match media_type.as_deref() {
        Some("application/json") => Content::Json,
        Some("text/event-stream") => Content::Events,
        _ if response.status() == StatusCode::ACCEPTED => Content::Nothing,
        _ => Content::Other(media_type.map(Cow::into_owned)),
    }
}

/// The error of an answer to a request whose body is no answer.
pub(crate) fn not_mcp(content: &Content) -> TransportError {
    TransportError::Malformed(match content {
        Content::Other(Some(kind)) => {
            format!("the server answered with {kind}, which is not MCP: check the URL")
        }
        Content::Other(None) => {
            "the server answered with something that is not MCP (it has no content type): check the URL"
                .into()
        }
        _ => "the server accepted the request but did not answer it".into(),
    })
}

/// The media type of a body in lower case, without parameters; `None` where it is missing or not one.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut essence = Cow::Borrowed(value.split(';').next().unwrap_or_default().trim());
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        essence.to_mut().make_ascii_lowercase();
    }
    let (kind, subtype) = essence.split_once('/')?;
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    (essence.len() <= MAX_MEDIA_TYPE && is_token(kind) && is_token(subtype)).then_some(essence)
}

/// The error that an answer with an unsuccessful status stands for, with what its body explains.
///
/// With a session in use, a 404 (or a 400 that says so) is [`TransportError::SessionExpired`].
pub(crate) async fn refusal(response: Response, in_session: bool) -> TransportError {
    let status = response.status();
    let content_type = media_type(response.headers()).map(Cow::into_owned);
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let body = match content_type.as_deref() {
        Some("application/json" | "text/plain") => excerpt(response, REFUSAL_BODY, REFUSAL_WAIT).await,
        _ => {
            release(response);
            Vec::new()
        }
    };
    let rpc = rpc_error(&body);
    if in_session && ends_session(status, rpc.as_ref(), &body) {
        return TransportError::SessionExpired;
    }
    TransportError::Status { status: status.as_u16(), content_type, rpc: rpc.map(Box::new), retry_after }
}

fn rpc_error(body: &[u8]) -> Option<RpcError> {
    read_messages(body).ok()?.into_iter().find_map(|message| match message {
        Incoming::Response { outcome: Err(error), .. } => Some(error),
        _ => None,
    })
}

fn ends_session(status: StatusCode, rpc: Option<&RpcError>, body: &[u8]) -> bool {
    match status {
        // An unknown method is answered so by some servers of both eras.
        StatusCode::NOT_FOUND => rpc.is_none_or(|error| error.code != code::METHOD_NOT_FOUND),
        StatusCode::BAD_REQUEST => match rpc {
            Some(error) => says_session_is_gone(&error.message),
            None => says_session_is_gone(&explanation(body)),
        },
        _ => false,
    }
}

/// The text with which a body that is not JSON-RPC explains a refusal.
fn explanation(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    ["/error/message", "/error_description", "/message", "/detail", "/error"]
        .iter()
        .find_map(|place| value.pointer(place)?.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &'static str) -> Response {
        let mut builder = http::Response::builder().status(status);
        if !content_type.is_empty() {
            builder = builder.header("content-type", content_type);
        }
        builder.body(body).unwrap().into()
    }

    fn kind(status: u16, content_type: &str, body: &'static str) -> Content {
        content(&answer(status, content_type, body))
    }

    /// Status, content type, code of the JSON-RPC error; `None` for an expired session.
    async fn refused(
        status: u16,
        content_type: &str,
        body: &'static str,
        in_session: bool,
    ) -> Option<(u16, Option<String>, Option<i64>)> {
        match refusal(answer(status, content_type, body), in_session).await {
            TransportError::SessionExpired => None,
            TransportError::Status { status, content_type, rpc, .. } => {
                Some((status, content_type, rpc.map(|error| error.code)))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_head_tells_what_the_body_is() {
        assert_eq!(kind(200, "application/json; charset=utf-8", "{}"), Content::Json);
        assert_eq!(kind(202, "Application/JSON", "{}"), Content::Json);
        assert_eq!(kind(200, "text/event-stream", "x"), Content::Events);
        assert_eq!(kind(200, "application/json", ""), Content::Nothing);
        assert_eq!(kind(202, "text/plain", "Accepted"), Content::Nothing);
        assert_eq!(kind(204, "", ""), Content::Nothing);
        assert_eq!(kind(200, "text/html; charset=utf-8", "<p>"), Content::Other(Some("text/html".into())));
        assert_eq!(kind(200, "", "x"), Content::Other(None));
        assert_eq!(kind(200, "<script>/x", "x"), Content::Other(None));
    }

    #[test]
    fn what_is_not_mcp_is_named() {
        assert_eq!(
            not_mcp(&Content::Other(Some("text/html".into()))).to_string(),
            "the server answered with text/html, which is not MCP: check the URL"
        );
        assert_eq!(
            not_mcp(&Content::Nothing).to_string(),
            "the server accepted the request but did not answer it"
        );
    }

    #[tokio::test]
    async fn the_json_rpc_error_of_a_refusal_is_kept() {
        let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no"}}"#;
        let json = Some("application/json".to_owned());
        assert_eq!(
            refused(400, "application/json", body, false).await,
            Some((400, json.clone(), Some(-32022)))
        );
        assert_eq!(refused(500, "application/json", "{", false).await, Some((500, json, None)));
        assert_eq!(
            refused(502, "text/html", "<h1>", false).await,
            Some((502, Some("text/html".into()), None))
        );
        assert_eq!(refused(503, "", "", false).await, Some((503, None, None)));
    }

    #[tokio::test]
    async fn a_lost_session_is_recognised_only_where_there_is_one() {
        let not_found =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#;
        let bad = r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32600,"message":"Bad Request: No valid session ID provided"}}"#;
        let detail = r#"{"detail":"Invalid session"}"#;
        let cases = [
            (404, "application/json", not_found),
            (404, "text/html", "<h1>"),
            (404, "", ""),
            (400, "application/json", bad),
            (400, "application/json", detail),
            (400, "text/plain", "Bad Request: Missing session ID"),
        ];
        for (status, content_type, body) in cases {
            assert_eq!(refused(status, content_type, body, true).await, None, "{status} {body}");
            assert!(refused(status, content_type, body, false).await.is_some(), "{status} {body}");
        }
    }

    #[tokio::test]
    async fn other_refusals_leave_the_session_alone() {
        let unknown = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#;
        let invalid = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Invalid params"}}"#;
        let session = r#"{"error":{"message":"Session not found"}}"#;
        for (status, body) in [(404, unknown), (400, invalid), (500, session), (400, "{}")] {
            assert!(refused(status, "application/json", body, true).await.is_some(), "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Tue, 28 Jul 2026 12:00:00 GMT").unwrap();
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Tue, 28 Jul 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Tue, 28 Jul 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
    }
}
