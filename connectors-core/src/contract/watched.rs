//! A store of definitions that others write to, and that can be told to fail.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use crate::definition::ConnectorDefinition;
use crate::error::StorageError;
use crate::memory::MemoryConfigStore;
use crate::names::Slug;
use crate::store::ConfigStore;

/// Definitions in memory, with somebody else who writes to them.
#[derive(Debug, Default)]
pub struct WatchedConfigStore {
    definitions: MemoryConfigStore,
    changes: watch::Sender<()>,
    flaw: Mutex<Flaw>,
}

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// It does not parse: line 3, column 7.
    Unparsable,
    /// There is no space left to write to it.
    Full,
}

impl WatchedConfigStore {
    /// Somebody else replaces everything, and it is announced.
    pub async fn write_elsewhere(&self, definitions: &[ConnectorDefinition]) {
        self.write_quietly(definitions).await;
        self.announce();
    }

    /// Somebody else replaces everything, and nobody has noticed yet.
    ///
    /// # Panics
    ///
    /// Where two have one slug.
    #[allow(clippy::unwrap_used, reason = "a fake for tests; a store of memory does not fail")]
    pub async fn write_quietly(&self, definitions: &[ConnectorDefinition]) {
        for old in self.definitions.load().await.unwrap() {
            self.definitions.remove(&old.slug).await.unwrap();
        }
        for new in definitions {
            self.definitions.insert(new).await.unwrap();
        }
    }

    /// Breaks or repairs the store, and announces it.
    pub fn set(&self, flaw: Flaw) {
        *self.flaw() = flaw;
        self.announce();
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.changes.receiver_count()
    }

    /// Announces a change, whether or not there was one.
    pub fn announce(&self) {
        self.changes.send_replace(());
    }

    fn flaw(&self) -> MutexGuard<'_, Flaw> {
        self.flaw.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<(), StorageError> {
        let file = "connectors.json".to_owned();
        match *self.flaw() {
            Flaw::Unparsable => {
                let problem = "expected a comma".to_owned();
                Err(StorageError::Unparsable { file, line: 3, column: 7, problem })
            }
            Flaw::None | Flaw::Full => Ok(()),
        }
    }

    fn writable(&self) -> Result<(), StorageError> {
        self.readable()?;
        if *self.flaw() == Flaw::Full {
            let (file, source) = ("connectors.json".to_owned(), std::io::ErrorKind::StorageFull.into());
            return Err(StorageError::Io { action: "write", file, source });
        }
        Ok(())
    }
}

#[async_trait]
impl ConfigStore for WatchedConfigStore {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.readable()?;
        self.definitions.load().await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.writable()?;
        self.definitions.insert(definition).await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.writable()?;
        self.definitions.replace(definition).await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        self.writable()?;
        self.definitions.compare_and_swap(expected, new).await
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.writable()?;
        self.definitions.remove(slug).await
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let changes = stream::unfold(self.changes.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        Some(changes.boxed())
    }
}
