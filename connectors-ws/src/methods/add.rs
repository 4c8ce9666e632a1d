//! `connectors.add`

use connectors_core::ConnectorStatus;
use connectors_core::manager::NewConnector;
use schemars::JsonSchema;
use serde::Deserialize;

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
        let new = NewConnector::http(params.name, params.url, headers);
        context.change(|manager| async move { manager.add(new).await }).await
    }
}
