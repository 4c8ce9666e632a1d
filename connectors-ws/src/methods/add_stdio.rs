//! `connectors.add_stdio`

use connectors_core::manager::NewConnector;
use connectors_core::{ConnectorStatus, StdioCommand};
use schemars::JsonSchema;
use serde::Deserialize;

use super::variables::Variables;
use super::{Context, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct AddStdio;

/// A local server.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Display name; the slug comes from it.
    #[serde(deserialize_with = "params::name")]
    name: String,
    /// The executable. It is never given to a shell.
    command: String,
    /// Its arguments.
    #[serde(default)]
    args: Option<Vec<String>>,
    /// Variables to set for it. Values that look like secrets go to the secret store.
    #[serde(default)]
    env: Option<Variables>,
    /// Variables whose values are secrets, whatever they look like.
    #[serde(default)]
    secret_env: Option<Variables>,
    /// True where it is handled by the Common Agent Runtime's engine, where this program has it. Less can be done then: see
    /// `limitations` in the status.
    #[serde(default)]
    engine: bool,
}

impl Method for AddStdio {
    const NAME: &'static str = "connectors.add_stdio";
    const SUMMARY: &'static str = "Adds a local server, which is started as a child process.";
    const ERRORS: &'static [&'static str] = &["storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let command = StdioCommand {
            command: params.command,
            args: params.args.unwrap_or_default(),
            env: params.env.unwrap_or_default().into_plain(),
            ..StdioCommand::default()
        };
        let secret = params.secret_env.unwrap_or_default().into_secret();
        let new =
            NewConnector::stdio(params.name, command).with_secret_env(secret).with_engine(params.engine);
        context.change(|manager| async move { manager.add(new).await }).await
    }
}
