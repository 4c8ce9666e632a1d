//! Changes that concern a connector's secrets and its definition: both, or neither, whatever becomes of this process.
//!
//! What is to become of the secrets is first written beside them, under a name of its own, with the `secrets_revision` that the
//! definition is to have then. Writing that definition makes the change; only then the secrets are replaced. Whoever finds what was
//! staged completes the change if the definition has that revision, and otherwise throws it away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::secrets::{Replaced, SecretChange};
use super::shared::Shared;
use super::{change, environment};
use crate::definition::ConnectorDefinition;
use crate::error::{ConnectorError, CredentialError};
use crate::names::Slug;
use crate::store::{CredentialKey, Exclusive};

/// How long the secret store is waited for where a connector has nothing in it.
const COURTESY: Duration = Duration::from_secs(1);

/// A change of secrets that was staged.
#[derive(Deserialize)]
struct Staged {
    /// That of the definition which makes it.
    secrets_revision: u64,
    secrets: SecretChange,
}

/// The same as it is written: `null` for what is to be deleted.
#[derive(Serialize)]
struct Written<'a> {
    secrets_revision: u64,
    secrets: BTreeMap<&'a str, Option<&'a str>>,
}

impl Shared {
    /// Changes a connector's secrets and its definition. The caller holds the secrets.
    ///
    /// Where `change` refuses, nothing is changed, nor after an error.
    pub(super) async fn edit_with_secrets<E: Send + 'static>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        secrets: SecretChange,
        change: impl Fn(&mut ConnectorDefinition) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<(), E>, ConnectorError> {
        let secrets = self.without_idle(&cell.slug, secrets).await?;
        if secrets.is_empty() {
            return self.edit(cell, change).await;
        }
        let mut mark = None;
        if !self.looks_for_staged(&cell.definition.load()) {
            self.check_store(&cell.slug).await?;
            // From now on whoever starts looks, should this be cut short.
            let revision = new_revision();
            self.edit(cell, move |definition| definition.secrets_revision = revision).await?;
            mark = Some(revision);
        }
        let revision = new_revision();
        let edited = match self.stage(&cell.slug, revision, &secrets).await {
            Ok(()) => {
                let edited = self.edit(cell, move |definition| {
                    let before = definition.clone();
                    change(definition)?;
                    definition.secrets_revision = revision;
                    // Whoever is still at its secrets does not want it removed.
                    definition.unfinished = false;
                    Ok((before, definition.clone()))
                });
                edited.await
            }
            Err(error) => Err(error.into()),
        };
        match edited {
            Ok(Ok((before, after))) => self.complete_or_revert(cell, before, after, &secrets).await.map(Ok),
            Ok(Err(refusal)) => {
                self.unstage(cell, mark).await;
                Ok(Err(refusal))
            }
            Err(error) => {
                self.unstage(cell, mark).await;
                Err(error)
            }
        }
    }

    /// Replaces the secrets after their definition; reverts that one where it cannot be done.
    async fn complete_or_revert(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        before: ConnectorDefinition,
        after: ConnectorDefinition,
        secrets: &SecretChange,
    ) -> Result<(), ConnectorError> {
        let slug = &cell.slug;
        let outcome = self.replace_secrets(slug, secrets).await;
        if cell.was_removed() {
            // They are not for whoever has the slug next.
            self.drop_secrets(slug, secrets.names()).await;
            self.drop_secrets(slug, [CredentialKey::STAGED]).await;
            return Err(ConnectorError::NotFound(slug.clone()));
        }
        let Err(Unreplaced { error, are_as_before }) = outcome else {
            if let Err(error) = self.credentials.delete(&CredentialKey::staged(slug)).await {
                tracing::warn!(%slug, %error, "what is left of a change of secrets could not be deleted");
                // It must not be made again once they have changed further.
                let _ = self.edit(cell, |definition| definition.secrets_revision = new_revision()).await;
            }
            return Ok(());
        };
        let revert = move |definition: &mut ConnectorDefinition| {
            let is_ours = definition.secrets_revision == after.secrets_revision
                && change::basis(definition) == change::basis(&after);
            if is_ours {
                let enabled_tools = std::mem::take(&mut definition.enabled_tools);
                let tool_pins = std::mem::take(&mut definition.tool_pins);
                *definition = ConnectorDefinition { enabled_tools, tool_pins, ..before.clone() };
                // Not the one before: whoever has read the new secrets for it has to see that they are not.
                definition.secrets_revision = new_revision();
            }
            is_ours
        };
        match are_as_before && matches!(self.edit(cell, revert).await, Ok(true)) {
            true => self.unstage(cell, None).await,
            false => {
                tracing::error!(%slug, %error, "its secrets could not be changed yet; its next connection tries again");
            }
        }
        Err(error.into())
    }

    /// Makes a change of secrets, and makes sure that it is made.
    async fn replace_secrets(&self, slug: &Slug, secrets: &SecretChange) -> Result<(), Unreplaced> {
        let mut replaced = Replaced::default();
        match self.replace_each(slug, secrets, &mut replaced).await {
            Ok(()) => Ok(()),
            Err(error) => Err(Unreplaced { error, are_as_before: self.put_back(replaced).await }),
        }
    }

    async fn replace_each(
        &self,
        slug: &Slug,
        secrets: &SecretChange,
        replaced: &mut Replaced,
    ) -> Result<(), CredentialError> {
        self.change_each(slug, secrets, replaced).await?;
        for (key, value) in secrets.new_values(slug) {
            self.read_back(&key, &value).await?;
        }
        Ok(())
    }

