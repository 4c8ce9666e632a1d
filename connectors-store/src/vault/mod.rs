//! `connectors.vault`: secrets in an encrypted file, for machines without a keychain.
//!
//! The file is one line of JSON, which says how it is encrypted and is authenticated with the rest, and then all
//! secrets, encrypted as one with XChaCha20-Poly1305. The key is in a file outside the state root (mode 0600), or
//! derived from a passphrase with argon2id.

mod file;
mod flaw;
mod key;
mod key_file;
mod passphrase;
mod records;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, Slug};
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::atomic;
use crate::exclusive::Holders;
use crate::lock::{FileLock, PATIENCE};
use crate::paths::Paths;
use crate::regular;
use crate::secrets::keeper::is_same;
use file::{Opened, Sealed};
use flaw::Flaw;
use key::{Cost, KeyRing};
pub use passphrase::UnlockError;
use records::Records;

/// Largest file that is read: far more than anyone's secrets.
const MAX_BYTES: u64 = 256 << 20;

/// What errors call this store.
const STORE: &str = "vault";

/// A [`CredentialStore`] on an encrypted file.
///
/// Every call reads the file anew, and every change replaces it under a lock between processes, as the manifest's are.
/// Only the key stays in memory. A vault that cannot be decrypted, be it for a wrong key, for being cut short or for
/// having been tampered with, is reported as such and never written to.
///
/// [`exclusive`](CredentialStore::exclusive) has lock files of its own, in the state root, and does not touch the vault. It
/// needs a runtime with timers.
///
/// *Cancellation.* A change that has begun is completed though its future is dropped; a holder that is dropped while it
/// waits is forgotten.
#[derive(Debug, Clone)]
pub struct VaultStore {
    file: Arc<VaultFile>,
    /// One writer of this process at a time, so that waiting for another process takes up one thread, not many.
    writer: Arc<Mutex<()>>,
    holders: Arc<Holders>,
}

impl VaultStore {
    /// A store on the vault of this state root. Nothing is read or created yet.
    pub fn new(paths: &Paths) -> Self {
        Self::with_cost(paths, Cost::default())
    }

    fn with_cost(paths: &Paths, cost: Cost) -> Self {
        let keys = KeyRing::new(paths, cost);
        let file = VaultFile { path: paths.vault(), keys, sweep: atomic::Sweep::default() };
        let holders = Holders::new(STORE, &paths.state_root);
        Self { file: Arc::new(file), writer: Arc::default(), holders: Arc::new(holders) }
    }

    /// The vault's file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// True if there is a vault, readable or not.
    pub fn exists(&self) -> bool {
        fs::symlink_metadata(&self.file.path).is_ok()
    }

    /// True if there is a vault with secrets in it, or one that cannot be read. No key is needed, and none derived.
    pub(crate) fn holds_secrets(&self) -> bool {
        match self.file.sealed(&self.file.path) {
            Ok(sealed) => sealed.is_some_and(|sealed| !sealed.is_empty()),
            Err(_) => true,
        }
    }

    /// True if a passphrase was given that has no effect: the vault, as it was last read, has a key file.
    pub fn ignores_passphrase(&self) -> bool {
        self.file.keys.ignores_passphrase()
    }

    /// The keys of every connector.
    pub(crate) async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        self.read(|records| {
            records.keys().filter_map(|account| CredentialKey::from_account(account)).collect()
        })
        .await
    }

    /// Creates the vault, and its key file where one is used, if there is none; otherwise checks that it can be
    /// decrypted.
    pub async fn open(&self) -> Result<(), CredentialError> {
        self.change(|_, existed| (!existed, ())).await
    }

    async fn read<T, F>(&self, read: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(Records) -> T + Send + 'static,
    {
        self.blocking(move |file| {
            let opened = file.read(&file.path)?;
            Ok(read(opened.map(|opened| opened.records).unwrap_or_default()))
        })
        .await
    }

    /// Lets `change` work on the secrets, told whether the vault exists, and writes them if it says so.
    async fn change<T, F>(&self, change: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Records, bool) -> (bool, T) + Send + 'static,
    {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        self.blocking(move |file| {
            let _writer = writer;
            file.change(change)
        })
        .await
    }

    async fn blocking<T, F>(&self, work: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(&VaultFile) -> Result<T, Flaw> + Send + 'static,
    {
        self.flawed(work).await.map_err(|flaw| flaw.into_error(&self.file.path))
    }

    async fn flawed<T, F>(&self, work: F) -> Result<T, Flaw>
    where
        T: Send + 'static,
        F: FnOnce(&VaultFile) -> Result<T, Flaw> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        let interrupted = |_| Flaw::Key("the process is shutting down".to_owned());
        tokio::task::spawn_blocking(move || work(&file)).await.map_err(interrupted).flatten()
    }
}

