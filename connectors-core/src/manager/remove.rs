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
        let are_held = matches!(exclusive, Ok(Ok(_)));
        if !are_held {
            tracing::warn!(slug = %cell.slug, "removed while its secrets are in use");
        }
        let rejected = self.reject_removed(&cell).await;
        let definition = cell.definition.load_full();
        if let Err(error) = self.delete_with_secrets(&cell, &definition).await {
            self.propose_again(rejected).await;
            return Err(error);
        }
        if !are_held && let Err(error) = self.sweep_up(&definition).await {
            tracing::warn!(slug = %cell.slug, %error, "secrets that were just written may be left of it");
        }
        drop(exclusive);
        // One that was begun meanwhile.
        self.pending.forget(&cell);
        cell.stop().await;
        Ok(())
    }

    /// Deletes a connector's secrets, and then its definition, which says meanwhile that it is not all there.
    async fn delete_with_secrets(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        definition: &ConnectorDefinition,
    ) -> Result<(), ConnectorError> {
        let secrets = self.secrets_of(definition).await?;
        if !secrets.is_empty()
            && self.secrets_outlive_us()
            && let Err(error) = self.edit(cell, |definition| definition.unfinished = true).await
        {
            if matches!(error, ConnectorError::NotFound(_)) {
                // Somebody else was faster; what it had is not wanted either way.
                cell.removed();
                self.delete_secrets(definition).await?;
            }
            return Err(error);
        }
        let mut replaced = Replaced::default();
        let deleted = match self.change_each(&cell.slug, &secrets, &mut replaced).await {
            Ok(()) => self.delete_definition(cell).await,
            Err(error) => Err(error.into()),
        };
        let Err(error) = deleted else { return Ok(()) };
        let is_kept = self.undo(cell, replaced).await
            && self.edit(cell, |definition| definition.unfinished = false).await.is_ok();
        if !is_kept && !cell.was_removed() {
            tracing::error!(slug = %cell.slug, %error, "its removal has failed halfway; the next start completes it");
        }
        Err(error)
    }

    async fn delete_definition(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), ConnectorError> {
        let (shared, removed) = (Arc::clone(self), Arc::clone(cell));
        let deleting = async move {
            if !shared.is_current(&removed) {
                // Somebody else was faster; what it had is not wanted either way.
                removed.removed();
                return Err(ConnectorError::NotFound(removed.slug.clone()));
            }
            shared.config.remove(&removed.slug).await?;
            removed.removed();
            shared.forget(&removed).await;
            Ok(())
        };
        self.serial.run(deleting).await
    }

    /// Deletes what somebody who held the secrets has written late, unless another connector has the slug by now.
    async fn sweep_up(self: &Arc<Self>, removed: &ConnectorDefinition) -> Result<(), ConnectorError> {
        match self.reserve_exactly(&removed.slug) {
            Some(_reservation) if !self.is_in_manifest(&removed.slug).await? => {
                self.delete_secrets(removed).await
            }
            _ => Ok(()),
        }
    }

    /// The change that deletes a connector's secrets. Where it says that it has none, the store need not be there for what may be
    /// left of others.
    async fn secrets_of(&self, definition: &ConnectorDefinition) -> Result<SecretChange, ConnectorError> {
        let found = match self.without_secrets(definition).await {
            Ok(change) => self.without_idle(&definition.slug, change).await,
            Err(error) => Err(error),
        };
        match found {
            Err(error) if !environment::has_secrets(definition) => {
                tracing::warn!(slug = %definition.slug, %error, "removed without a look into the secret store");
                Ok(SecretChange::default())
            }
            found => found,
        }
    }

    /// Deletes whatever secrets there are under a definition's slug.
    pub(super) async fn delete_secrets(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<(), ConnectorError> {
        let change = self.without_secrets(definition).await?;
        // Not to be put back.
        let _ = self.change_secrets(&definition.slug, &change).await?;
        Ok(())
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
        change.delete(CredentialKey::STAGED);
        Ok(change)
    }
}
