//! The OS keychain: Secret Service, Windows Credential Manager, macOS Keychain.
//!
//! Entries have the service `car` and the account of their [`CredentialKey`], as those of car-secrets 0.60 have: each
//! finds what the other has written, values in chunks included.

mod backend;
#[cfg(any(windows, target_os = "macos", all(test, target_os = "linux")))]
mod chunks;
mod keeper;
#[cfg(any(windows, target_os = "macos", all(test, target_os = "linux")))]
mod native;
mod probe;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, Slug};
use secrecy::SecretString;

use crate::atomic;
use crate::exclusive::Holders;
use crate::lock::{FileLock, PATIENCE};
use crate::secrets::keeper::is_same;
use backend::{Backend, Deadline};
pub use probe::KeychainState;
use worker::Worker;

/// What errors call this store.
const STORE: &str = "keychain";

/// The service of every entry, which all parts of CAR share.
const SERVICE: &str = "car";

/// How long a call may take, a prompt for the user included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Lock files that the connectors are spread over.
const LOCKS: u8 = 16;

/// A [`CredentialStore`] on the keychain of the user who runs the process.
///
/// *Latency.* A call fails with [`CredentialError::TimedOut`] after 10 seconds, and occupies one of four threads of
/// the store's own at most until then; a keychain that hangs holds up nothing else. Where the keychain is locked, the
/// user is asked to unlock it, by one prompt at a time, which stays open when the call gives up.
///
/// *Concurrency.* Writers exclude each other, per connector, by lock files in the state root, which makes
/// [`compare_and_swap`](CredentialStore::compare_and_swap) atomic among processes of one state root. Programs that
/// write the same entries without that lock, car-secrets among them, may still come in between. The same holds for
/// [`exclusive`](CredentialStore::exclusive), which has lock files of its own, asks nothing of the keychain, and needs a
/// runtime with timers.
///
/// *Cancellation.* A call that has begun is completed though its future is dropped; one that waits for a thread is not.
pub struct KeychainStore {
    backend: Arc<dyn Backend>,
    worker: Worker,
    locks: PathBuf,
    holders: Holders,
    timeout: Duration,
}

impl KeychainStore {
    /// The user's keychain, with lock files in `state_root`. Nothing is asked of the keychain yet.
    ///
    /// Fails only if the process can start no thread.
    pub fn new(state_root: &Path) -> Result<Self, CredentialError> {
        Self::with_service(state_root, SERVICE)
    }

    /// As [`new`](Self::new), with entries of another service than `car`: for tests, which must not touch a user's own.
    pub fn with_service(state_root: &Path, service: &str) -> Result<Self, CredentialError> {
        let worker = Worker::start()?;
        let backend = platform_backend(service, &worker)?;
        Ok(Self::on(backend, worker, state_root))
    }

    fn on(backend: Arc<dyn Backend>, worker: Worker, state_root: &Path) -> Self {
        let holders = Holders::new(STORE, state_root);
        Self { backend, worker, locks: state_root.to_owned(), holders, timeout: TIMEOUT }
    }

    /// Gives every call `timeout` instead of 10 seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Finds out whether the keychain can be relied on, by writing an entry, reading it back and deleting it. Asks the
    /// user nothing: a locked keychain is reported as such. Takes no longer than `limit`.
    pub async fn probe(&self, limit: Duration) -> KeychainState {
        let backend = Arc::clone(&self.backend);
        self.state(limit, move |deadline| probe::probe(&*backend, deadline)).await
    }

    async fn state(
        &self,
        limit: Duration,
        find_out: impl FnOnce(Deadline) -> KeychainState + Send + 'static,
    ) -> KeychainState {
        match self.worker.run(limit, move |deadline| Ok(find_out(deadline))).await {
            Ok(state) => state,
            Err(CredentialError::TimedOut { .. }) => KeychainState::Unresponsive,
            Err(error) => KeychainState::Failing { reason: error.to_string() },
        }
    }

    /// The accounts that have a value and begin so, each once.
    async fn accounts(&self, prefix: String) -> Result<Vec<String>, CredentialError> {
        self.read(move |backend, deadline| {
            let mut accounts = backend.accounts(deadline)?;
            accounts.retain(|account| account.starts_with(&prefix));
            accounts.sort();
            accounts.dedup();
            Ok(accounts)
        })
        .await
    }

    async fn read<T, F>(&self, read: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Backend, Deadline) -> Result<T, CredentialError> + Send + 'static,
    {
        let backend = Arc::clone(&self.backend);
        self.worker.run(self.timeout, move |deadline| read(&*backend, deadline)).await
    }

    /// As [`read`](Self::read), with the lock of this connector.
    async fn change<T, F>(&self, slug: &Slug, change: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Backend, Deadline) -> Result<T, CredentialError> + Send + 'static,
    {
        let lock = self.lock_file(slug);
        self.read(move |backend, deadline| {
            backend.prepare_write(deadline)?;
            let failed = |source| {
                let file = lock.display().to_string();
                CredentialError::Storage { store: STORE, action: "lock", file, source }
            };
            atomic::create_folder_of(&lock).map_err(failed)?;
            let patience = deadline.remaining().min(PATIENCE);
            let _lock = FileLock::acquire(&lock, patience).map_err(failed)?;
            change(backend, deadline)
        })
        .await
    }

    /// Connectors share a few files, since one of each would stay behind when its connector is gone.
    fn lock_file(&self, slug: &Slug) -> PathBuf {
        let hash = slug.as_str().bytes().fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte));
        self.locks.join(format!(".connectors-secrets-{:x}.lock", hash % LOCKS))
    }
}

impl fmt::Debug for KeychainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeychainStore").field("backend", &self.backend.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialStore for KeychainStore {
    fn kind(&self) -> &'static str {
        STORE
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        let account = key.account();
        self.read(move |backend, deadline| backend.read(&account, deadline)).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        let (account, value) = (key.account(), value.clone());
        self.change(key.slug(), move |backend, deadline| backend.write(&account, &value, deadline)).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        let account = key.account();
        self.change(key.slug(), move |backend, deadline| backend.delete(&account, deadline)).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        Ok(parsed(&self.accounts(format!("{}{slug}:", CredentialKey::ACCOUNT_PREFIX)).await?))
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        let (account, expected, new) = (key.account(), expected.cloned(), new.clone());
        self.change(key.slug(), move |backend, deadline| {
            let present = backend.read(&account, deadline)?;
            let swap = is_same(present.as_ref(), expected.as_ref());
            if swap {
                backend.write(&account, &new, deadline)?;
            }
            Ok(swap)
        })
        .await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.holders.hold(slug).await
    }
}

fn parsed(accounts: &[String]) -> Vec<CredentialKey> {
    accounts.iter().filter_map(|account| CredentialKey::from_account(account)).collect()
}

#[cfg(all(unix, not(target_os = "macos")))]
fn platform_backend(service: &str, worker: &Worker) -> Result<Arc<dyn Backend>, CredentialError> {
    Ok(Arc::new(secret_service::SecretServiceBackend::new(service, worker.handle())))
}

#[cfg(any(windows, target_os = "macos"))]
fn platform_backend(service: &str, _: &Worker) -> Result<Arc<dyn Backend>, CredentialError> {
    native::platform_backend(service)
}

#[cfg(not(any(unix, windows)))]
fn platform_backend(_: &str, _: &Worker) -> Result<Arc<dyn Backend>, CredentialError> {
    Err(CredentialError::Unavailable {
        store: STORE,
        reason: "there is none for this operating system".to_owned(),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