#[async_trait]
impl CredentialStore for VaultStore {
    fn kind(&self) -> &'static str {
        STORE
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        let account = key.account();
        self.read(move |mut records| records.remove(&account)).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        let (account, value) = (key.account(), value.clone());
        self.change(move |records, _| {
            let write = !is_same(records.get(&account), Some(&value));
            if write {
                records.insert(account, value);
            }
            (write, ())
        })
        .await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        let account = key.account();
        self.change(move |records, _| (records.remove(&account).is_some(), ())).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        let slug = slug.clone();
        self.read(move |records| {
            let keys = records.keys().filter_map(|account| CredentialKey::from_account(account));
            keys.filter(|key| *key.slug() == slug).collect()
        })
        .await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        let (account, expected, new) = (key.account(), expected.cloned(), new.clone());
        self.change(move |records, _| {
            let swap = is_same(records.get(&account), expected.as_ref());
            if swap {
                records.insert(account, new);
            }
            (swap, swap)
        })
        .await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.holders.hold(slug).await
    }
}

/// The file, with blocking operations.
#[derive(Debug)]
struct VaultFile {
    path: PathBuf,
    keys: KeyRing,
    sweep: atomic::Sweep,
}

impl VaultFile {
    /// The vault, decrypted; `None` if there is none.
    fn read(&self, path: &Path) -> Result<Option<Opened>, Flaw> {
        if let Ok(target) = atomic::resolve(path) {
            self.sweep.before_reading(&target, &atomic::beside(&target, ".lock"));
        }
        let mut present = self.sealed(path)?;
        while let Some(sealed) = present {
            let flaw = match sealed.open(&self.keys) {
                Ok(opened) => return Ok(Some(opened)),
                Err(flaw) => flaw,
            };
            // The key may be another one since the file was read: then the file is, too.
            present = self.sealed(path)?;
            if present.as_ref() == Some(&sealed) {
                return Err(flaw);
            }
        }
        Ok(None)
    }

    /// The vault as it is; `None` if there is none.
    fn sealed(&self, path: &Path) -> Result<Option<Sealed>, Flaw> {
        match regular::read(path, MAX_BYTES) {
            Ok(Some(bytes)) => Sealed::parse(bytes).map(Some),
            Ok(None) => Err(Flaw::Foreign),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Flaw::Io { action: "read", source: error }),
        }
    }

    /// The file to write, links followed, and its lock.
    fn lock(&self) -> Result<(PathBuf, FileLock), Flaw> {
        let io = |action| move |source| Flaw::Io { action, source };
        let target = atomic::resolve(&self.path).map_err(io("write"))?;
        atomic::create_folder_of(&target).map_err(io("write"))?;
        let lock = FileLock::acquire(&atomic::beside(&target, ".lock"), PATIENCE).map_err(io("lock"))?;
        self.sweep.under_lock(&target);
        Ok((target, lock))
    }

    fn change<T, F>(&self, change: F) -> Result<T, Flaw>
    where
        F: FnOnce(&mut Records, bool) -> (bool, T),
    {
        let (target, _lock) = self.lock()?;
        let (mut records, opened_with) = match self.read(&target)? {
            Some(Opened { records, source, key }) => (records, Some((source, key))),
            None => (Records::new(), None),
        };
        let (write, result) = change(&mut records, opened_with.is_some());
        if write {
            // With the key that it was opened with, whatever readers have met since.
            let (source, key) = match opened_with {
                Some(opened_with) => opened_with,
                None => self.keys.for_new()?,
            };
            // The previous version is not kept: it may hold what has just been deleted.
            let sealed = file::seal(&records, source, &key)?;
            atomic::replace(&target, &sealed, false)
                .map_err(|source| Flaw::Io { action: "write", source })?;
        }
        Ok(result)
    }

    /// Deletes a vault that has no secret in it.
    fn remove_empty(&self) -> Result<(), Flaw> {
        let (target, _lock) = self.lock()?;
        match self.sealed(&target)? {
            Some(sealed) if sealed.is_empty() => {
                fs::remove_file(&target).map_err(|source| Flaw::Io { action: "remove", source })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
