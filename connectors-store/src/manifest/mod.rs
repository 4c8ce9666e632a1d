//! `connectors.json`: definitions in the format of car-connectors 0.60.
//!
//! A JSON object `{"connectors": [...]}`. Fields that this version does not know are kept as they are written, at
//! every level, number for number; the file is laid out as `serde_json`'s pretty printer does it.

mod document;
#[cfg(test)]
mod keeping_tests;
mod merge;
mod pretty;
mod raw;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::{ConfigStore, ConnectorDefinition, Slug, StorageError};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Mutex;

use crate::atomic;
use crate::lock::{FileLock, PATIENCE};
use crate::regular;
use crate::watch::{Stamp, Watch};
use document::{Document, Flaw};

/// Largest file that is read: far more than anyone's connectors.
const MAX_BYTES: u64 = 256 << 20;

/// How often a change is made anew because the file was edited meanwhile.
const ATTEMPTS: u32 = 20;

/// What the wait between two such attempts grows by: whoever writes all the time has to be given the time to finish.
const PAUSE: Duration = Duration::from_millis(2);

/// A [`ConfigStore`] on one `connectors.json`.
///
/// Every change reads the file anew under a lock between processes (`connectors.json.lock`), changes one connector and
/// replaces the file, so processes that share a state root do not undo each other, and an edit by hand is kept. The
/// version before the last change stays beside it as `connectors.json.bak`, unless the change took a secret out of the file: then
/// none stays. What is written in two, with a connector [unfinished](ConnectorDefinition::unfinished) in between, is one change, and no
/// such version stays beside the file. A symbolic link is written through.
///
/// A missing file is an empty manifest. Any other that cannot be read as one, an empty file included, is refused with
/// [`StorageError::Unparsable`] and never written to: it holds somebody's connectors, or is on its way to. So is, with
/// [`StorageError::Newer`], one whose `version` is not 1 or whose `connectors` are no list: a later format. None is ever given a
/// `version` here.
///
/// [`changes`](ConfigStore::changes) watches the file, and its folder for its replacement; where the system does not tell of
/// changes, it is looked at every few seconds. It needs a runtime with timers.
///
/// *Cancellation.* A change that has begun is completed though its future is dropped.
#[derive(Debug, Clone)]
pub struct ManifestStore {
    file: Arc<ManifestFile>,
    /// One writer of this process at a time, so that waiting for another process takes up one thread, not many.
    writer: Arc<Mutex<()>>,
}

impl ManifestStore {
    /// A store on the file at `path`. Nothing is read or created yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let file = ManifestFile { path: path.into(), sweep: atomic::Sweep::default() };
        Self { file: Arc::new(file), writer: Arc::default() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    async fn change<T, F>(&self, change: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Fn(&mut Document<'_>) -> Result<T, StorageError> + Send + 'static,
    {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        self.blocking("write", move |file| {
            let _writer = writer;
            file.change(change)
        })
        .await
    }

    async fn blocking<T, F>(&self, action: &'static str, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&ManifestFile) -> Result<T, StorageError> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        match tokio::task::spawn_blocking(move || work(&file)).await {
            Ok(result) => result,
            Err(_) => Err(self.file.io(action, io::Error::other("the process is shutting down"))),
        }
    }
}

#[async_trait]
impl ConfigStore for ManifestStore {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.blocking("read", ManifestFile::load).await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        let definition = definition.clone();
        self.change(move |document| {
            if document.insert(&definition) {
                Ok(())
            } else {
                Err(StorageError::SlugTaken(definition.slug.clone()))
            }
        })
        .await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        let definition = definition.clone();
        self.change(move |document| {
            document.replace(&definition);
            Ok(())
        })
        .await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        let (expected, new) = (expected.clone(), new.clone());
        self.change(move |document| Ok(document.compare_and_swap(&expected, &new))).await
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let watch = Watch::new(self.file.path.clone());
        let changes = stream::unfold(watch, async |mut watch| {
            watch.changed().await;
            Some(((), watch))
        });
        Some(changes.boxed())
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        let slug = slug.clone();
        self.change(move |document| {
            document.remove(&slug);
            Ok(())
        })
        .await
    }
}

/// The file, with blocking operations.
#[derive(Debug)]
struct ManifestFile {
    path: PathBuf,
    sweep: atomic::Sweep,
}

impl ManifestFile {
    fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        if let Ok(target) = atomic::resolve(&self.path) {
            self.sweep.before_reading(&target, &lock_file(&target));
        }
        let bytes = self.read(&self.path)?;
        Ok(self.parse(&bytes)?.into_definitions())
    }

    fn change<T, F>(&self, change: F) -> Result<T, StorageError>
    where
        F: Fn(&mut Document<'_>) -> Result<T, StorageError>,
    {
        let target = atomic::resolve(&self.path).map_err(|error| self.io("write", error))?;
        atomic::create_folder_of(&target).map_err(|error| self.io("write", error))?;
        let _lock =
            FileLock::acquire(&lock_file(&target), PATIENCE).map_err(|error| self.io("lock", error))?;
        self.sweep.under_lock(&target);
        for attempt in 0..ATTEMPTS {
            std::thread::sleep(PAUSE * attempt);
            let read = Stamp::of_content(&target);
            let bytes = self.read(&target)?;
            let mut document = self.parse(&bytes)?;
            let outcome = change(&mut document)?;
            if !document.is_changed() {
                return Ok(outcome);
            }
            // Editors know of no lock.
            let is_current = || Stamp::of_content(&target) == read;
            let keep_previous = !document.hides_secrets() && !document.continues();
            if document.hides_secrets() {
                // First, so that a crash in between leaves no secret in it either.
                atomic::remove_previous(&target).map_err(|error| self.io("write", error))?;
            }
            let replaced =
                atomic::replace_if(&target, document.to_text().as_bytes(), keep_previous, is_current);
            if replaced.map_err(|error| self.io("write", error))? {
                return Ok(outcome);
            }
        }
        Err(self.io(
            "write",
            io::Error::new(io::ErrorKind::ResourceBusy, "somebody else writes to it all the time"),
        ))
    }

    /// The file's bytes; `None` if there is no file.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        match regular::read(path, MAX_BYTES) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                let problem = format!("it is larger than {} MiB", MAX_BYTES >> 20);
                Err(self.io("read", io::Error::new(io::ErrorKind::FileTooLarge, problem)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("read", error)),
        }
    }

    fn parse<'a>(&self, bytes: &'a Option<Vec<u8>>) -> Result<Document<'a>, StorageError> {
        let Some(bytes) = bytes else { return Ok(Document::default()) };
        Document::parse(bytes).map_err(|Flaw { line, column, problem, is_newer }| {
            let file = self.path.display().to_string();
            match is_newer {
                true => StorageError::Newer { file, line, column, problem },
                false => StorageError::Unparsable { file, line, column, problem },
            }
        })
    }

    fn io(&self, action: &'static str, source: io::Error) -> StorageError {
        StorageError::Io { action, file: self.path.display().to_string(), source }
    }
}

fn lock_file(target: &Path) -> PathBuf {
    atomic::beside(target, ".lock")
}
