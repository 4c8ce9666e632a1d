//! Noticing that somebody else has written a file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::atomic;

/// How often the file is looked at without having been told of anything: some file systems tell nothing.
const POLL: Duration = Duration::from_secs(5);

/// Nothing may have happened for so long before the file is looked at: an editor takes several steps to write one.
const QUIET: Duration = Duration::from_millis(60);

/// The file is looked at after so long though things go on happening.
const LATEST: Duration = Duration::from_millis(600);

/// How long a file has to be gone before that counts: some editors remove a file before they write it anew.
const GONE: Duration = Duration::from_secs(1);

/// Tells when a file may say something else. Dropping it ends the watching.
///
/// The folder is watched, since a file that is replaced is another file; where it does not exist yet, the next one above it
/// that does. Links are followed. Needs a runtime with timers.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    seen: Option<Stamp>,
    signals: mpsc::Receiver<()>,
    folders: Folders,
}

impl Watch {
    /// Changes from now on count.
    pub(crate) fn new(path: PathBuf) -> Self {
        let (sender, signals) = mpsc::channel(1);
        let seen = Stamp::of(&path);
        let mut folders = Folders { watcher: watcher(sender), watched: HashMap::new() };
        folders.follow(&path);
        Self { path, seen, signals, folders }
    }

    /// Returns when the file is another, or is there, or is gone, since the last time.
    ///
    /// *Cancellation.* A change is not lost when the future is dropped; whoever is told of it may be told later.
    pub(crate) async fn changed(&mut self) {
        loop {
            // Told or not: it is looked at. Without a watcher there is nobody to tell.
            if let Ok(None) = timeout(POLL, self.signals.recv()).await {
                tokio::time::sleep(POLL).await;
            }
            self.quiet().await;
            let mut now = self.look().await;
            if now.is_none() && self.seen.is_some() {
                tokio::time::sleep(GONE).await;
                now = self.look().await;
            }
            if now != self.seen {
                self.seen = now;
                return;
            }
        }
    }

    /// Waits until nothing has happened for a while.
    async fn quiet(&mut self) {
        let latest = Instant::now() + LATEST;
        while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + QUIET), self.signals.recv()).await {}
    }

    /// Looks at the file, and watches the folders where it is now.
    async fn look(&mut self) -> Option<Stamp> {
        let (path, mut folders) = (self.path.clone(), std::mem::take(&mut self.folders));
        // A network file system may let one wait.
        let looked = tokio::task::spawn_blocking(move || {
            folders.follow(&path);
            (Stamp::of(&path), folders)
        });
        match looked.await {
            Ok((stamp, folders)) => {
                self.folders = folders;
                stamp
            }
            // The process is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}

fn watcher(sender: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading is no change, and would be a reason to read again.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        // One that is waiting says as much as two.
        let _ = sender.try_send(());
    };
    match notify::recommended_watcher(tell) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::info!(%error, "changes of files are found by looking, as the system cannot tell of them");
            None
        }
    }
}

/// The folders in which something has to happen for the file to be another.
#[derive(Debug, Default)]
struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// With what they were when the watching began: a folder that is replaced is not watched any more.
    watched: HashMap<PathBuf, Option<Identity>>,
}

impl Folders {
    fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = HashMap::new();
        // The link itself may come to lead elsewhere.
        for file in [Some(path.to_owned()), atomic::resolve(path).ok()].into_iter().flatten() {
            if let Some(folder) = file.ancestors().skip(1).find(|folder| folder.is_dir()) {
                wanted.insert(folder.to_owned(), identity(folder));
            }
        }
        if wanted == self.watched {
            return;
        }
        for folder in self.watched.keys() {
            // One that is gone is not watched any more.
            let _ = watcher.unwatch(folder);
        }
        self.watched.clear();
        for (folder, identity) in wanted {
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder, identity)),
                // Tried again at the next look.
                Err(error) => {
                    tracing::debug!(%error, folder = %folder.display(), "a folder cannot be watched");
                }
            }
        }
    }
}

/// What a file looks like from outside; another one after every change of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    identity: Option<Identity>,
    /// When the file was last touched in any way, where the system says so.
    touched: Option<(i64, i64)>,
}

impl Stamp {
    /// The same, but for what changes when a file gets another name, too.
    pub(crate) fn of_content(path: &Path) -> Option<Self> {
        Self::of(path).map(|stamp| Self { touched: None, ..stamp })
    }

    /// What the file looks like now; `None` if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let touched = {
            use std::os::unix::fs::MetadataExt;
            Some((metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let touched = None;
        Some(Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(path),
            touched,
        })
    }
}

/// Which file of which device.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
