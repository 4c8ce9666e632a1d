//! What a host asks of the manager, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::authorizer::SecretHeader;
use crate::connector::ToolOutcome;
use crate::definition::{OutputCheck, StdioCommand};
use crate::names::Slug;

/// What a user enters to add a connector.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewConnector {
    /// Display name; the slug comes from it.
    pub name: String,
    /// Where it leads.
    pub endpoint: NewEndpoint,
}

/// The two ways to reach a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NewEndpoint {
    /// Streamable HTTP.
    Http {
        /// The MCP endpoint.
        url: String,
        /// Headers to send; the values go to the secret store.
        headers: Vec<SecretHeader>,
    },
    /// A local process.
    Stdio(StdioCommand),
}

impl NewConnector {
    /// A remote server.
    pub fn http(name: impl Into<String>, url: impl Into<String>, headers: Vec<SecretHeader>) -> Self {
        Self { name: name.into(), endpoint: NewEndpoint::Http { url: url.into(), headers } }
    }

    /// A local server.
    pub fn stdio(name: impl Into<String>, command: StdioCommand) -> Self {
        Self { name: name.into(), endpoint: NewEndpoint::Stdio(command) }
    }
}

/// What of a connector is to change; `None` keeps. The slug and the selection stay.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConnectorUpdate {
    /// New display name.
    pub name: Option<String>,
    /// New URL (HTTP connectors).
    pub url: Option<String>,
    /// New headers, all of them (HTTP connectors).
    pub headers: Option<Vec<SecretHeader>>,
    /// New command (stdio connectors).
    pub stdio: Option<StdioCommand>,
    /// Switches the connector off or on.
    pub disabled: Option<bool>,
    /// What becomes of results that violate their tool's output schema.
    pub output_check: Option<OutputCheck>,
}

/// A call of an enabled tool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallRequest {
    /// The connector.
    pub slug: Slug,
    /// The server's name of the tool.
    pub tool: String,
    /// The arguments, an object.
    pub arguments: Value,
    /// Longest duration; the connector's limits if `None`.
    pub timeout: Option<Duration>,
    /// The caller's id, for [`ConnectorManager::cancel`](super::ConnectorManager::cancel) and events; made up if `None`.
    pub call_id: Option<Arc<str>>,
}

impl CallRequest {
    /// A call with the connector's own limits.
    pub fn new(slug: Slug, tool: impl Into<String>, arguments: Value) -> Self {
        Self { slug, tool: tool.into(), arguments, timeout: None, call_id: None }
    }
}

/// A call that reached the server and came back.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallResult {
    /// What the server answered.
    pub outcome: ToolOutcome,
    /// The call's id.
    pub call_id: Arc<str>,
    /// From admission to answer.
    pub duration: Duration,
    /// What is wrong with `structuredContent` by the tool's output schema, as `path: problem`.
    pub output_problems: Vec<String>,
}
