//! What a host asks of the manager, and what it gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::claim::Claim;
use crate::authorizer::SecretHeader;
use crate::connector::ToolOutcome;
use crate::definition::{NetworkSettings, OutputCheck, SecretVariable, StdioCommand};
use crate::names::Slug;
use crate::proposal::Proposal;
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
    /// Variables whose values go to the secret store (stdio connectors).
    pub secret_env: Vec<SecretVariable>,
    /// True to add it switched off: stored, and neither dialled nor started.
    pub disabled: bool,
    /// True where its server is handled by the Common Agent Runtime's engine, where this program has it (stdio connectors).
    pub engine: bool,
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

    /// A local server. The values of the command's `env` that look like secrets go to the secret store; what its `secret_env`
    /// names has no value there, and is left out.
    pub fn stdio(name: impl Into<String>, command: StdioCommand) -> Self {
        Self::new(name.into(), NewEndpoint::Stdio(command))
    }

    fn new(name: String, endpoint: NewEndpoint) -> Self {
        Self {
            name,
            endpoint,
            sign_in: None,
            network: None,
            secret_env: Vec::new(),
            disabled: false,
            engine: false,
        }
    }

    /// Handled by the Common Agent Runtime's engine.
    #[must_use]
    pub fn with_engine(mut self, engine: bool) -> Self {
        self.engine = engine;
        self
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

    /// With these variables on top of the command's own. Their values go to the secret store.
    #[must_use]
    pub fn with_secret_env(mut self, variables: Vec<SecretVariable>) -> Self {
        self.secret_env = variables;
        self
    }

    /// Switched off, or not.
    #[must_use]
    pub fn with_disabled(mut self, disabled: bool) -> Self {
        self.disabled = disabled;
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
    /// New executable (stdio connectors).
    pub command: Option<String>,
    /// New arguments, all of them (stdio connectors).
    pub args: Option<Vec<String>>,
    /// New variables (stdio connectors). Together with `secret_env` it names all that there are to be: the others go, and their
    /// stored values with them. A value that looks like a secret goes to the secret store. `None` keeps the variable as it is,
    /// wherever its value is.
    pub env: Option<BTreeMap<String, Option<SecretString>>>,
    /// New variables whose values go to the secret store (stdio connectors). Without `env`, all others stay as they are. `None` keeps
    /// the stored value, or moves the plain one there.
    pub secret_env: Option<BTreeMap<String, Option<SecretString>>>,
    /// Switches the connector off or on.
    pub disabled: Option<bool>,
    /// What becomes of results that violate their tool's output schema.
    pub output_check: Option<OutputCheck>,
    /// Whether its server is handled by the Common Agent Runtime's engine, where this program has it (stdio connectors).
    pub engine: Option<bool>,
    /// What the user has entered about signing in (HTTP connectors). Another client, or another way to get tokens, ends the
    /// sign-in that there is.
    pub sign_in: Option<SignInChoice>,
    /// How its servers are reached, all of it (HTTP connectors).
    pub network: Option<NetworkSettings>,
    /// What takes the place of a proposal that the user accepted earlier. Nothing else is set then.
    pub(super) proposal: Option<Arc<Proposal>>,
}

impl ConnectorUpdate {
    /// Where the connector is to lead, if that is to change: empty for a local server.
    pub(super) fn address(&self) -> Option<&str> {
        self.proposal.as_ref().map(|proposal| proposal.definition.url.as_str()).or(self.url.as_deref())
    }
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
    /// The id and the time of a call that counts as under way already.
    pub(super) claim: Option<Arc<Claim>>,
}

impl CallRequest {
    /// A call with the connector's own limits.
    pub fn new(slug: Slug, tool: impl Into<String>, arguments: Value) -> Self {
        Self { slug, tool: tool.into(), arguments, timeout: None, call_id: None, claim: None }
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
