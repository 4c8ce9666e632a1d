//! Answers before they go on the wire.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response};
use serde_json::{Value, json};

use super::fault::Reply;
use crate::mcp_server::respond;

/// An answer, right or wrong.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content,
}

/// A body.
#[derive(Debug, Clone)]
pub(super) enum Content {
    None,
    Json(Value),
    Html(String),
}

impl Answer {
    pub(super) fn json(status: u16, body: Value) -> Self {
        // What RFC 6749 demands of answers with tokens hurts no other.
        let headers = vec![("cache-control", "no-store".to_owned())];
        Self { status, headers, content: Content::Json(body) }
    }

    pub(super) fn error(status: u16, error: &str, description: &str) -> Self {
        Self::json(status, json!({"error": error, "error_description": description}))
    }

    /// A page for the user.
    pub(super) fn page(status: u16, text: &str) -> Self {
        let html = format!("<!doctype html><title>{text}</title><h1>{text}</h1>");
        Self { status, headers: Vec::new(), content: Content::Html(html) }
    }

    pub(super) fn redirect(to: String) -> Self {
        Self { status: 302, headers: vec![("location", to)], content: Content::None }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::None }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Changes a JSON body.
    pub(super) fn patched(mut self, patch: &Value) -> Self {
        if let Content::Json(body) = &mut self.content {
            merge(body, patch);
        }
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let (content_type, body) = match self.content {
            Content::None => ("", Body::empty()),
            Content::Json(body) => ("application/json", Body::from(body.to_string())),
            Content::Html(body) => ("text/html; charset=utf-8", Body::from(body)),
        };
        let mut response = respond(self.status, content_type, body);
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("a header value");
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        response
    }
}

/// Applies a JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("made an object above").shift_remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// What comes of a request that something goes wrong with.
pub(super) enum Outcome {
    Answer(Response<Body>),
    /// The connection is to be closed.
    Cut,
    /// There will be no answer.
    Silence,
}

impl Reply {
    /// Does what it says; `right` acts on the request.
    pub(super) async fn act(self, right: impl FnOnce() -> Answer) -> Outcome {
        let answer = match self {
            Self::Canned { status, content_type, headers, body } => {
                let mut response = respond(status, content_type, Body::from(body));
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().expect("a header value"));
                }
                return Outcome::Answer(response);
            }
            Self::Patched(patch) => right().patched(&patch),
            Self::Oversized(bytes) => right().patched(&json!({"filler": "x".repeat(bytes)})),
            Self::Late(delay) => {
                tokio::time::sleep(delay).await;
                right()
            }
            Self::HeldBefore(gate) => {
                gate.passed().await;
                right()
            }
            Self::HeldAfter(gate) => {
                let answer = right();
                gate.passed().await;
                answer
            }
            Self::Drop => return Outcome::Cut,
            Self::LostAnswer => {
                right();
                return Outcome::Cut;
            }
            Self::Hang => return Outcome::Silence,
        };
        Outcome::Answer(answer.into_response())
    }
}
