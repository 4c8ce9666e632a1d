//! What a user configured: one entry of the manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::Slug;

/// The definition of one connector, free of secrets.
///
/// Its serialised form is an entry of `connectors.json`; a [`ConfigStore`](crate::ConfigStore) keeps the fields of that
/// file that are not known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectorDefinition {
    /// Stable identifier.
    pub slug: Slug,
    /// Display name, as the user wrote it.
    pub name: String,
    /// The MCP endpoint; empty for a stdio connector.
    #[serde(default)]
    pub url: String,
    /// The local command, for a stdio connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<StdioCommand>,
    /// Names of the headers whose values are in the credential store.
    #[serde(default)]
    pub secret_headers: Vec<String>,
    /// How the connector signs in, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthSettings>,
    /// The tools that the user has enabled, by the server's own names.
    #[serde(default)]
    pub enabled_tools: Vec<String>,
    /// Fingerprints of the definitions that the user has seen, by tool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_pins: BTreeMap<String, String>,
    /// True while the user has switched the connector off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What becomes of a result that violates its tool's output schema.
    #[serde(default, skip_serializing_if = "OutputCheck::is_default")]
    pub output_check: OutputCheck,
}

/// What becomes of a result whose `structuredContent` violates the tool's output schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OutputCheck {
    /// It is not looked at.
    Off,
    /// It is handed on with what is wrong with it.
    #[default]
    Warn,
    /// The call fails.
    Strict,
}

impl OutputCheck {
    /// True for the choice that a manifest need not mention.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ConnectorDefinition {
    /// A connector reached over Streamable HTTP.
    pub fn http(slug: Slug, name: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(slug, name.into(), url.into(), None)
    }

    /// A connector that is a local process.
    pub fn stdio(slug: Slug, name: impl Into<String>, command: StdioCommand) -> Self {
        Self::new(slug, name.into(), String::new(), Some(command))
    }

    fn new(slug: Slug, name: String, url: String, stdio: Option<StdioCommand>) -> Self {
        Self {
            slug,
            name,
            url,
            stdio,
            secret_headers: Vec::new(),
            oauth: None,
            enabled_tools: Vec::new(),
            tool_pins: BTreeMap::new(),
            disabled: false,
            output_check: OutputCheck::default(),
        }
    }

    /// Where the connector leads, for messages: its URL or its command.
    pub fn target(&self) -> &str {
        self.stdio.as_ref().map_or(&self.url, |stdio| &stdio.command)
    }
}

/// A local MCP server: the process to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdioCommand {
    /// The executable, looked up in `PATH` if it has no separator. It is never given to a shell.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables to set on top of the inherited allow-list.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// The part of an OAuth registration that is not secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthSettings {
    /// Where tokens are requested and refreshed.
    pub token_endpoint: String,
    /// The registered client.
    pub client_id: String,
    /// True if the client's secret is in the credential store.
    #[serde(default)]
    pub has_client_secret: bool,
    /// The RFC 8707 resource that tokens are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The scopes that were requested.
    #[serde(default)]
    pub scopes: Vec<String>,
}
