//! `connectors.secrets`

use connectors_core::ConnectorError;
use connectors_store::{SecretPlace, SecretsError, SecretsStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;

pub(crate) struct Secrets;

/// A place for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SecretPlace")]
pub(crate) enum Place {
    /// The OS keychain.
    Keychain,
    /// An encrypted file.
    Vault,
}

impl Place {
    pub(super) fn of(place: SecretPlace) -> Self {
        match place {
            SecretPlace::Keychain => Self::Keychain,
            SecretPlace::Vault => Self::Vault,
        }
    }

    pub(super) fn place(self) -> SecretPlace {
        match self {
            Self::Keychain => SecretPlace::Keychain,
            Self::Vault => SecretPlace::Vault,
        }
    }
}

/// How secrets are kept.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SecretsStatus")]
pub(crate) struct View {
    /// `keychain`, `vault`, `memory`, or what the host calls its own store.
    kind: &'static str,
    /// Where they are, why there, and what is wrong with it, in a few sentences.
    notice: String,
    /// True if the user should know.
    warning: bool,
    /// True if a vault waits for its passphrase (`connectors.unlock_secrets`), or a keychain for being unlocked at the desktop.
    locked: bool,
    /// The places that `connectors.move_secrets` can move them to now.
    can_move_to: Vec<Place>,
    /// What the vault's key is, `passphrase` or `key_file`; absent where secrets are in no vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    vault_key: Option<&'static str>,
}

impl From<SecretsStatus> for View {
    fn from(status: SecretsStatus) -> Self {
        Self {
            kind: status.kind,
            notice: status.notice,
            warning: status.warning,
            locked: status.locked,
            can_move_to: status.can_move_to.into_iter().map(Place::of).collect(),
            vault_key: status.vault_key,
        }
    }
}

impl Method for Secrets {
    const NAME: &'static str = "connectors.secrets";
    const SUMMARY: &'static str = "Says where secrets are kept, and whether that works.";
    type Params = NoParams;
    type Output = View;

    async fn run(context: Context<'_>, _: NoParams) -> Result<View, ErrorObject> {
        match &context.dispatcher.secrets {
            Some(secrets) => Ok(secrets.status().await.into()),
            None => Ok(View {
                kind: context.manager().secret_store(),
                notice: "Secrets are kept where the host of these connectors keeps them.".to_owned(),
                warning: false,
                locked: false,
                can_move_to: Vec::new(),
                vault_key: None,
            }),
        }
    }
}

impl Context<'_> {
    /// The places, where this program chooses between them; else an error about `field`.
    pub(super) fn secrets(&self, field: &str) -> Result<&connectors_store::Secrets, ErrorObject> {
        self.dispatcher.secrets.as_ref().ok_or_else(|| {
            ErrorObject::invalid_params(
                field,
                "has no effect: the host of these connectors keeps their secrets",
            )
        })
    }
}

/// The error of a method whose parameter `field` cannot be what it is.
pub(super) fn refuse(field: &str, error: SecretsError) -> ErrorObject {
    match error {
        SecretsError::Store(error) => ConnectorError::from(error).into(),
        SecretsError::Manifest(cause) => {
            let message = format!("nothing is moved while it is not known which secrets are yours: {cause}");
            ErrorObject { message, ..ConnectorError::from(cause).into() }
        }
        error => ErrorObject::invalid_params(field, &error.to_string()),
    }
}
