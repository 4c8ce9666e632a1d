//! What a host uses: one connected server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::ConnectorError;
use crate::feature::{CompletionRequest, Prompt, Resource, ResourceTemplate, ServerResult};
use crate::protocol::{Era, Implementation, ProtocolVersion};
use crate::skills::Skill;
use crate::tool::{ToolCatalog, ToolDefinition};

/// One connected MCP server, whatever its wire and era.
///
/// *Concurrency.* Any number of calls at once; none waits for another.
///
/// *Cancellation.* Dropping the future of a call cancels it at the server too, in the way of its wire and era.
///
/// *Errors.* Every error names the connector. A tool's own failure (`isError`) is not an error but a
/// [`ToolOutcome`].
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// What was negotiated, and who the server says it is.
    fn session(&self) -> Arc<SessionInfo>;

    /// Reads the whole catalogue, every page of it.
    async fn list_tools(&self) -> Result<ToolCatalog, ConnectorError>;

    /// Calls a tool and waits for its outcome, answering requests for input on the way.
    async fn call_tool(&self, call: ToolCall) -> Result<ToolOutcome, ConnectorError>;

    /// The server's resources, every page of them.
    async fn list_resources(&self) -> Result<Vec<Resource>, ConnectorError>;

    /// The server's resource templates, every page of them.
    async fn list_resource_templates(&self) -> Result<Vec<ResourceTemplate>, ConnectorError>;

    /// Reads a resource, answering requests for input on the way: a `ReadResourceResult`.
    async fn read_resource(&self, uri: &str) -> Result<ServerResult, ConnectorError>;

    /// Asks to be told when a resource changes
    /// ([`ClientSignal::ResourceUpdated`](crate::client::ClientSignal::ResourceUpdated)). Returns once the server has agreed;
    /// kept up across reconnects of this connection's streams.
    async fn subscribe_resource(&self, uri: &str) -> Result<(), ConnectorError>;

    /// Ends such a subscription.
    async fn unsubscribe_resource(&self, uri: &str) -> Result<(), ConnectorError>;

    /// The server's prompts, every page of them.
    async fn list_prompts(&self) -> Result<Vec<Prompt>, ConnectorError>;

    /// Gets a prompt, answering requests for input on the way: a `GetPromptResult`.
    async fn get_prompt(
        &self,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<ServerResult, ConnectorError>;

    /// Completes an argument: a `CompleteResult`.
    async fn complete(&self, request: CompletionRequest) -> Result<ServerResult, ConnectorError>;

    /// The server's skills (extension `io.modelcontextprotocol/skills`); reads none of their files.
    async fn list_skills(&self) -> Result<Vec<Skill>, ConnectorError>;

    /// Asks the server whether it is there.
    async fn ping(&self) -> Result<(), ConnectorError>;

    /// Ends the conversation. Idempotent.
    async fn close(&self);
}

/// What a connection has established.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The version spoken.
    pub version: ProtocolVersion,
    /// Name and version of the server, self-reported.
    pub server: Option<Implementation>,
    /// The server's capabilities.
    pub capabilities: Value,
    /// The server's advice to the model. Untrusted.
    pub instructions: Option<String>,
    /// What cannot be done over this wire, whatever the server offers: a sentence each.
    pub limitations: &'static [&'static str],
}

impl SessionInfo {
    /// The era spoken.
    pub fn era(&self) -> Era {
        self.version.era()
    }
}

/// One call of a tool.
#[derive(Clone)]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool.
    pub tool: Arc<ToolDefinition>,
    /// Its arguments, an object.
    pub arguments: Value,
    /// Longest silence; the connector's limit if `None`.
    pub idle_timeout: Option<Duration>,
    /// Longest duration; the connector's limit if `None`.
    pub total_timeout: Option<Duration>,
    /// Told of every progress notification. Must not block.
    pub on_progress: Option<ProgressSink>,
}

/// Receives a call's progress.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

impl ToolCall {
    /// A call with the connector's own limits.
    pub fn new(tool: Arc<ToolDefinition>, arguments: Value) -> Self {
        Self { tool, arguments, idle_timeout: None, total_timeout: None, on_progress: None }
    }

    /// Fails the call when it has taken this long, progress or not.
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// Fails the call when nothing has been heard for this long.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Reports progress.
    #[must_use]
    pub fn with_progress(mut self, sink: ProgressSink) -> Self {
        self.on_progress = Some(sink);
        self
    }
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall").field("tool", &self.tool.name).finish_non_exhaustive()
    }
}

/// A progress notification (2026-07-28, patterns, progress).
#[derive(Debug, Clone, PartialEq, serde::Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// How far.
    pub progress: f64,
    /// Of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// The server's words. Untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The server's `CallToolResult`, as it came.
#[derive(Debug, Clone)]
pub struct ToolOutcome {
    raw: Box<RawValue>,
    is_error: bool,
}

impl ToolOutcome {
    pub(crate) fn new(raw: Box<RawValue>, is_error: bool) -> Self {
        Self { raw, is_error }
    }

    /// The whole result, unparsed.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// True if the tool itself failed.
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// The text blocks of `content`, joined by line breaks. Untrusted.
    pub fn text(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            content: Vec<Block>,
        }
        #[derive(Deserialize)]
        struct Block {
            #[serde(default)]
            text: Option<String>,
        }
        let body: Body = serde_json::from_str(self.raw.get()).unwrap_or(Body { content: Vec::new() });
        body.content.into_iter().filter_map(|block| block.text).collect::<Vec<_>>().join("\n")
    }

    /// `structuredContent`, if there is any. Untrusted.
    pub fn structured_content(&self) -> Option<Value> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            #[serde(default)]
            structured_content: Option<Value>,
        }
        serde_json::from_str::<Body>(self.raw.get()).ok()?.structured_content
    }
}
