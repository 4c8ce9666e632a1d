//! Waiting for a lock without keeping a thread waiting.

use std::io;
use std::path::Path;
use std::time::Duration;

use connectors_core::CredentialError;

use crate::atomic;

/// How long others are waited for: longer than a token request or a call to a keychain may take, each of which has a limit of
/// its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two attempts at a lock that another process has: short beside what it is held for, long beside an attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// What `held` comes to, if that is within [`PATIENCE`]. Needs a runtime with timers. `store` is what the error calls the store.
pub(crate) async fn in_time<T>(
    store: &'static str,
    held: impl Future<Output = Result<T, CredentialError>>,
) -> Result<T, CredentialError> {
    match tokio::time::timeout(PATIENCE, held).await {
        Ok(held) => held,
        Err(_) => Err(CredentialError::TimedOut { store, limit: PATIENCE }),
    }
}

/// Tries again and again, each time for a moment on a thread that may block, until `attempt` at the lock file `path` brings
/// something. The file's folder is created. Has no limit of its own: see [`in_time`].
///
/// Fails with the first error of an attempt, as one of `store`.
///
/// *Cancellation.* A lock that came too late for a future that was dropped goes with the result of that attempt.
pub(crate) async fn wait<T, F>(store: &'static str, path: &Path, attempt: F) -> Result<T, CredentialError>
where
    T: Send + 'static,
    F: Fn(&Path) -> io::Result<Option<T>> + Clone + Send + 'static,
{
    loop {
        let (file, attempt) = (path.to_owned(), attempt.clone());
        let attempted = tokio::task::spawn_blocking(move || {
            atomic::create_folder_of(&file)?;
            attempt(&file)
        });
        match attempted.await {
            Ok(Ok(Some(held))) => return Ok(held),
            Ok(Ok(None)) => tokio::time::sleep(PAUSE).await,
            Ok(Err(source)) => {
                let file = path.display().to_string();
                return Err(CredentialError::Storage { store, action: "lock", file, source });
            }
            Err(_) => {
                let reason = "the process is shutting down".to_owned();
                return Err(CredentialError::Unavailable { store, reason });
            }
        }
    }
}
