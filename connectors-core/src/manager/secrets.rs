//! Changing a connector's secrets: all of them, or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::ConnectorManager;
use super::cell::Cell;
use super::shared::Shared;
use crate::error::{ConnectorError, CredentialError, StorageError};
use crate::names::Slug;
use crate::store::CredentialKey;

/// What is to become of secrets, by name: a new value, or none.
#[derive(Clone, Default, Deserialize)]
pub(super) struct SecretChange(BTreeMap<String, Option<SecretString>>);

impl SecretChange {
    pub(super) fn put(&mut self, name: impl Into<String>, value: SecretString) {
        self.0.insert(name.into(), Some(value));
    }

    pub(super) fn delete(&mut self, name: impl Into<String>) {
        self.0.insert(name.into(), None);
    }

    /// Leaves a secret as it is after all.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The new values of a sign-in's secrets.
    pub(super) fn of_sign_in(&self) -> Vec<(&'static str, SecretString)> {
        let new = |name| Some((name, self.0.get(name)?.clone()?));
        CredentialKey::SIGN_IN_NAMES.into_iter().filter_map(new).collect()
    }

    /// The names of all that it concerns.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The names of those that are to be deleted.
    pub(super) fn deleted(&self) -> Vec<String> {
        self.0.iter().filter(|(_, new)| new.is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// Those of `slug` that get a new value.
    pub(super) fn new_values(&self, slug: &Slug) -> Vec<(CredentialKey, SecretString)> {
        let put = |(name, new): (&String, &Option<SecretString>)| {
            Some((CredentialKey::header(slug, name), new.clone()?))
        };
        self.0.iter().filter_map(put).collect()
    }

    /// All of it, in plain text.
    pub(super) fn exposed(&self) -> BTreeMap<&str, Option<&str>> {
        self.0
            .iter()
            .map(|(name, new)| (name.as_str(), new.as_ref().map(ExposeSecret::expose_secret)))
            .collect()
    }

    /// True if every secret stays as it is.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if a secret gets a new value.
    pub(super) fn puts(&self) -> bool {
        self.0.values().any(Option::is_some)
    }
}

/// Secrets as they were before a change.
#[derive(Default)]
#[must_use]
pub(super) struct Replaced(Vec<(CredentialKey, Option<SecretString>)>);

/// True for a name that no header may have: its secret is a sign-in's. Some stores do not tell capitals apart.
pub(super) fn is_of_sign_in(name: &str) -> bool {
    CredentialKey::SIGN_IN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name))
}

impl ConnectorManager {
    /// The connectors that may have secrets: the user's own, those that others have just written to the settings, and those that
    /// are just being added, whose secrets come first. Not those that are only proposed.
    ///
    /// Waits for no change under way, and for no secret.
    ///
    /// # Errors
    ///
    /// If the definitions cannot be read.
    pub async fn secret_owners(&self) -> Result<BTreeSet<Slug>, StorageError> {
        let shared = self.shared();
        // In this order: one that is being added is in the settings before it is no longer reserved.
        let mut owners: BTreeSet<Slug> =
            shared.reserved.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        owners.extend(shared.config.load().await?.into_iter().map(|definition| definition.slug));
        owners.extend(shared.cells.load().iter().map(|cell| cell.slug.clone()));
        Ok(owners)
    }
}

impl Shared {
    /// Makes a change; after an error everything is as it was.
    pub(super) async fn change_secrets(
        &self,
        slug: &Slug,
        change: &SecretChange,
    ) -> Result<Replaced, ConnectorError> {
        let mut replaced = Replaced::default();
        match self.change_each(slug, change, &mut replaced).await {
            Ok(()) => Ok(replaced),
            Err(error) => {
                self.put_back(replaced).await;
                Err(error.into())
            }
        }
    }

