//! What can be wrong with an endpoint.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::mcp_server::Gate;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Any of them.
    Any,
    /// The protected resource metadata (RFC 9728), wherever it is looked for.
    ResourceMetadata,
    /// The authorization server's metadata, wherever it is looked for.
    Metadata,
    /// Registration of clients (RFC 7591).
    Registration,
    /// The page that the user is sent to.
    Authorization,
    /// The token endpoint, whatever the grant.
    Token,
    /// Revocation (RFC 7009).
    Revocation,
    /// Authorization of devices (RFC 8628).
    DeviceAuthorization,
    /// The page that the user of a device is sent to.
    DevicePage,
    /// Something else.
    Unknown,
}

/// How often something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Always.
    Always,
    /// The next time, and this often in all.
    Next(usize),
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Where.
    pub at: Endpoint,
    /// Only for requests of this path.
    pub path: Option<String>,
    /// Only for token requests of this `grant_type`.
    pub grant: Option<String>,
    /// How often.
    pub times: Times,
    /// What.
    pub reply: Reply,
}

impl Fault {
    /// It always goes wrong there.
    pub fn at(at: Endpoint, reply: Reply) -> Self {
        Self { at, path: None, grant: None, times: Times::Always, reply }
    }

    /// The same for requests of this path alone.
    #[must_use]
    pub fn on_path(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// The same for token requests of this `grant_type` alone.
    #[must_use]
    pub fn on_grant(self, grant: &str) -> Self {
        Self { grant: Some(grant.to_owned()), ..self }
    }

    /// The same for the next `times` requests alone.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Times::Next(times), ..self }
    }

    /// The same for the next request alone.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    fn covers(&self, endpoint: Endpoint, path: &str, grant: &str) -> bool {
        (self.at == Endpoint::Any || self.at == endpoint)
            && self.path.as_deref().is_none_or(|only| only == path)
            && self.grant.as_deref().is_none_or(|only| only == grant)
            && self.times != Times::Next(0)
    }
}

/// The reply of the first fault that covers a request; it is used up by one.
pub(super) fn strike(faults: &mut [Fault], endpoint: Endpoint, path: &str, grant: &str) -> Option<Reply> {
    let fault = faults.iter_mut().find(|fault| fault.covers(endpoint, path, grant))?;
    if let Times::Next(left) = &mut fault.times {
        *left -= 1;
    }
    Some(fault.reply.clone())
}

/// What comes instead of the right answer, or with it. Only those that say so act on the request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes.
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
    /// The right answer, changed by this JSON merge patch (RFC 7396). The request is acted on.
    Patched(Value),
    /// The right answer with a member as large as this in addition. The request is acted on.
    Oversized(usize),
    /// The right answer, after this time. The request is acted on after it.
    Late(Duration),
    /// The right answer, once the gate is open. The request is acted on then.
    HeldBefore(Gate),
    /// The right answer, once the gate is open. The request is acted on at once.
    HeldAfter(Gate),
    /// The connection is closed; nothing is done.
    Drop,
    /// The request is acted on, then the connection is closed without an answer.
    LostAnswer,
    /// Nothing, ever.
    Hang,
}

impl Reply {
    fn canned(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self::Canned { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self::canned(status, "", "")
    }

    /// A page for people.
    pub fn html(status: u16) -> Self {
        Self::canned(
            status,
            "text/html; charset=utf-8",
            "<!doctype html><title>Hello</title><h1>Not here</h1>",
        )
    }

    /// An OAuth error.
    pub fn error(status: u16, error: &str) -> Self {
        Self::json(status, &json!({"error": error, "error_description": format!("scripted {error}")}))
    }

    /// Some JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::canned(status, "application/json", body.to_string())
    }

    /// A body that calls itself JSON and is not.
    pub fn malformed_json() -> Self {
        Self::canned(200, "application/json", r#"{"issuer": "http"#)
    }

    /// 503, with `Retry-After` in seconds if there is one.
    pub fn unavailable(retry_after: Option<u64>) -> Self {
        let headers = retry_after.map(|seconds| ("retry-after", seconds.to_string()));
        Self::Canned {
            status: 503,
            content_type: "text/plain",
            headers: headers.into_iter().collect(),
            body: "try again later".to_owned(),
        }
    }

    /// A redirect that keeps the method.
    pub fn redirect(to: &str) -> Self {
        let headers = vec![("location", to.to_owned())];
        Self::Canned { status: 307, content_type: "", headers, body: String::new() }
    }
}

/// The endpoint that a path below the issuer is.
pub(super) fn endpoint_at(method: &Method, path: &str) -> Endpoint {
    match (method.as_str(), path) {
        ("GET", "/authorize") => Endpoint::Authorization,
        ("POST", "/register") => Endpoint::Registration,
        ("POST", "/token") => Endpoint::Token,
        ("POST", "/revoke") => Endpoint::Revocation,
        ("POST", "/device_authorization") => Endpoint::DeviceAuthorization,
        ("GET", "/device") => Endpoint::DevicePage,
        _ => Endpoint::Unknown,
    }
}
