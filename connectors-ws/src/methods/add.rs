//! `connectors.add`

use connectors_core::manager::NewConnector;
use connectors_core::{ConnectorStatus, NetworkSettings};
use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::OAuthChoice;
use super::{Context, Headers, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct Add;

/// A remote server.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Display name; the slug comes from it.
    #[serde(deserialize_with = "params::name")]
    name: String,
    /// The MCP endpoint.
    url: String,
    /// Headers to send with every request. The values are secrets.
    #[serde(default)]
    headers: Option<Headers>,
    /// How to sign in, where it is not by what the servers offer.
    #[serde(default)]
    oauth: Option<OAuthChoice>,
    /// How the servers are reached, where that differs from the rest of this machine.
    #[serde(default)]
    network: Option<NetworkSettings>,
}

impl Method for Add {
    const NAME: &'static str = "connectors.add";
    const SUMMARY: &'static str =
        "Adds a remote server. One that cannot be reached is added all the same, with `last_error`.";
    const ERRORS: &'static [&'static str] = &["storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let headers = params.headers.unwrap_or_default().into_secret();
        let mut new = NewConnector::http(params.name, params.url, headers);
        if let Some(choice) = params.oauth {
            new = new.with_sign_in(choice.read()?);
        }
        if let Some(network) = params.network {
            new = new.with_network(network);
        }
        context.change(|manager| async move { manager.add(new).await }).await
    }
}
