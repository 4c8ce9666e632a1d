//! `secrets.json` in the state root: where a move has brought the secrets, and what it has yet to delete.

use std::fs;
use std::io;
use std::path::PathBuf;

use connectors_core::CredentialError;
use serde::{Deserialize, Serialize};

use super::STORE;
use super::keeper::SecretPlace;
use crate::faults::reading;
use crate::{atomic, regular};

const VERSION: u64 = 1;

/// Far more than the names of all the secrets that anyone has.
const MAX_BYTES: u64 = 64 << 20;

/// What the file says. Names no secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u64,
    /// Where the secrets are.
    pub(super) kept_in: SecretPlace,
    /// Counts the moves that were made, so that other processes see each of them. Zero: none was, one was begun.
    pub(super) moves: u64,
    /// What is to be deleted: before the switch the copies made so far, afterwards the originals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) leftover: Option<Leftover>,
}

/// Secrets that are in a place where they should no longer be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leftover {
    /// The place, never the one that the secrets are kept in.
    pub(super) place: SecretPlace,
    pub(super) accounts: Vec<String>,
}

impl Marker {
    pub(super) fn new(kept_in: SecretPlace, moves: u64, leftover: Option<Leftover>) -> Self {
        Self { version: VERSION, kept_in, moves, leftover }
    }
}

/// What a text is.
enum Parsed {
    Known(Marker),
    Newer,
    Damaged,
}

fn parse(text: &[u8]) -> Parsed {
    /// What every version of the file says, whatever else it says.
    #[derive(Deserialize)]
    struct Preamble {
        version: u64,
    }
    match serde_json::from_slice::<Preamble>(text) {
        Ok(Preamble { version: VERSION }) => {
            serde_json::from_slice(text).map_or(Parsed::Damaged, Parsed::Known)
        }
        Ok(_) => Parsed::Newer,
        Err(_) => Parsed::Damaged,
    }
}

/// The file. Written by whoever holds the lock of moves alone.
#[derive(Debug)]
pub(super) struct MarkerFile {
    pub(super) path: PathBuf,
    /// The lock of moves.
    lock: PathBuf,
    sweep: atomic::Sweep,
}

impl MarkerFile {
    pub(super) fn new(path: PathBuf, lock: PathBuf) -> Self {
        Self { path, lock, sweep: atomic::Sweep::default() }
    }

    /// `None` if secrets were never moved on this state root. For whoever does not hold the lock: temporary files that were left
    /// behind are removed.
    pub(super) fn read(&self) -> Result<Option<Marker>, CredentialError> {
        self.sweep.before_reading(&self.path, &self.lock);
        self.read_only()
    }

    /// The same, and nothing is removed: for the many calls, which hold the lock together and so could not.
    pub(super) fn read_only(&self) -> Result<Option<Marker>, CredentialError> {
        reading(&self.path);
        let text = match regular::read(&self.path, MAX_BYTES) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(self.unusable("is far too large to be what it should be; move it away")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&format!("cannot be read: {error}"))),
        };
        match parse(&text) {
            Parsed::Known(marker) => Ok(Some(marker)),
            Parsed::Newer => {
                Err(self.unusable("was written by a newer version of this program; update to use it"))
            }
            Parsed::Damaged => Err(self.unusable(
                "is damaged, so that it is not known where the secrets are; put `{\"version\":1,\"kept_in\":\"keychain\",\
                 \"moves\":1}` there, or the same with `vault`",
            )),
        }
    }

    pub(super) fn write(&self, marker: &Marker) -> Result<(), CredentialError> {
        let write = || {
            let text = serde_json::to_vec(marker).map_err(io::Error::other)?;
            atomic::create_folder_of(&self.path)?;
            self.sweep.under_lock(&self.path);
            atomic::replace(&self.path, &text, false)
        };
        write().map_err(|error| self.storage("write", error))
    }

    /// As if no move had been begun.
    pub(super) fn remove(&self) -> Result<(), CredentialError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.storage("remove", error)),
            _ => Ok(()),
        }
    }

    fn storage(&self, action: &'static str, source: io::Error) -> CredentialError {
        CredentialError::Storage { store: STORE, action, file: self.path.display().to_string(), source }
    }

    fn unusable(&self, problem: &str) -> CredentialError {
        CredentialError::Unavailable { store: STORE, reason: format!("{} {problem}", self.path.display()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::faults::injected::{Subject, die, survives_every_fault};
    use crate::lock::{FileLock, PATIENCE};

    fn marker(folder: &Path) -> MarkerFile {
        MarkerFile::new((SUBJECT.file)(folder), (SUBJECT.lock)(folder))
    }

    const SUBJECT: Subject = Subject {
        file: |folder| folder.join("state").join("secrets.json"),
        lock: |folder| folder.join("state").join("locks").join("secrets.lock"),
        write: |folder, n| {
            let marker = marker(folder);
            atomic::create_folder_of(&marker.lock).unwrap();
            let _alone = FileLock::acquire(&marker.lock, PATIENCE).unwrap();
            marker.write(&Marker::new(SecretPlace::Vault, n, None)).map_err(|error| error.to_string())
        },
        read: |folder| marker(folder).read().unwrap().map_or(0, |marker| marker.moves),
        keeps_previous: false,
        child: "secrets::marker::tests::writer",
    };

    #[test]
    #[ignore = "run by another test, as a process that dies"]
    fn writer() {
        die(&SUBJECT);
    }

    #[test]
    fn the_marker_survives_every_fault() {
        survives_every_fault(&SUBJECT);
    }
}
