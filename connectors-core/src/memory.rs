//! Stores that forget: for `--secrets memory`, for hosts with their own persistence, and for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::definition::ConnectorDefinition;
use crate::error::{CredentialError, StorageError};
use crate::names::Slug;
use crate::queues::Queues;
use crate::store::{ConfigStore, CredentialKey, CredentialStore, Exclusive};

/// How long one holder of a connector's secrets is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Secrets in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryCredentialStore {
    values: Mutex<BTreeMap<CredentialKey, SecretString>>,
    queues: Queues,
}

impl MemoryCredentialStore {
    fn values(&self) -> MutexGuard<'_, BTreeMap<CredentialKey, SecretString>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CredentialStore for MemoryCredentialStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        Ok(self.values().get(key).cloned())
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.values().insert(key.clone(), value.clone());
        Ok(())
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.values().remove(key);
        Ok(())
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        Ok(self.values().keys().filter(|key| key.slug() == slug).cloned().collect())
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        let mut values = self.values();
        let matches =
            values.get(key).map(ExposeSecret::expose_secret) == expected.map(ExposeSecret::expose_secret);
        if matches {
            values.insert(key.clone(), new.clone());
        }
        Ok(matches)
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        match tokio::time::timeout(PATIENCE, self.queues.turn(slug)).await {
            Ok(held) => Ok(Exclusive::new(held)),
            Err(_) => Err(CredentialError::TimedOut { store: self.kind(), limit: PATIENCE }),
        }
    }
}

/// Definitions in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryConfigStore {
    definitions: Mutex<Vec<ConnectorDefinition>>,
}

impl MemoryConfigStore {
    fn definitions(&self) -> MutexGuard<'_, Vec<ConnectorDefinition>> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ConfigStore for MemoryConfigStore {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        Ok(self.definitions().clone())
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        let mut definitions = self.definitions();
        if definitions.iter().any(|other| other.slug == definition.slug) {
            return Err(StorageError::SlugTaken(definition.slug.clone()));
        }
        definitions.push(definition.clone());
        Ok(())
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        let mut definitions = self.definitions();
        match definitions.iter_mut().find(|other| other.slug == definition.slug) {
            Some(found) => *found = definition.clone(),
            None => definitions.push(definition.clone()),
        }
        Ok(())
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        let mut definitions = self.definitions();
        match definitions.iter_mut().find(|other| other.slug == new.slug) {
            Some(found) if found == expected => {
                *found = new.clone();
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.definitions().retain(|definition| definition.slug != *slug);
        Ok(())
    }
}
