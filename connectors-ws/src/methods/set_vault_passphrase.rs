//! `connectors.set_vault_passphrase`

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secrets::refuse;
use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct SetVaultPassphrase;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The new passphrase, a secret. Absent: the vault goes back to its key file.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    passphrase: Option<SecretString>,
}

/// What the vault's key is now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "VaultKey")]
pub(crate) struct Output {
    /// `passphrase` or `key_file`.
    vault_key: &'static str,
}

impl Method for SetVaultPassphrase {
    const NAME: &'static str = "connectors.set_vault_passphrase";
    const SUMMARY: &'static str = "Encrypts the vault anew, under a passphrase or its key file. Until that is done the old key is the one.";
    const ERRORS: &'static [&'static str] = &["storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let vault_key = if params.passphrase.is_some() { "passphrase" } else { "key_file" };
        let secrets = context.secrets("passphrase")?.clone();
        // On a task of its own: finished though the caller goes away.
        let change = tokio::spawn(async move { secrets.set_passphrase(params.passphrase).await });
        match change.await {
            Ok(outcome) => outcome.map_err(|error| refuse("passphrase", error))?,
            Err(_) => return Err(ErrorObject::internal("the passphrase was perhaps not changed; try it")),
        }
        Ok(Output { vault_key })
    }
}
