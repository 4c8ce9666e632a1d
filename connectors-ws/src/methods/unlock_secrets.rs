//! `connectors.unlock_secrets`

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secrets::refuse;
use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct UnlockSecrets;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The vault's passphrase. A secret; it is kept in memory until the daemon ends.
    #[schemars(with = "String")]
    passphrase: SecretString,
}

/// That it is unlocked.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UnlockedSecrets")]
pub(crate) struct Output {
    /// Always true.
    unlocked: bool,
}

impl Method for UnlockSecrets {
    const NAME: &'static str = "connectors.unlock_secrets";
    const SUMMARY: &'static str =
        "Opens a vault that is protected by a passphrase, and dials the connectors again that needed it.";
    const ERRORS: &'static [&'static str] = &["secret_store_unavailable"];
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let secrets = context.secrets("passphrase")?;
        secrets.unlock(params.passphrase).await.map_err(|error| refuse("passphrase", error))?;
        context.manager().secrets_available().await;
        Ok(Output { unlocked: true })
    }
}
