//! `connectors.json`: definitions in the format of car-connectors 0.60.
//!
//! A JSON object `{"connectors": [...]}`. Fields that this version does not know are kept as they are written, at
//! every level, number for number; the file is laid out as `serde_json`'s pretty printer does it.

mod document;
mod merge;
mod pretty;
mod raw;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use connectors_core::{ConfigStore, ConnectorDefinition, Slug, StorageError};
use tokio::sync::Mutex;

use crate::atomic;
use crate::lock::{FileLock, PATIENCE};
use document::{Document, Flaw};

/// A [`ConfigStore`] on one `connectors.json`.
///
/// Every change reads the file anew under a lock between processes (`connectors.json.lock`), changes one connector and
/// replaces the file, so processes that share a state root do not undo each other, and an edit by hand is kept. The
/// version before the last change stays beside it as `connectors.json.bak`. A symbolic link is written through.
///
/// A missing file is an empty manifest. Any other that cannot be read as one, an empty file included, is refused with
/// [`StorageError::Unparsable`] and never written to: it holds somebody's connectors, or is on its way to.
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
        let file = ManifestFile { path: path.into(), swept: AtomicBool::new(false) };
        Self { file: Arc::new(file), writer: Arc::default() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    async fn change<F>(&self, change: F) -> Result<(), StorageError>
    where
        F: FnOnce(&mut Document<'_>) -> Result<(), StorageError> + Send + 'static,
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
            if document.insert(&definition) { Ok(()) } else { Err(StorageError::SlugTaken(definition.slug)) }
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
    /// True once the leftovers of killed processes have been looked for.
    swept: AtomicBool,
}

impl ManifestFile {
    fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.sweep_if_idle();
        let bytes = self.read(&self.path)?;
        Ok(self.parse(&bytes)?.into_definitions())
    }

    fn change<F>(&self, change: F) -> Result<(), StorageError>
    where
        F: FnOnce(&mut Document<'_>) -> Result<(), StorageError>,
    {
        let target = atomic::resolve(&self.path).map_err(|error| self.io("write", error))?;
        atomic::create_folder_of(&target).map_err(|error| self.io("write", error))?;
        let _lock =
            FileLock::acquire(&lock_file(&target), PATIENCE).map_err(|error| self.io("lock", error))?;
        self.sweep(&target);
        let bytes = self.read(&target)?;
        let mut document = self.parse(&bytes)?;
        change(&mut document)?;
        if !document.is_changed() {
            return Ok(());
        }
        atomic::replace(&target, document.to_text().as_bytes(), true).map_err(|error| self.io("write", error))
    }

    /// The file's bytes; `None` if there is no file.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("read", error)),
        }
    }

    fn parse<'a>(&self, bytes: &'a Option<Vec<u8>>) -> Result<Document<'a>, StorageError> {
        let Some(bytes) = bytes else { return Ok(Document::default()) };
        Document::parse(bytes).map_err(|Flaw { line, column, problem }| StorageError::Unparsable {
            file: self.path.display().to_string(),
            line,
            column,
            problem,
        })
    }

    /// The first reader of a process cleans up too, unless somebody is writing or there is nothing to clean.
    fn sweep_if_idle(&self) {
        if self.swept.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(target) = atomic::resolve(&self.path)
            && target.exists()
            && let Ok(Some(_lock)) = FileLock::try_acquire(&lock_file(&target))
        {
            self.sweep(&target);
        }
    }

    fn sweep(&self, target: &Path) {
        if !self.swept.swap(true, Ordering::Relaxed)
            && let Err(error) = atomic::remove_leftovers(target)
        {
            tracing::debug!(%error, file = %target.display(), "leftover temporary files could not be removed");
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> StorageError {
        StorageError::Io { action, file: self.path.display().to_string(), source }
    }
}

fn lock_file(target: &Path) -> PathBuf {
    atomic::beside(target, ".lock")
}
