//! What is shown of connectors and tools: the shapes of the WebSocket API.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::definition::{NetworkSettings, OAuthSettings};
use crate::names::Slug;
use crate::protocol::{Era, Implementation};
use crate::tool::{QuarantinedTool, ToolAnnotations};

/// Where a connector is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StateName {
    /// From a team file, not yet accepted.
    Proposed,
    /// Not dialled yet, or closed.
    Disconnected,
    /// A dial is under way.
    Connecting,
    /// A `tools/list` has succeeded.
    Ready,
    /// Only the user can help.
    NeedsSignIn,
    /// Failed; tried again at `retry_at`.
    Backoff,
    /// Switched off by the user.
    Disabled,
}

/// `ConnectorStatus` of the WebSocket API.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ConnectorStatus {
    /// Stable identifier.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// The MCP endpoint; empty for a stdio connector.
    pub url: String,
    /// True exactly in the state `ready`.
    pub connected: bool,
    /// Usable tools in the last catalogue.
    pub tool_count: usize,
    /// Tools that have a route now.
    pub enabled_count: usize,
    /// What went wrong last and when it is tried next, in one sentence; `null` while all is well.
    pub last_error: Option<String>,
    /// The state's name.
    pub state: StateName,
    /// `http` or `stdio`.
    pub transport: &'static str,
    /// The command line, for a stdio connector (names of variables only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandView>,
    /// When the next attempt is made (Unix seconds).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "unix_seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub retry_at: Option<SystemTime>,
    /// Failed attempts since the last success.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed_attempts: u32,
    /// The era spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<Era>,
    /// The version spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<&'static str>,
    /// Who the server says it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_info: Option<Implementation>,
    /// True where the user wants the local server to be handled by the Common Agent Runtime's engine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub engine: bool,
    /// What cannot be done over this connection, whatever the server offers: a sentence each.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub limitations: &'static [&'static str],
    /// When the catalogue was last read (Unix seconds): the proof behind `ready`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "unix_seconds")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    pub tools_fetched_at: Option<SystemTime>,
    /// True if the catalogue is from an earlier connection.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Tools that were left out, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<QuarantinedTool>,
    /// Names of the headers whose values are in the secret store.
    pub secret_headers: Vec<String>,
    /// Names of the variables that look like secrets and whose values stand in the settings file in plain text:
    /// `connectors.protect_env` moves them to the secret store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plaintext_secrets: Vec<String>,
    /// A stable word for the cause of `last_error`, where there is one finer than the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// How it signs in, once it has or the user has chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthSettings>,
    /// The scopes that the user has to grant before it can go on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sign_in_scopes: Vec<String>,
    /// How its servers are reached, where that differs from the rest of this machine.
    #[serde(skip_serializing_if = "NetworkSettings::is_default")]
    pub network: NetworkSettings,
    /// The proposal that it is (in the state `proposed`), or that the user accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<ProposalView>,
    /// What is proposed now in place of what the user accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal_changed: Option<ProposalChange>,
}

/// Where a connector comes from that was not entered by the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalView {
    /// The file.
    pub file: String,
    /// Names the content, for `connectors.accept`.
    pub hash: String,
    /// The variables that it would set, with their values, while it is not accepted: they decide what is run as much as the
    /// command does, and come from a file without secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// A proposal that differs from the one that the user accepted. The connector goes on as it is until the user decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalChange {
    /// The file.
    pub file: String,
    /// Names the new content, for `connectors.accept`.
    pub hash: String,
    /// What would change.
    pub changes: Vec<FieldChange>,
}

/// One field of a definition, before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldChange {
    /// `name`, `url`, `command` (with its arguments), `cwd`, `env.NAME`, `secret_env` or `secret_headers`.
    pub field: String,
    /// What it is; `null` if there is nothing. A variable's value is not shown.
    pub before: Option<String>,
    /// What it would be; `null` if it would go.
    pub after: Option<String>,
}

/// What a stdio connector starts.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommandView {
    /// The executable.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Names of the variables that are set for it, and whose values stand in the settings file.
    pub env: Vec<String>,
    /// Names of the variables whose values are in the secret store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secret_env: Vec<String>,
    /// The folder that it is started in, if it is not this program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// `ToolView` of the WebSocket API.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ToolView {
    /// The server's name of the tool.
    pub name: String,
    /// The model-visible name.
    pub canonical: String,
    /// Untrusted text, made fit for display.
    pub description: String,
    /// True if the user has enabled it.
    pub enabled: bool,
    /// True if it has a route: enabled, and every gate admits it.
    pub routed: bool,
    /// Why an enabled tool has no route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<String>,
    /// True if the definition is not the one that was approved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Hints of the server's.
    pub annotations: ToolAnnotations,
    /// The definition as the server sent it, schemas included.
    pub definition: Box<RawValue>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

pub(crate) fn seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    unix_seconds(&Some(*time), serializer)
}

pub(crate) fn unix_seconds<S: serde::Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()) {
        Some(since) => serializer.serialize_some(&since.as_secs()),
        None => serializer.serialize_none(),
    }
}
