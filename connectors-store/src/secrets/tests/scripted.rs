//! A place for secrets that can be told to fail, and a machine with two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{
    CredentialError, CredentialKey, CredentialStore, MemoryCredentialStore, Slug, StorageError,
};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use crate::secrets::*;

/// What becomes of the calls to both places, counted together.
#[derive(Default)]
pub(super) struct Fate {
    pub(super) calls: AtomicUsize,
    /// The call that never ends, as if its process had died.
    pub(super) dies_at: Option<usize>,
    /// The call from which on every one fails.
    pub(super) fails_from: Option<usize>,
}

/// A place in memory that can be told to fail.
#[derive(Clone)]
pub(super) struct Scripted {
    store: Arc<MemoryCredentialStore>,
    fate: Arc<Fate>,
    accounts: Arc<Mutex<Vec<CredentialKey>>>,
    common: bool,
    pub(super) problem: Option<&'static str>,
    /// How often it had to prove that it keeps what it is given.
    pub(super) proofs: Arc<AtomicUsize>,
}

impl Scripted {
    /// The same place, with this in store for who uses it through this.
    pub(super) fn with_fate(&self, fate: &Arc<Fate>) -> Self {
        Self { fate: Arc::clone(fate), ..self.clone() }
    }

    async fn step(&self) -> Result<(), CredentialError> {
        let call = self.fate.calls.fetch_add(1, Ordering::SeqCst);
        if self.fate.dies_at == Some(call) {
            std::future::pending::<()>().await;
        }
        match self.fate.fails_from {
            Some(first) if call >= first => {
                Err(CredentialError::Failed { store: "scripted", source: "it was told to".into() })
            }
            _ => Ok(()),
        }
    }

    fn note(&self, key: &CredentialKey) {
        let mut accounts = self.accounts.lock().unwrap();
        if !accounts.contains(key) {
            accounts.push(key.clone());
        }
    }

    /// Everything in it.
    pub(super) async fn content(&self) -> BTreeMap<String, String> {
        let mut content = BTreeMap::new();
        let accounts = self.accounts.lock().unwrap().clone();
        for key in accounts {
            if let Some(value) = self.store.get(&key).await.unwrap() {
                content.insert(key.account(), value.expose_secret().to_owned());
            }
        }
        content
    }
}

#[async_trait]
impl CredentialStore for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.step().await?;
        self.store.get(key).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.step().await?;
        self.note(key);
        self.store.put(key, value).await?;
        // A process may die after it was written and before it knows.
        self.step().await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.step().await?;
        self.store.delete(key).await?;
        self.step().await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.step().await?;
        self.store.list(slug).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.step().await?;
        self.note(key);
        self.store.compare_and_swap(key, expected, new).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.store.exclusive(slug).await
    }
}

#[async_trait]
impl Keeper for Scripted {
    fn description(&self) -> String {
        "a script".to_owned()
    }

    async fn condition(&self) -> Condition {
        Condition { problem: self.problem.map(str::to_owned), ..Condition::default() }
    }

    async fn prove(&self) -> Condition {
        self.proofs.fetch_add(1, Ordering::SeqCst);
        self.condition().await
    }

    async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        self.step().await?;
        let content = self.content().await;
        Ok(content.keys().filter_map(|account| CredentialKey::from_account(account)).collect())
    }

    fn is_common(&self) -> bool {
        self.common
    }
}

/// Two places, and the processes of a state root that use them.
pub(super) struct Machine {
    pub(super) folder: TempDir,
    pub(super) keychain: Scripted,
    pub(super) vault: Scripted,
}

impl Machine {
    pub(super) fn new() -> Self {
        let place = |common| Scripted {
            store: Arc::default(),
            fate: Arc::default(),
            accounts: Arc::default(),
            common,
            problem: None,
            proofs: Arc::default(),
        };
        Self { folder: tempfile::tempdir().unwrap(), keychain: place(true), vault: place(false) }
    }

    pub(super) fn place(&self, place: SecretPlace) -> &Scripted {
        match place {
            SecretPlace::Keychain => &self.keychain,
            SecretPlace::Vault => &self.vault,
        }
    }

    /// A process, with this in store for it.
    pub(super) fn process(&self, fate: &Arc<Fate>) -> Arc<Places> {
        let (keychain, vault) = (self.keychain.with_fate(fate), self.vault.with_fate(fate));
        let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
            Ok(Arc::new(match place {
                SecretPlace::Keychain => keychain.clone(),
                SecretPlace::Vault => vault.clone(),
            }))
        };
        Arc::new(Places::new(self.folder.path(), make))
    }

    /// A process that starts where the secrets are, which is `otherwise` where they were never moved.
    pub(super) async fn started(&self, otherwise: SecretPlace) -> Arc<Places> {
        let process = self.process(&Arc::default());
        let marker = process.marker.read().unwrap().filter(|marker| marker.moves > 0);
        process.settle(
            marker.as_ref().map_or(otherwise, |marker| marker.kept_in),
            marker.as_ref().map_or(0, |marker| marker.moves),
        );
        process.finish_interrupted().await.unwrap();
        process
    }

    pub(super) async fn fill(&self, place: SecretPlace, secrets: &[(&str, &str)]) {
        for (account, value) in secrets {
            self.place(place).put(&key(account), &SecretString::from(*value)).await.unwrap();
        }
    }

    pub(super) async fn contents(&self) -> [BTreeMap<String, String>; 2] {
        [self.keychain.content().await, self.vault.content().await]
    }
}

pub(super) fn key(account: &str) -> CredentialKey {
    CredentialKey::from_account(account).unwrap()
}

pub(super) fn map(secrets: &[(&str, &str)]) -> BTreeMap<String, String> {
    secrets.iter().map(|(account, value)| ((*account).to_owned(), (*value).to_owned())).collect()
}

pub(super) async fn own() -> Result<BTreeSet<Slug>, StorageError> {
    Ok(["a", "b"].map(Slug::verbatim).into())
}

pub(super) const SECRETS: [(&str, &str); 3] =
    [("connector:a:tokens", "one"), ("connector:a:X-Key", "two"), ("connector:b:tokens", "three")];
