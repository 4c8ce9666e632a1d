//! `connectors.update`

use connectors_core::manager::ConnectorUpdate;
use connectors_core::{ConnectorStatus, NetworkSettings, OutputCheck, Slug};
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::OAuthChoice;
use super::variables::ChangedVariables;
use super::{Context, Headers, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct Update;

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The connector. It keeps its slug.
    slug: Slug,
    /// Display name.
    #[serde(default, deserialize_with = "params::optional_name")]
    name: Option<String>,
    /// The MCP endpoint, of a remote server.
    #[serde(default)]
    url: Option<String>,
    /// The headers of a remote server, all of them. The values are secrets.
    #[serde(default)]
    headers: Option<Headers>,
    /// The executable of a local server.
    #[serde(default)]
    command: Option<String>,
    /// Its arguments, all of them.
    #[serde(default)]
    args: Option<Vec<String>>,
    /// Its variables: with those of `secret_env`, all that there are to be. `null` keeps a variable as it is, wherever its value
    /// is; values that look like secrets go to the secret store. The stored values of variables that are not named are deleted.
    #[serde(default)]
    env: Option<ChangedVariables>,
    /// Its variables whose values are secrets, whatever they look like. Without `env`, all others stay. `null` keeps the stored
    /// value, or moves it to the secret store.
    #[serde(default)]
    secret_env: Option<ChangedVariables>,
    /// Switches the connector off or on.
    #[serde(default)]
    disabled: Option<bool>,
    /// What becomes of results that violate their tool's output schema.
    #[serde(default)]
    output_check: Option<OutputCheck>,
    /// Whether the local server is handled by the Common Agent Runtime's engine, where this program has it. Less can be done then: see
    /// `limitations` in the status.
    #[serde(default)]
    engine: Option<bool>,
    /// How to sign in, where it is not by what the servers offer.
    #[serde(default)]
    oauth: Option<OAuthChoice>,
    /// How the servers are reached, all of it.
    #[serde(default)]
    network: Option<NetworkSettings>,
}

impl Method for Update {
    const NAME: &'static str = "connectors.update";
    const SUMMARY: &'static str =
        "Changes a connector's name, address, headers, command or variables. The selection of tools stays.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let (slug, update) = read(params)?;
        context.change(|manager| async move { manager.update(&slug, update).await }).await
    }
}

fn read(params: Params) -> Result<(Slug, ConnectorUpdate), ErrorObject> {
    let mut update = ConnectorUpdate::default();
    update.name = params.name;
    update.url = params.url;
    update.headers = params.headers.map(Headers::into_secret);
    update.command = params.command;
    update.args = params.args;
    update.env = params.env.map(|env| env.0);
    update.secret_env = params.secret_env.map(|env| env.0);
    update.disabled = params.disabled;
    update.output_check = params.output_check;
    update.engine = params.engine;
    update.sign_in = params.oauth.map(OAuthChoice::read).transpose()?;
    update.network = params.network;
    Ok((params.slug, update))
}
