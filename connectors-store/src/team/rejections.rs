//! The proposals that the user does not want: a small file in the state root.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors_core::{Proposal, StorageError};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::lock::{FileLock, PATIENCE};
use crate::regular;

/// Rejections that are kept; of more, the oldest go.
const MAX_ENTRIES: usize = 1_000;

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The file `rejected_proposals.json`. All methods block.
#[derive(Debug, Clone)]
pub(super) struct Rejections {
    path: PathBuf,
    lock: PathBuf,
    sweep: Arc<atomic::Sweep>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    /// Oldest first.
    #[serde(default)]
    rejected: Vec<Rejection>,
}

/// `slug` and `file` are for whoever reads the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rejection {
    hash: String,
    #[serde(default)]
    slug: String,
    #[serde(default)]
    file: String,
}

impl Rejections {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { lock: atomic::beside(&path, ".lock"), path, sweep: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn hashes(&self) -> Result<HashSet<String>, StorageError> {
        self.sweep.before_reading(&self.path, &self.lock);
        Ok(self.read()?.rejected.into_iter().map(|rejection| rejection.hash).collect())
    }

    pub(super) fn remember(&self, proposal: &Proposal, rejected: bool) -> Result<(), StorageError> {
        let write = |error| self.io("write", error);
        atomic::create_folder_of(&self.path).map_err(write)?;
        let _lock = FileLock::acquire(&self.lock, PATIENCE).map_err(|error| self.io("lock", error))?;
        self.sweep.under_lock(&self.path);
        let mut document = self.read()?;
        if document.rejected.iter().any(|known| known.hash == proposal.hash) == rejected {
            return Ok(());
        }
        document.rejected.retain(|known| known.hash != proposal.hash);
        if rejected {
            document.rejected.push(Rejection {
                hash: proposal.hash.clone(),
                slug: proposal.definition.slug.to_string(),
                file: proposal.file.clone(),
            });
        }
        let surplus = document.rejected.len().saturating_sub(MAX_ENTRIES);
        document.rejected.drain(..surplus);
        let text = serde_json::to_string_pretty(&document).map_err(|error| write(error.into()))?;
        atomic::replace(&self.path, text.as_bytes(), false).map_err(write)
    }

    fn read(&self) -> Result<Document, StorageError> {
        match regular::read(&self.path, MAX_BYTES) {
            Ok(Some(text)) => serde_json::from_slice(&text).map_err(|error| StorageError::Unparsable {
                file: self.path.display().to_string(),
                line: error.line(),
                column: error.column(),
                problem:
                    "it is not the list of rejected proposals that it should be; delete it to start anew"
                        .to_owned(),
            }),
            Ok(None) => {
                let problem = format!("it is larger than {} KiB", MAX_BYTES >> 10);
                Err(self.io("read", io::Error::new(io::ErrorKind::FileTooLarge, problem)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Document::default()),
            Err(error) => Err(self.io("read", error)),
        }
    }

    fn io(&self, action: &'static str, source: io::Error) -> StorageError {
        StorageError::Io { action, file: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use connectors_core::{ConnectorDefinition, Slug};

    use super::*;

    fn proposal(hash: &str) -> Proposal {
        let definition = ConnectorDefinition::http(Slug::verbatim("x"), "X", "https://h/mcp");
        Proposal {
            definition,
            hash: hash.to_owned(),
            file: "/srv/p/.car/connectors.toml".to_owned(),
            line: 1,
        }
    }

    fn set(hashes: &[&str]) -> HashSet<String> {
        hashes.iter().map(|hash| (*hash).to_owned()).collect()
    }

    #[test]
    fn what_is_rejected_is_known_to_another_process_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("rejected.json");
        let rejections = Rejections::new(path.clone());
        assert_eq!(rejections.hashes().unwrap(), set(&[]));
        for hash in ["a", "b", "a"] {
            rejections.remember(&proposal(hash), true).unwrap();
        }
        let other = Rejections::new(path.clone());
        assert_eq!(other.hashes().unwrap(), set(&["a", "b"]));
        other.remember(&proposal("a"), false).unwrap();
        other.remember(&proposal("never there"), false).unwrap();
        assert_eq!(rejections.hashes().unwrap(), set(&["b"]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn of_too_many_the_oldest_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let rejections = Rejections::new(folder.path().join("rejected.json"));
        let rejected = (0..MAX_ENTRIES)
            .map(|n| Rejection { hash: n.to_string(), slug: String::new(), file: String::new() })
            .collect();
        fs::write(rejections.path(), serde_json::to_string(&Document { rejected }).unwrap()).unwrap();
        rejections.remember(&proposal("new"), true).unwrap();
        let hashes = rejections.hashes().unwrap();
        assert_eq!((hashes.len(), hashes.contains("0"), hashes.contains("new")), (MAX_ENTRIES, false, true));
    }

    #[test]
    fn a_damaged_file_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let rejections = Rejections::new(folder.path().join("rejected.json"));
        for content in [b"{\"rejected\": [}".to_vec(), vec![b' '; (MAX_BYTES + 1) as usize], vec![0xff]] {
            fs::write(rejections.path(), &content).unwrap();
            rejections.hashes().unwrap_err();
            rejections.remember(&proposal("a"), true).unwrap_err();
            assert_eq!(fs::read(rejections.path()).unwrap(), content);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_the_place_of_the_file_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let rejections = Rejections::new(folder.path().join("rejected.json"));
        assert!(std::process::Command::new("mkfifo").arg(rejections.path()).status().unwrap().success());
        // On a thread of its own: were the pipe waited for, the test would not end.
        let (done, answer) = std::sync::mpsc::channel();
        let file = rejections.path().display().to_string();
        std::thread::spawn(move || done.send(rejections.hashes()));
        let Err(error) = answer.recv_timeout(std::time::Duration::from_secs(20)).unwrap() else {
            panic!("a pipe was read");
        };
        let StorageError::Io { action, file: named, source } = error else { panic!("{error}") };
        assert_eq!(
            (action, named, source.to_string()),
            ("read", file, "it is not a regular file".to_owned())
        );
    }
}
