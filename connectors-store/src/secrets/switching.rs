//! The store that the rest of the program sees: whichever place the secrets are in now.
//!
//! Every call holds a lock that all processes on the state root share, and a move holds it alone: no call sees half a move,
//! and none writes to the old place after it was copied.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, Slug};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::RwLock;

use super::STORE;
use super::keeper::{Keeper, SecretPlace};
use super::marker::{Marker, MarkerFile};
use crate::atomic;
use crate::exclusive::Holders;
use crate::lock::FileLock;

/// How long a call waits for a move, and a move for calls. A call to a keychain ends within ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a lock that another process has.
const PAUSE: Duration = Duration::from_millis(10);

type Make = Box<dyn Fn(SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> + Send + Sync>;

/// Both places, and which one it is.
pub(super) struct Places {
    make: Make,
    keychain: OnceLock<Arc<dyn Keeper>>,
    vault: OnceLock<Arc<dyn Keeper>>,
    pub(super) marker: MarkerFile,
    lock: PathBuf,
    /// On the same lock files as those of both places.
    holders: Holders,
    /// Calls of this process as readers, a move as the writer: calls that keep coming do not keep a move waiting.
    gate: Arc<RwLock<()>>,
    present: Mutex<Present>,
}

/// Where this process takes the secrets to be.
#[derive(Debug, Clone, Copy)]
struct Present {
    place: SecretPlace,
    /// The moves that this takes account of.
    moves: u64,
}

/// Holds off moves, or, as the mover, everyone.
pub(super) struct Held {
    _file: Option<FileLock>,
    _gate: Gate,
}

/// The hold within this process; only there to be dropped.
#[expect(dead_code, reason = "held, never read")]
enum Gate {
    Shared(tokio::sync::OwnedRwLockReadGuard<()>),
    Alone(tokio::sync::OwnedRwLockWriteGuard<()>),
}

impl Places {
    /// `make` opens a place when it is first needed.
    pub(super) fn new(
        state_root: &Path,
        make: impl Fn(SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> + Send + Sync + 'static,
    ) -> Self {
        let lock = state_root.join("locks").join("secrets.lock");
        Self {
            make: Box::new(make),
            keychain: OnceLock::new(),
            vault: OnceLock::new(),
            marker: MarkerFile::new(state_root.join("secrets.json"), lock.clone()),
            lock,
            holders: Holders::new(STORE, state_root),
            gate: Arc::default(),
            present: Mutex::new(Present { place: SecretPlace::Vault, moves: 0 }),
        }
    }

    /// From now on secrets are taken to be in `place`, until a move later than `moves` says otherwise.
    pub(super) fn settle(&self, place: SecretPlace, moves: u64) {
        *self.present() = Present { place, moves };
    }

    /// Where secrets were when that was last looked at.
    pub(super) fn place(&self) -> SecretPlace {
        self.present().place
    }

    fn present(&self) -> std::sync::MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store of a place.
    pub(super) fn keeper(&self, place: SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> {
        let slot = match place {
            SecretPlace::Keychain => &self.keychain,
            SecretPlace::Vault => &self.vault,
        };
        if let Some(keeper) = slot.get() {
            return Ok(Arc::clone(keeper));
        }
        let made = (self.make)(place)?;
        // Another thread may have been faster.
        Ok(Arc::clone(slot.get_or_init(|| made)))
    }

    /// Follows a move that was made since this was last asked. The caller holds the lock, shared or alone.
    pub(super) fn follow(&self) -> Result<(SecretPlace, Option<Marker>), CredentialError> {
        let marker = self.marker.read()?;
        let mut present = self.present();
        if let Some(marker) = &marker
            && marker.moves != present.moves
        {
            *present = Present { place: marker.kept_in, moves: marker.moves };
        }
        Ok((present.place, marker))
    }

    /// Keeps moves away for as long as the result is there.
    async fn hold_off_moves(&self) -> Result<Held, CredentialError> {
        let held = async {
            let gate = Gate::Shared(Arc::clone(&self.gate).read_owned().await);
            Ok(Held { _file: self.lock(FileLock::try_acquire_shared, false).await?, _gate: gate })
        };
        in_time(held).await
    }

    /// Keeps everyone away for as long as the result is there.
    pub(super) async fn hold_alone(&self) -> Result<Held, CredentialError> {
        let held = async {
            let gate = Gate::Alone(Arc::clone(&self.gate).write_owned().await);
            Ok(Held { _file: self.lock(FileLock::try_acquire, true).await?, _gate: gate })
        };
        in_time(held).await
    }

    async fn lock(
        &self,
        attempt: fn(&Path) -> io::Result<Option<FileLock>>,
        needed: bool,
    ) -> Result<Option<FileLock>, CredentialError> {
        loop {
            let path = self.lock.clone();
            let look = tokio::task::spawn_blocking(move || {
                atomic::create_folder_of(&path)?;
                attempt(&path)
            });
            match look.await.map_err(|_| io::Error::other("the process is shutting down")).flatten() {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) => tokio::time::sleep(PAUSE).await,
                // Where there can be no lock file there can be no move: reading is still possible.
                Err(error) if !needed => {
                    tracing::debug!(%error, "the lock of moves between places for secrets cannot be had");
                    return Ok(None);
                }
                Err(error) => {
                    let reason = format!("cannot lock {}: {error}", self.lock.display());
                    return Err(CredentialError::Unavailable { store: STORE, reason });
                }
            }
        }
    }

    /// Where secrets are now, kept from being moved away from.
    pub(super) async fn enter(&self) -> Result<(SecretPlace, Held), CredentialError> {
        let held = self.hold_off_moves().await?;
        let (place, _) = self.follow()?;
        Ok((place, held))
    }
}

async fn in_time(held: impl Future<Output = Result<Held, CredentialError>>) -> Result<Held, CredentialError> {
    match tokio::time::timeout(PATIENCE, held).await {
        Ok(held) => held,
        Err(_) => Err(CredentialError::TimedOut { store: STORE, limit: PATIENCE }),
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("present", &self.present()).finish_non_exhaustive()
    }
}

/// A [`CredentialStore`] on the place that the secrets are in.
///
/// *Cancellation.* A call that has begun is completed though its future is dropped, and holds off moves until then.
#[derive(Debug, Clone)]
pub(super) struct SwitchingStore(pub(super) Arc<Places>);

impl SwitchingStore {
    async fn on_keeper<T, F>(&self, call: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Keeper>) -> BoxFuture<'static, Result<T, CredentialError>> + Send + 'static,
    {
        let places = Arc::clone(&self.0);
        let call = tokio::spawn(async move {
            let (place, _held) = places.enter().await?;
            call(places.keeper(place)?).await
        });
        call.await.unwrap_or_else(|_| {
            let reason = "the process is shutting down".to_owned();
            Err(CredentialError::Unavailable { store: STORE, reason })
        })
    }
}

#[async_trait]
impl CredentialStore for SwitchingStore {
    fn kind(&self) -> &'static str {
        self.0.place().as_str()
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        let key = key.clone();
        self.on_keeper(|keeper| Box::pin(async move { keeper.get(&key).await })).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        let (key, value) = (key.clone(), value.clone());
        self.on_keeper(|keeper| Box::pin(async move { keeper.put(&key, &value).await })).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        let key = key.clone();
        self.on_keeper(|keeper| Box::pin(async move { keeper.delete(&key).await })).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        let slug = slug.clone();
        self.on_keeper(|keeper| Box::pin(async move { keeper.list(&slug).await })).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        let (key, expected, new) = (key.clone(), expected.cloned(), new.clone());
        self.on_keeper(|keeper| {
            Box::pin(async move { keeper.compare_and_swap(&key, expected.as_ref(), &new).await })
        })
        .await
    }

    /// A move waits for no holder, and one goes on being the holder across a move.
    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.0.holders.hold(slug).await
    }
}
