//! The store that the rest of the program sees: whichever place the secrets are in now.
//!
//! Every call holds a lock that all processes on the state root share, and a move holds it alone: no call sees half a move,
//! and none writes to the old place after it was copied.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, Slug};
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::RwLock;

use super::STORE;
use super::keeper::{Keeper, SecretPlace};
use super::marker::{Marker, MarkerFile};
use crate::exclusive::Holders;
use crate::lock::{FileLock, waiting};

/// What the file says, or why that is not known.
type Read = Result<Option<Marker>, CredentialError>;

type Make = Box<dyn Fn(SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> + Send + Sync>;

/// Both places, and which one it is.
pub(super) struct Places {
    make: Make,
    keychain: OnceLock<Arc<dyn Keeper>>,
    vault: OnceLock<Arc<dyn Keeper>>,
    pub(super) marker: Arc<MarkerFile>,
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

/// What a call is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    /// What is written while a move goes on would be lost with the place that it is written to.
    Write,
}

/// True for what keeps other processes from the lock, too: not for this one's having too many open files, say.
fn is_for_all(error: &CredentialError) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let CredentialError::Storage { source, .. } = error else { return false };
    matches!(source.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
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
            marker: Arc::new(MarkerFile::new(state_root.join("secrets.json"), lock.clone())),
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

    /// Follows a move that was made since this was last asked, and says where secrets are then.
    fn follow(&self, marker: Option<&Marker>) -> SecretPlace {
        let mut present = self.present();
        if let Some(marker) = marker
            && marker.moves != present.moves
        {
            *present = Present { place: marker.kept_in, moves: marker.moves };
        }
        present.place
    }

    /// Follows a move without waiting for one that is under way: for those who only say where secrets are.
    pub(super) async fn look(&self) -> Result<SecretPlace, CredentialError> {
        let before = self.present().moves;
        let marker = self.read().await?;
        // What others have found out meanwhile is newer than what was read.
        let moved = self.present().moves != before;
        Ok(if moved { self.place() } else { self.follow(marker.as_ref()) })
    }

    /// Where secrets are now, kept from being moved away from for as long as the second of the results is there.
    pub(super) async fn enter(&self, purpose: Purpose) -> Result<(SecretPlace, Held), CredentialError> {
        let held = async {
            let gate = Gate::Shared(Arc::clone(&self.gate).read_owned().await);
            let (file, marker) = match self.lock(FileLock::try_acquire_shared).await {
                Ok((file, marker)) => (Some(file), marker),
                // Where nobody can make the lock's file nobody can move anything: reading is still possible.
                Err(error) if purpose == Purpose::Read && is_for_all(&error) => {
                    tracing::debug!(%error, "the lock of moves between places for secrets cannot be had");
                    (None, self.read().await)
                }
                Err(error) => return Err(error),
            };
            Ok((self.follow(marker?.as_ref()), Held { _file: file, _gate: gate }))
        };
        waiting::in_time(STORE, held).await
    }

    /// Where secrets are now, and what the file says of that, with everyone kept away for as long as the last of the results is
    /// there.
    pub(super) async fn enter_alone(&self) -> Result<(SecretPlace, Option<Marker>, Held), CredentialError> {
        let held = async {
            let gate = Gate::Alone(Arc::clone(&self.gate).write_owned().await);
            let (file, marker) = self.lock(FileLock::try_acquire).await?;
            let marker = marker?;
            Ok((self.follow(marker.as_ref()), marker, Held { _file: Some(file), _gate: gate }))
        };
        waiting::in_time(STORE, held).await
    }

    /// Takes the lock, and reads the file under it.
    async fn lock(
        &self,
        attempt: fn(&Path) -> io::Result<Option<FileLock>>,
    ) -> Result<(FileLock, Read), CredentialError> {
        let marker = Arc::clone(&self.marker);
        let attempt = move |path: &Path| Ok(attempt(path)?.map(|lock| (lock, marker.read_only())));
        waiting::wait(STORE, &self.lock, attempt).await
    }

    /// As [`read`](Self::read), and removes what writers of the file that died have left behind.
    pub(super) async fn read_first(&self) -> Read {
        let marker = Arc::clone(&self.marker);
        let read = tokio::task::spawn_blocking(move || marker.read()).await;
        read.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// Reads the file without the lock.
    async fn read(&self) -> Read {
        let marker = Arc::clone(&self.marker);
        let read = tokio::task::spawn_blocking(move || marker.read_only()).await;
        read.unwrap_or_else(|_| Err(shutting_down()))
    }
}

/// What a call fails with that the end of the process interrupts.
pub(super) fn shutting_down() -> CredentialError {
    CredentialError::Unavailable { store: STORE, reason: "the process is shutting down".to_owned() }
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
    async fn on_keeper<T, F>(&self, purpose: Purpose, call: F) -> Result<T, CredentialError>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Keeper>) -> BoxFuture<'static, Result<T, CredentialError>> + Send + 'static,
    {
        let places = Arc::clone(&self.0);
        let call = tokio::spawn(async move {
            let (place, _held) = places.enter(purpose).await?;
            call(places.keeper(place)?).await
        });
        call.await.unwrap_or_else(|_| Err(shutting_down()))
    }
}

#[async_trait]
impl CredentialStore for SwitchingStore {
    fn kind(&self) -> &'static str {
        self.0.place().as_str()
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        let key = key.clone();
        self.on_keeper(Purpose::Read, |keeper| Box::pin(async move { keeper.get(&key).await })).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        let (key, value) = (key.clone(), value.clone());
        self.on_keeper(Purpose::Write, |keeper| Box::pin(async move { keeper.put(&key, &value).await })).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        let key = key.clone();
        self.on_keeper(Purpose::Write, |keeper| Box::pin(async move { keeper.delete(&key).await })).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        let slug = slug.clone();
        self.on_keeper(Purpose::Read, |keeper| Box::pin(async move { keeper.list(&slug).await })).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        let (key, expected, new) = (key.clone(), expected.cloned(), new.clone());
        self.on_keeper(Purpose::Write, |keeper| {
            Box::pin(async move { keeper.compare_and_swap(&key, expected.as_ref(), &new).await })
        })
        .await
    }

    /// A move waits for no holder, and one goes on being the holder across a move.
    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.0.holders.hold(slug).await
    }
}
