//! What a host asks of the manager, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::authorizer::SecretHeader;
use crate::connector::ToolOutcome;
use crate::definition::{NetworkSettings, OutputCheck, StdioCommand};
use crate::names::Slug;
use crate::sign_in::SignInChoice;

/// What a user enters to add a connector.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewConnector {
    /// Display name; the slug comes from it.
    pub name: String,
    /// Where it leads.
    pub endpoint: NewEndpoint,
    /// What the user has entered about signing in (HTTP connectors).
    pub sign_in: Option<SignInChoice>,
    /// How its servers are reached, where that differs from the rest of this machine (HTTP connectors).
    pub network: Option<NetworkSettings>,
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
        Self::new(name.into(), NewEndpoint::Http { url: url.into(), headers })
    }

    /// A local server.
    pub fn stdio(name: impl Into<String>, command: StdioCommand) -> Self {
        Self::new(name.into(), NewEndpoint::Stdio(command))
    }

    fn new(name: String, endpoint: NewEndpoint) -> Self {
        Self { name, endpoint, sign_in: None, network: None }
    }

    /// With what the user has entered about signing in. Secrets go to the secret store.
    #[must_use]
    pub fn with_sign_in(mut self, choice: SignInChoice) -> Self {
        self.sign_in = Some(choice);
        self
    }

    /// Reached in this way.
    #[must_use]
    pub fn with_network(mut self, network: NetworkSettings) -> Self {
        self.network = Some(network);
        self
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
    /// What the user has entered about signing in (HTTP connectors). Another client, or another way to get tokens, ends the
    /// sign-in that there is.
    pub sign_in: Option<SignInChoice>,
    /// How its servers are reached, all of it (HTTP connectors).
    pub network: Option<NetworkSettings>,
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
    /// Longest duration, waiting for the user's consent included; the connector's limits if `None`, for each time that the call
    /// is sent.
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
