//! One holder at a time of a connector's secrets, among all processes that share a state root.

use std::path::{Path, PathBuf};

use connectors_core::digest::sha256_hex;
use connectors_core::queues::Queues;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialError, Slug};

use crate::lock::{FileLock, waiting};

/// Longest slug that its lock file is named after.
const MAX_NAME: usize = 100;

/// Who holds which connector, by one lock file for each in the folder `locks` of the state root.
///
/// The files are empty and never deleted, since a lock on a deleted file excludes nobody. Those that are about to hold one
/// connector queue in order within a process; between processes there is no order.
#[derive(Debug)]
pub(crate) struct Holders {
    /// What errors call the store.
    store: &'static str,
    folder: PathBuf,
    /// Those of this process that wait for a connector or hold it. Only the first of each queue looks at the file.
    queues: Queues,
}

impl Holders {
    /// Nothing is created yet.
    pub(crate) fn new(store: &'static str, state_root: &Path) -> Self {
        Self { store, folder: state_root.join("locks"), queues: Queues::default() }
    }

    /// Waits for everyone before and then holds the connector. Needs a runtime with timers.
    ///
    /// *Cancellation.* A dropped future holds nothing, and leaves nothing that would.
    pub(crate) async fn hold(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        let held = async {
            let turn = self.queues.turn(slug).await;
            let path = self.folder.join(file_name(slug));
            let lock = waiting::wait(self.store, &path, FileLock::try_acquire).await?;
            // In this order: the next of this process finds the file unlocked.
            Ok(Exclusive::new((lock, turn)))
        };
        waiting::in_time(self.store, held).await
    }
}

/// A slug that is not made of what slugs are made of, which a manifest may hold, has its hash for a name: it may lead elsewhere,
/// or differ from another in a way that the file system does not see.
fn file_name(slug: &Slug) -> String {
    let text = slug.as_str();
    let plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain) {
        return format!("connector-{text}.lock");
    }
    format!("connector-sha256-{}.lock", sha256_hex(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::waiting::PATIENCE;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn lock_files_stay_in_a_private_folder_whatever_the_slug_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let holders = Holders::new("test", &state);
        for slug in ["git_hub_2", "../../x", "A"] {
            holders.hold(&Slug::verbatim(slug)).await.unwrap();
        }
        assert_eq!(names(folder.path()), ["state"]);
        assert_eq!(names(&state), ["locks"]);
        let locks = state.join("locks");
        assert_eq!(
            names(&locks),
            [
                "connector-git_hub_2.lock",
                "connector-sha256-559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd.lock",
                "connector-sha256-9cdf6a50100a862e14286c7a334296daf7da8b45d48e20302424ca729b62a31a.lock",
            ]
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&locks), 0o700);
            for name in names(&locks) {
                assert_eq!(mode(&locks.join(&name)), 0o600, "{name}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_a_minute_behind_this_process_or_another() {
        let folder = tempfile::tempdir().unwrap();
        let (this, other) = (Holders::new("test", folder.path()), Holders::new("test", folder.path()));
        let slug = Slug::verbatim("a");
        let held = this.hold(&slug).await.unwrap();
        for waiting in [&this, &other] {
            let error = waiting.hold(&slug).await.unwrap_err();
            assert!(matches!(error, CredentialError::TimedOut { store: "test", limit: PATIENCE }), "{error}");
        }
        drop(held);
        other.hold(&slug).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("locks"), "in the way").unwrap();
        let error = Holders::new("test", folder.path()).hold(&Slug::verbatim("a")).await.unwrap_err();
        let file = folder.path().join("locks").join("connector-a.lock");
        let expected = format!("the test cannot lock {}: ", file.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(connectors_core::ConnectorError::from(error).code(), "storage");
    }
}