    /// Makes a change as far as it can be made, and notes in `replaced` what there was before.
    pub(super) async fn change_each(
        &self,
        slug: &Slug,
        change: &SecretChange,
        replaced: &mut Replaced,
    ) -> Result<(), CredentialError> {
        for (name, new) in &change.0 {
            let key = CredentialKey::header(slug, name);
            let (before, is_there) = match self.credentials.get(&key).await {
                Ok(before) => (before, None),
                // Writing over it is how it is repaired.
                Err(CredentialError::Damaged { .. }) => (None, Some(true)),
                Err(error) => return Err(error),
            };
            let is_there = is_there.unwrap_or(before.is_some());
            // Noted first: a write that fails may have been made.
            replaced.0.push((key.clone(), before));
            match new {
                Some(value) => self.credentials.put(&key, value).await?,
                None if is_there => self.credentials.delete(&key).await?,
                None => {}
            }
        }
        Ok(())
    }

    /// Undoes a change to a connector whose purpose has failed. One that this manager has removed meanwhile gets nothing back; one
    /// that is gone from the manifest does, for whoever took it out may put it back.
    pub(super) async fn undo(&self, cell: &Cell, mut replaced: Replaced) -> bool {
        if cell.was_removed() {
            replaced.0.iter_mut().for_each(|(_, before)| *before = None);
        }
        self.put_back(replaced).await
    }

    /// Undoes a change, and says whether all of it is undone. What is not is logged, by name.
    pub(super) async fn put_back(&self, replaced: Replaced) -> bool {
        let mut is_undone = true;
        for (key, before) in replaced.0.into_iter().rev() {
            let outcome = match (self.credentials.get(&key).await, before) {
                // A write that has failed.
                (Ok(Some(now)), Some(before)) if now.expose_secret() == before.expose_secret() => Ok(()),
                (Ok(None), None) => Ok(()),
                (_, Some(before)) => self.credentials.put(&key, &before).await,
                (_, None) => self.credentials.delete(&key).await,
            };
            if let Err(error) = outcome {
                tracing::error!(%key, %error, "a secret could not be put back as it was");
                is_undone = false;
            }
        }
        is_undone
    }

    /// Deletes secrets that nothing refers to any more, as far as that is possible.
    pub(super) async fn drop_secrets<'a>(&self, slug: &Slug, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if let Err(error) = self.credentials.delete(&CredentialKey::header(slug, name)).await {
                tracing::warn!(%slug, name, %error, "a secret that is no longer used could not be deleted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract::watched::WatchedConfigStore;
    use crate::definition::ConnectorDefinition;

    #[tokio::test]
    async fn secrets_may_be_those_of_what_is_being_added_here_or_was_just_added_elsewhere() {
        let definition = |slug: &str| {
            let mut definition = ConnectorDefinition::http(Slug::verbatim(slug), slug, "http://a");
            definition.disabled = true;
            definition
        };
        let config = Arc::<WatchedConfigStore>::default();
        config.write_quietly(&[definition("running")]).await;
        let manager =
            ConnectorManager::builder().with_config(Arc::<WatchedConfigStore>::clone(&config)).start().await;
        let adding = manager.shared().reserve("Adding", &[]);
        config.write_quietly(&[definition("elsewhere")]).await;
        let expected = |slugs: &[&str]| slugs.iter().map(|slug| Slug::verbatim(*slug)).collect();
        assert_eq!(manager.secret_owners().await.unwrap(), expected(&["adding", "elsewhere", "running"]));
        drop(adding);
        assert_eq!(manager.secret_owners().await.unwrap(), expected(&["elsewhere", "running"]));
    }

    #[test]
    fn the_names_of_a_sign_in_are_known_in_any_case() {
        assert!(is_of_sign_in("tokens") && is_of_sign_in("Client_Secret"));
        assert!(!is_of_sign_in("X-Tokens"));
    }

    #[test]
    fn of_two_changes_to_one_secret_the_later_counts() {
        let mut change = SecretChange::default();
        change.delete("client_secret");
        assert!(!change.is_empty() && !change.puts());
        change.put("client_secret", SecretString::from("s"));
        assert_eq!((change.0.len(), change.puts()), (1, true));
    }
}
