//! The file that a vault's key is in.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use zeroize::Zeroizing;

use super::flaw::Flaw;
use super::key::{Key, fill_random};
use crate::atomic;
use crate::lock::{FileLock, PATIENCE};
use crate::regular;

/// What a key file begins with.
const PREFIX: &str = "connectors-vault-key-1:";

/// Longest file that is read: a key with what may have been put around it.
const MAX_LENGTH: u64 = 1024;

/// Where the key is.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    /// Never to hold the key.
    pub(super) state_root: PathBuf,
    /// True if the service manager provides it, and guards it: neither created nor checked.
    pub(super) provided: bool,
    pub(super) sweep: atomic::Sweep,
}

impl KeyFile {
    pub(super) fn read_or_create(&self) -> Result<Key, Flaw> {
        if !self.provided && self.path.starts_with(&self.state_root) {
            let problem = format!("its key file {} must not be in the state root", self.path.display());
            return Err(Flaw::Key(problem));
        }
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        if self.provided {
            return Err(self.unusable(&io::ErrorKind::NotFound.into()));
        }
        self.create().map_err(|error| self.unusable(&error))?;
        // Another process may have been faster: its key is the one then.
        self.read()?.ok_or_else(|| self.unusable(&io::ErrorKind::NotFound.into()))
    }

    /// The key; `None` if there is no such file.
    pub(super) fn read(&self) -> Result<Option<Key>, Flaw> {
        if !self.provided {
            self.sweep.before_reading(&self.path, &self.lock());
        }
        let file = match regular::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&error)),
        };
        if !self.provided {
            self.check(&file)?;
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_LENGTH as usize));
        file.take(MAX_LENGTH).read_to_string(&mut text).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.damaged(),
            _ => self.unusable(&error),
        })?;
        let mut key = Zeroizing::new([0; 32]);
        let length = text
            .trim_end()
            .strip_prefix(PREFIX)
            .and_then(|encoded| BASE64.decode_slice(encoded, &mut *key).ok());
        if length != Some(key.len()) {
            return Err(self.damaged());
        }
        Ok(Some(Key::from_bytes(key)))
    }

    /// Refuses a key that others may know, or may have chosen.
    #[cfg(unix)]
    fn check(&self, file: &File) -> Result<(), Flaw> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata().map_err(|error| self.unusable(&error))?;
        let user = rustix::process::geteuid().as_raw();
        if ![user, 0].contains(&metadata.uid()) {
            return Err(Flaw::Key(format!(
                "its key file {} belongs to another user (id {}); restore your own",
                self.path.display(),
                metadata.uid()
            )));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(Flaw::Key(format!(
                "its key file {0} is open to other users (mode {1:03o}); run `chmod 600 {0}`",
                self.path.display(),
                metadata.mode() & 0o777
            )));
        }
        Ok(())
    }

    /// Elsewhere the folder's access list decides, which the user's own configuration folder has right.
    #[cfg(not(unix))]
    fn check(&self, _: &File) -> Result<(), Flaw> {
        Ok(())
    }

    fn damaged(&self) -> Flaw {
        Flaw::Key(format!("its key file {} is damaged; restore it", self.path.display()))
    }

    fn unusable(&self, error: &io::Error) -> Flaw {
        Flaw::Key(format!("its key file {} cannot be used: {error}", self.path.display()))
    }

    /// Writes a new key whole or not at all, unless there is one.
    fn create(&self) -> io::Result<()> {
        let mut key = Zeroizing::new([0_u8; 32]);
        fill_random(&mut *key)?;
        let mut text = Zeroizing::new(String::with_capacity(128));
        text.push_str(PREFIX);
        BASE64.encode_string(*key, &mut text);
        text.push('\n');

        atomic::create_folder_of(&self.path)?;
        let _lock = FileLock::acquire(&self.lock(), PATIENCE)?;
        self.sweep.under_lock(&self.path);
        // A vault whose key is lost in a crash would be lost with it.
        atomic::create(&self.path, text.as_bytes())
    }

    fn lock(&self) -> PathBuf {
        atomic::beside(&self.path, ".lock")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::faults::injected::{Subject, die, never_replaced_survives_every_fault};

    fn key_file(folder: &Path) -> KeyFile {
        KeyFile {
            path: (SUBJECT.file)(folder),
            state_root: folder.join("state"),
            provided: false,
            sweep: atomic::Sweep::default(),
        }
    }

    const SUBJECT: Subject = Subject {
        file: |folder| folder.join("config").join("vault.key"),
        lock: |folder| folder.join("config").join("vault.key.lock"),
        write: |folder, _| key_file(folder).read_or_create().map(drop).map_err(|flaw| flaw.to_string()),
        read: |folder| key_file(folder).read().unwrap().map_or(0, |_| 3),
        keeps_previous: false,
        child: "vault::key_file::tests::writer",
    };

    #[test]
    #[ignore = "run by another test, as a process that dies"]
    fn writer() {
        die(&SUBJECT);
    }

    #[test]
    fn a_key_file_survives_every_fault() {
        never_replaced_survives_every_fault(&SUBJECT);
    }
}
