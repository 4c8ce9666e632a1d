//! JSON-RPC errors, and what a connector's error becomes on the wire.

use std::borrow::Cow;
use std::time::SystemTime;

use connectors_core::ConnectorError;
use connectors_core::protocol::RpcError;
use connectors_core::text;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

/// JSON-RPC's own codes, those of car-server, and ours.
pub mod code {
    /// The frame is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// JSON, but not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// A parameter is missing or wrong.
    pub const INVALID_PARAMS: i64 = -32602;
    /// A wrong token, or a failure of ours.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// `session.auth` has to come first.
    pub const AUTH_REQUIRED: i64 = -32001;
    /// The client wants another version of the protocol.
    pub const PROTOCOL_VERSION: i64 = -32006;
    /// A limit was reached.
    pub const LIMIT_EXCEEDED: i64 = -32046;

    /// Every `data.code` of a connector's error, with its number and meaning.
    pub const CONNECTOR: [(&str, i64, &str); 13] = [
        ("connector_not_found", -32040, "there is no such connector"),
        ("unknown_tool", -32041, "the tool is not routed: not discovered, not enabled or not admitted"),
        ("sign_in_required", -32042, "the user has to sign in (again)"),
        ("not_connected", -32043, "there is no connection; `retry_at` says when it is tried next"),
        ("upstream_error", -32044, "the server answered with a JSON-RPC error, which is in `upstream`"),
        ("upstream_protocol", -32045, "the server broke the protocol"),
        ("limit_exceeded", LIMIT_EXCEEDED, "a limit was reached, which is named"),
        ("timeout", -32047, "there was no answer in time"),
        ("secret_store_unavailable", -32048, "the secret store is locked or absent"),
        (
            "storage",
            -32049,
            "the settings cannot be read or written, or secrets cannot be written; nothing was changed",
        ),
        ("invalid_arguments", -32050, "the arguments do not satisfy the tool's input schema"),
        ("cancelled", -32051, "the caller cancelled"),
        ("not_accepted", -32052, "the connector is proposed by a project, and the user has not accepted it"),
    ];
}

/// Longest text of a server's error that is passed on, in bytes.
const UPSTREAM_TEXT: usize = 4 << 10;

/// The `error` member of a reply.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorObject {
    /// A number of [`code`].
    pub code: i64,
    /// One sentence that names what is concerned.
    pub message: String,
    /// Absent on the errors of JSON-RPC itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<ErrorData>>,
}

/// The `data` member of an error.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ErrorData {
    /// A stable word for what happened.
    pub code: &'static str,
    /// A stable word for the cause, where `code` names only the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// The connector concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// The tool concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The parameter that is missing or wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The limit that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
    /// What fails in a tool's arguments, each as `path: problem`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What the user can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
    /// When the next attempt is made (Unix seconds).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<u64>,
    /// The server's own error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamError>,
}

/// A JSON-RPC error of the MCP server's. Untrusted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UpstreamError {
    /// Its code.
    pub code: i64,
    /// Its text, made fit for display.
    pub message: String,
    /// Its data, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl ErrorObject {
    /// An error of JSON-RPC itself, without data.
    pub fn plain(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// A parameter that is missing or wrong: its name, and what is wrong with it.
    pub fn invalid_params(field: &str, problem: &str) -> Self {
        let data =
            ErrorData { code: "invalid_params", field: Some(field.to_owned()), ..ErrorData::default() };
        Self {
            code: code::INVALID_PARAMS,
            message: format!("invalid params: `{field}`: {problem}"),
            data: Some(Box::new(data)),
        }
    }

    /// A limit of the connection's.
    pub fn limit_exceeded(limit: &'static str, max: &str, remedy: &'static str) -> Self {
        let data = ErrorData {
            code: "limit_exceeded",
            limit: Some(limit),
            remedy: Some(Cow::Borrowed(remedy)),
            ..ErrorData::default()
        };
        Self {
            code: code::LIMIT_EXCEEDED,
            message: format!("{limit} is over the limit of {max}"),
            data: Some(Box::new(data)),
        }
    }

    /// A failure of ours that is no fault of the caller's.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::plain(code::INTERNAL_ERROR, message)
    }
}

impl From<ConnectorError> for ErrorObject {
    fn from(error: ConnectorError) -> Self {
        if let ConnectorError::Invalid(invalid) = &error {
            return Self::invalid_params(invalid.field, &invalid.problem);
        }
        let name = error.code();
        let number = code::CONNECTOR.iter().find(|(known, ..)| *known == name);
        let data = ErrorData {
            code: name,
            slug: error.slug().map(ToString::to_string),
            remedy: error.remedy(),
            detail: error.detail(),
            ..details(&error)
        };
        Self {
            code: number.map_or(code::INTERNAL_ERROR, |(_, number, _)| *number),
            message: error.to_string(),
            data: Some(Box::new(data)),
        }
    }
}

/// What only some errors have.
fn details(error: &ConnectorError) -> ErrorData {
    let none = ErrorData::default();
    match error {
        ConnectorError::UnknownTool { tool, .. } => ErrorData { tool: Some(tool.clone()), ..none },
        ConnectorError::InvalidArguments { tool, problems, .. } => {
            ErrorData { tool: Some(tool.clone()), problems: problems.clone(), ..none }
        }
        ConnectorError::NotConnected { retry_at, .. } => {
            ErrorData { retry_at: retry_at.and_then(unix_seconds), ..none }
        }
        ConnectorError::LimitExceeded { limit, .. } => ErrorData { limit: Some(limit), ..none },
        ConnectorError::Upstream { error, .. } => ErrorData { upstream: Some(upstream(error)), ..none },
        _ => none,
    }
}

fn upstream(error: &RpcError) -> UpstreamError {
    UpstreamError {
        code: error.code,
        message: text::display(&error.message, UPSTREAM_TEXT),
        data: error.data.clone(),
    }
}

fn unix_seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests;
