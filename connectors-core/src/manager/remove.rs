//! Removing connectors.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Cell;
use super::environment;
use super::secrets::{Replaced, SecretChange};
use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::store::CredentialKey;

/// How long whoever holds the secrets is waited for; a removal does not depend on them.
const COURTESY: Duration = Duration::from_secs(10);

impl Shared {
    /// Removes a connector with everything that belongs to it. After an error it is as it was, but for its tokens, which are
    /// given back first.
    pub(super) async fn delete(self: Arc<Self>, cell: Arc<Cell>) -> Result<(), ConnectorError> {
        self.pending.forget(&cell);
        if cell.definition.load().oauth.is_some() {
            self.revoke(&cell).await;
        }
        let exclusive = tokio::time::timeout(COURTESY, self.credentials.exclusive(&cell.slug)).await;
        if !matches!(exclusive, Ok(Ok(_))) {
            tracing::warn!(slug = %cell.slug, "removed while its secrets are in use");
        }
        let rejected = self.reject_removed(&cell).await;
        let secrets = match self.take_secrets(&cell).await {
            Ok(secrets) => secrets,
            Err(error) => {
                self.propose_again(rejected).await;
                return Err(error);
            }
        };
        let (shared, removed) = (Arc::clone(&self), Arc::clone(&cell));
        let deleted = self
            .serial
            .run(async move {
                if !shared.is_current(&removed) {
                    // Somebody else was faster; what it had is not wanted either way.
                    removed.removed();
                    return Err(ConnectorError::NotFound(removed.slug.clone()));
                }
                shared.config.remove(&removed.slug).await?;
                removed.removed();
                shared.forget(&removed).await;
                Ok(())
            })
            .await;
        if let Err(error) = deleted {
            self.undo(&cell, secrets).await;
            self.propose_again(rejected).await;
            return Err(error);
        }
        drop(exclusive);
        // One that was begun meanwhile.
        self.pending.forget(&cell);
        cell.stop().await;
        Ok(())
    }

    /// Deletes a connector's secrets. Where it has none, the store need not be there for what may be left of others.
    async fn take_secrets(&self, cell: &Cell) -> Result<Replaced, ConnectorError> {
        let definition = cell.definition.load_full();
        let taken = async {
            let change = self.without_secrets(&definition).await?;
            self.change_secrets(&cell.slug, &change).await
        };
        match taken.await {
            Err(error) if !has_secrets(&definition) => {
                tracing::warn!(slug = %cell.slug, %error, "removed without a look into the secret store");
                Ok(Replaced::default())
            }
            taken => taken,
        }
    }

    /// The change that leaves nothing under any name that a definition's secrets have, or may have.
    pub(super) async fn without_secrets(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<SecretChange, ConnectorError> {
        let mut change = SecretChange::default();
        for key in self.credentials.list(&definition.slug).await? {
            change.delete(key.name());
        }
        // A store that cannot enumerate knows at least what the definition names.
        definition.secret_headers.iter().for_each(|name| change.delete(name));
        let variables = environment::secret_names(definition).iter();
        variables.for_each(|name| change.delete(CredentialKey::env_name(name)));
        CredentialKey::SIGN_IN_NAMES.into_iter().for_each(|name| change.delete(name));
        Ok(change)
    }
}

/// True where a definition says that there is something in the secret store.
fn has_secrets(definition: &ConnectorDefinition) -> bool {
    !definition.secret_headers.is_empty()
        || definition.oauth.is_some()
        || !environment::secret_names(definition).is_empty()
}
