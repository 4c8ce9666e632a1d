//! `connectors.protect_env`

use connectors_core::{ConnectorError, ConnectorStatus, CredentialError, Slug};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct ProtectEnv;

/// Variables of a local server.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The connector.
    slug: Slug,
    /// The variables; all of its `plaintext_secrets` if absent.
    #[serde(default)]
    names: Option<Vec<String>>,
}

impl Method for ProtectEnv {
    const NAME: &'static str = "connectors.protect_env";
    const SUMMARY: &'static str =
        "Moves values of a local server's variables from the settings file to the secret store.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        if context.manager().secret_store() == "memory" {
            let reason = "it forgets everything when this program ends, and the file has the only other copy";
            let error = CredentialError::Unavailable { store: "memory store", reason: reason.to_owned() };
            return Err(ConnectorError::from(error).into());
        }
        let Params { slug, names } = params;
        context.change(|manager| async move { manager.protect_env(&slug, names).await }).await
    }
}