    /// Waits until nobody else holds a connector's secrets, and holds them, with any change to them completed or undone that was cut
    /// short.
    pub(super) async fn hold_secrets(self: &Arc<Self>, slug: &Slug) -> Result<Exclusive, ConnectorError> {
        let exclusive = self.credentials.exclusive(slug).await?;
        self.conclude_staged(slug).await?;
        Ok(exclusive)
    }

    /// Waits for a change of secrets that is under way, and completes or undoes one that was cut short, wherever one may be.
    pub(super) async fn settle_secrets(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<(), ConnectorError> {
        if !self.looks_for_staged(definition) {
            return Ok(());
        }
        let slug = &definition.slug;
        if environment::has_secrets(definition) {
            return self.settle(slug).await;
        }
        // It needs none, and so waits for no store.
        match tokio::time::timeout(COURTESY, self.settle(slug)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%slug, %error, "no look for a change of its secrets"),
            Err(_) => tracing::debug!(%slug, "no look for a change of its secrets in time"),
        }
        Ok(())
    }

    async fn settle(&self, slug: &Slug) -> Result<(), ConnectorError> {
        match self.credentials.get(&CredentialKey::staged(slug)).await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) | Err(CredentialError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let _exclusive = self.credentials.exclusive(slug).await?;
        self.conclude_staged(slug).await
    }

    /// Completes a change that was cut short, if its definition was written, and else throws away what was staged for it. The caller
    /// holds the secrets.
    async fn conclude_staged(&self, slug: &Slug) -> Result<(), ConnectorError> {
        let key = CredentialKey::staged(slug);
        let staged = match self.credentials.get(&key).await {
            Ok(None) => return Ok(()),
            Ok(Some(staged)) => serde_json::from_str::<Staged>(staged.expose_secret()).ok(),
            Err(CredentialError::Damaged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let on_disk = self.config.load().await?;
        let revision =
            on_disk.iter().find(|other| other.slug == *slug).map(|definition| definition.secrets_revision);
        match staged {
            Some(staged) if revision == Some(staged.secrets_revision) => {
                tracing::info!(%slug, "a change of its secrets that was cut short is completed");
                self.replace_secrets(slug, &staged.secrets).await.map_err(|unreplaced| unreplaced.error)?;
            }
            Some(_) => tracing::info!(%slug, "a change of its secrets that was cut short is undone"),
            None => tracing::warn!(%slug, "a change of its secrets that was cut short cannot be read"),
        }
        self.credentials.delete(&key).await?;
        Ok(())
    }

    /// False for a connector that can do without the secret store.
    fn looks_for_staged(&self, definition: &ConnectorDefinition) -> bool {
        environment::has_secrets(definition)
            || definition.secrets_revision != 0
            // A sign-in looks for tokens in any case.
            || self.signs_in(definition).is_ok()
    }

    async fn stage(&self, slug: &Slug, revision: u64, secrets: &SecretChange) -> Result<(), CredentialError> {
        let written = Written { secrets_revision: revision, secrets: secrets.exposed() };
        // Strings under strings, which nothing can be wrong with.
        let staged = SecretString::from(serde_json::to_string(&written).unwrap_or_default());
        let key = CredentialKey::staged(slug);
        self.credentials.put(&key, &staged).await?;
        self.read_back(&key, &staged).await
    }

    /// Throws away what was staged for a change that has come to nothing, and takes back the mark that was made for it.
    async fn unstage(self: &Arc<Self>, cell: &Arc<Cell>, mark: Option<u64>) {
        if let Err(error) = self.credentials.delete(&CredentialKey::staged(&cell.slug)).await {
            tracing::warn!(slug = %cell.slug, %error, "what is left of a change of secrets could not be deleted");
            return;
        }
        let Some(mark) = mark else { return };
        let unmark = move |definition: &mut ConnectorDefinition| {
            if definition.secrets_revision == mark {
                definition.secrets_revision = 0;
            }
        };
        if let Err(error) = self.edit(cell, unmark).await {
            tracing::debug!(slug = %cell.slug, %error, "a change of secrets that came to nothing has left its mark");
        }
    }

    /// Makes sure that the secret store can be used, before anything is written that refers to it.
    pub(super) async fn check_store(&self, slug: &Slug) -> Result<(), CredentialError> {
        match self.credentials.get(&CredentialKey::staged(slug)).await {
            Ok(_) | Err(CredentialError::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Leaves only what makes a difference: not the deletion of what is not there.
    pub(super) async fn without_idle(
        &self,
        slug: &Slug,
        mut secrets: SecretChange,
    ) -> Result<SecretChange, ConnectorError> {
        for name in secrets.deleted() {
            match self.credentials.get(&CredentialKey::header(slug, &name)).await {
                Ok(None) => secrets.forget(&name),
                Ok(Some(_)) | Err(CredentialError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(secrets)
    }

    /// Makes sure that the store gives back what was written to it: the only other copy is about to be lost.
    async fn read_back(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        let stored = self.credentials.get(key).await?;
        if stored.as_ref().map(ExposeSecret::expose_secret) == Some(value.expose_secret()) {
            return Ok(());
        }
        let reason = "it does not give back what was just written to it".to_owned();
        Err(CredentialError::Unavailable { store: self.credentials.kind(), reason })
    }
}

/// Why secrets were not replaced, and whether all are as they were before.
struct Unreplaced {
    error: CredentialError,
    are_as_before: bool,
}

/// One that no definition has had. Exact in every reader of JSON.
fn new_revision() -> u64 {
    rand::random_range(1..1 << 53)
}
