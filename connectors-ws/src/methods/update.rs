//! `connectors.update`

use std::collections::BTreeMap;

use connectors_core::manager::ConnectorUpdate;
use connectors_core::{ConnectorStatus, NetworkSettings, OutputCheck, Slug, StdioCommand};
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::OAuthChoice;
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
    /// The executable of a local server. `args` and `env` are replaced with it.
    #[serde(default)]
    command: Option<String>,
    /// Its arguments; only with `command`.
    #[serde(default)]
    args: Option<Vec<String>>,
    /// Variables to set for it; only with `command`.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    /// Switches the connector off or on.
    #[serde(default)]
    disabled: Option<bool>,
    /// What becomes of results that violate their tool's output schema.
    #[serde(default)]
    output_check: Option<OutputCheck>,
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
        "Changes a connector's name, address or headers. The selection of tools stays.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let (slug, update) = read(params)?;
        context.change(|manager| async move { manager.update(&slug, update).await }).await
    }
}

fn read(params: Params) -> Result<(Slug, ConnectorUpdate), ErrorObject> {
    let stdio = match (params.command, params.args, params.env) {
        (Some(command), args, env) => {
            Some(StdioCommand { command, args: args.unwrap_or_default(), env: env.unwrap_or_default() })
        }
        (None, None, None) => None,
        (None, ..) => {
            return Err(ErrorObject::invalid_params("command", "is missing; `args` and `env` go with it"));
        }
    };
    let mut update = ConnectorUpdate::default();
    update.name = params.name;
    update.url = params.url;
    update.headers = params.headers.map(Headers::into_secret);
    update.stdio = stdio;
    update.disabled = params.disabled;
    update.output_check = params.output_check;
    update.sign_in = params.oauth.map(OAuthChoice::read).transpose()?;
    update.network = params.network;
    Ok((params.slug, update))
}
