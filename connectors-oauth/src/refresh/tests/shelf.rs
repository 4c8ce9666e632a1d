//! A store that can be told to fail, and a point at which a process stands still until it is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, MemoryCredentialStore, Slug};
use secrecy::SecretString;
use tokio::sync::Notify;

/// Counts the steps of a process, and holds it at one of them.
#[derive(Clone)]
pub(super) struct Halt {
    at: usize,
    count: Arc<AtomicUsize>,
    place: Arc<Mutex<Option<&'static str>>>,
    reached: Arc<Notify>,
}

impl Halt {
    pub(super) fn never() -> Self {
        Self::at(usize::MAX)
    }

    pub(super) fn at(at: usize) -> Self {
        Self { at, count: Arc::default(), place: Arc::default(), reached: Arc::default() }
    }

    pub(super) async fn step(&self, place: &'static str) {
        if self.count.fetch_add(1, Ordering::SeqCst) == self.at {
            *self.place.lock().unwrap() = Some(place);
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the process stands still, and says where.
    pub(super) async fn reached(&self) -> &'static str {
        self.reached.notified().await;
        self.place.lock().unwrap().unwrap()
    }
}

/// The store.
pub(super) struct Shelf {
    pub(super) inside: Arc<MemoryCredentialStore>,
    pub(super) is_locked_for_reading: AtomicBool,
    pub(super) is_locked_for_writing: AtomicBool,
    pub(super) has_no_lock: AtomicBool,
    pub(super) reads: AtomicUsize,
    halt: Halt,
}

impl Shelf {
    pub(super) fn new() -> Arc<Self> {
        Self::of(Arc::default(), Halt::never())
    }

    pub(super) fn of(inside: Arc<MemoryCredentialStore>, halt: Halt) -> Arc<Self> {
        Arc::new(Self {
            inside,
            is_locked_for_reading: AtomicBool::new(false),
            is_locked_for_writing: AtomicBool::new(false),
            has_no_lock: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            halt,
        })
    }

    /// Locks or unlocks the store as a user does.
    pub(super) fn lock(&self, is_locked: bool) {
        self.is_locked_for_reading.store(is_locked, Ordering::SeqCst);
        self.is_locked_for_writing.store(is_locked, Ordering::SeqCst);
    }

    fn check(&self, is_locked: &AtomicBool) -> Result<(), CredentialError> {
        if is_locked.load(Ordering::SeqCst) {
            Err(CredentialError::Locked { store: "shelf" })
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl CredentialStore for Shelf {
    fn kind(&self) -> &'static str {
        "shelf"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.halt.step("before a read").await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.check(&self.is_locked_for_reading)?;
        let value = self.inside.get(key).await;
        self.halt.step("after a read").await;
        value
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.check(&self.is_locked_for_writing)?;
        self.inside.put(key, value).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.check(&self.is_locked_for_writing)?;
        self.inside.delete(key).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.inside.list(slug).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.halt.step("before the write").await;
        self.check(&self.is_locked_for_writing)?;
        let outcome = self.inside.compare_and_swap(key, expected, new).await;
        self.halt.step("after the write").await;
        outcome
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        if self.has_no_lock.load(Ordering::SeqCst) {
            return Ok(Exclusive::new(()));
        }
        self.halt.step("before the lock").await;
        let exclusive = self.inside.exclusive(slug).await;
        self.halt.step("after the lock").await;
        exclusive
    }
}
