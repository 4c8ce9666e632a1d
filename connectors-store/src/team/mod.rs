//! `.car/connectors.toml`: connectors that a project proposes to everyone who works on it.
//!
//! The file is written by whoever can write to the repository, so nothing in it is believed: it is read, bounded, checked and
//! shown. It holds no secrets, and what looks like one is refused.

mod discovery;
mod entry;
mod expand;
mod hash;
mod parse;
mod rejections;
mod secret;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::proposal::{Mistake, Proposals};
use connectors_core::{Proposal, ProposalSource, StorageError};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::Semaphore;

use crate::paths::Paths;
use crate::regular;
use crate::watch::Watch;
use discovery::Candidate;
pub use parse::{Origin, parse};
use rejections::Rejections;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 10;

/// Most places that are watched: every one takes a handle of the system's.
const MAX_WATCHED: usize = 16;

/// The team file of one working directory, as a [`ProposalSource`]. What the user rejects is kept in the state root, in
/// `rejected_proposals.json`.
///
/// *Cancellation.* A change that has begun is completed though its future is dropped.
#[derive(Debug, Clone)]
pub struct TeamFile {
    folder: Arc<Path>,
    state_roots: Arc<[PathBuf]>,
    rejections: Rejections,
    /// One look at a time: those that a file server keeps waiting are not to take every thread there is.
    reading: Arc<Semaphore>,
}

impl TeamFile {
    /// The team file that is nearest to `folder`. Nothing is read yet.
    pub fn new(folder: impl Into<PathBuf>, paths: &Paths) -> Self {
        let folder: PathBuf = folder.into();
        // Whatever `CAR_HOME` says, the folder in the user's home is nobody's project.
        let usual = std::env::home_dir().map(|home| home.join(".car"));
        Self {
            folder: folder.into(),
            state_roots: std::iter::once(paths.state_root.clone()).chain(usual).collect(),
            rejections: Rejections::new(paths.rejected_proposals()),
            reading: Arc::new(Semaphore::new(1)),
        }
    }

    fn read_now(&self) -> Proposals {
        let found = match discovery::find(&self.folder, &self.state_roots) {
            Ok(found) => found,
            Err(error) => {
                return mistaken(
                    &self.folder,
                    format!("no team file is looked for from this folder: {error}"),
                );
            }
        };
        let Some(Candidate { path, project, target }) = found.file else { return Proposals::default() };
        let read = target.and_then(|target| read_bounded(&target).map_err(|error| error.to_string()));
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(problem) => return mistaken(&path, format!("the file is not read: {problem}")),
        };
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let (line, column) = expand::position(&before, &(before.len()..before.len()));
                let mut proposals =
                    mistaken(&path, "the file is not UTF-8; nothing of it is proposed".to_owned());
                proposals.mistakes.iter_mut().for_each(|mistake| {
                    (mistake.line, mistake.column) = (Some(line), Some(column));
                });
                return proposals;
            }
        };
        let variables = |name: &str| std::env::var(name).ok();
        let file = path.display().to_string();
        // A byte order mark is no part of the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        parse(text, &Origin { file: &file, project: &project, variables: &variables })
    }

    /// Begins to watch where a nearest file may come to be, and what is rejected.
    fn watches(&self) -> Vec<Watch> {
        let places =
            discovery::find(&self.folder, &self.state_roots).map(|found| found.places).unwrap_or_default();
        let files = places.into_iter().take(MAX_WATCHED).chain([self.rejections.path().to_owned()]);
        files.map(Watch::new).collect()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, StorageError> {
        let own = self.clone();
        let file = self.rejections.path().display().to_string();
        tokio::task::spawn_blocking(move || work(&own)).await.map_err(|_| StorageError::Io {
            action: "read",
            file,
            source: io::Error::other("the process is shutting down"),
        })
    }
}

#[async_trait]
impl ProposalSource for TeamFile {
    async fn read(&self) -> Proposals {
        // The reading holds the permit, not its caller, who may have gone.
        let permit = Arc::clone(&self.reading).acquire_owned().await;
        let read = move |own: &Self| {
            let _permit = permit;
            own.read_now()
        };
        match self.blocking(read).await {
            Ok(proposals) => proposals,
            Err(error) => mistaken(&self.folder, error.to_string()),
        }
    }

    /// Nothing is looked at before the first item is asked for. That one comes once the watching has begun, whether or not anything
    /// is different: what has changed until then is not missed.
    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let own = self.clone();
        let begin = async move {
            let permit = Arc::clone(&own.reading).acquire_owned().await;
            let watches = move |own: &Self| {
                let _permit = permit;
                own.watches()
            };
            // Without an answer the process is shutting down.
            own.blocking(watches).await.unwrap_or_default()
        };
        let changes = |watches: Vec<Watch>| {
            let begun = stream::iter((!watches.is_empty()).then_some(()));
            begun.chain(stream::select_all(watches.into_iter().map(|watch| changes_of(watch).boxed())))
        };
        Some(stream::once(begin).map(changes).flatten().boxed())
    }

    async fn rejected(&self) -> Result<HashSet<String>, StorageError> {
        self.blocking(|own| own.rejections.hashes()).await?
    }

    async fn remember(&self, proposal: &Proposal, rejected: bool) -> Result<(), StorageError> {
        let proposal = proposal.clone();
        self.blocking(move |own| own.rejections.remember(&proposal, rejected)).await?
    }
}

fn changes_of(watch: Watch) -> impl Stream<Item = ()> + Send {
    stream::unfold(watch, |mut watch| async {
        watch.changed().await;
        Some(((), watch))
    })
}

/// The bytes of a file that is one, and not too large.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::other(format!("it is over the limit of {} KiB", MAX_BYTES >> 10));
    regular::read(path, MAX_BYTES)?.ok_or_else(too_large)
}

/// Nothing is proposed, for this reason.
fn mistaken(file: &Path, problem: String) -> Proposals {
    let mistake = Mistake { file: file.display().to_string(), line: None, column: None, problem };
    Proposals { entries: Vec::new(), mistakes: vec![mistake] }
}

#[cfg(test)]
mod tests;
