//! A lock between processes, held on a file that is never deleted.

pub(crate) mod waiting;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a writer waits for another process before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts: writes take a few milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// An exclusive lock, released when dropped and by the system when its process dies.
///
/// Two handles exclude each other in one process too.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file would release it too, but Windows takes its time, and on Unix a process that is just being started
        // may have a duplicate of it for a moment.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a lock was not released before its file is closed");
        }
    }
}

impl FileLock {
    /// Waits up to `patience` for the lock, blocking the thread. The file is created if needed; its folder has to exist.
    ///
    /// Fails with [`io::ErrorKind::TimedOut`] if another process keeps it.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> io::Result<Self> {
        let file = open(path)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked"));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Takes the lock if nobody has it.
    pub(crate) fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock)
    }

    /// Takes the lock together with others who take it so, unless somebody has it alone.
    pub(crate) fn try_acquire_shared(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock_shared)
    }

    fn attempt(path: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match lock(&file) {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_another_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert_eq!(
            FileLock::acquire(&path, Duration::from_millis(20)).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }
}
