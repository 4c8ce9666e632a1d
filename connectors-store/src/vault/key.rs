//! Where a vault's key comes from: a file, or a passphrase.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::flaw::Flaw;
use crate::atomic;
use crate::paths::Paths;

/// What deriving a key from a passphrase costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
}

impl Default for Cost {
    /// RFC 9106, section 4, second recommended option, on one lane.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3 }
    }
}

/// What a key file begins with.
const KEY_FILE_PREFIX: &str = "connectors-vault-key-1:";

const SALT_BYTES: usize = 16;

/// Most memory, passes and lanes that a header may ask for, so that a forged one cannot stop the machine.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// How a vault's key is found: part of its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub(super) enum KeySource {
    /// The key file.
    File,
    /// argon2id of the passphrase.
    Passphrase {
        /// Base64, drawn when the vault was made.
        salt: String,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
}

/// A vault's key.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A value that tells two keys apart and says nothing about either.
    pub(super) fn check(&self) -> String {
        let digest =
            Sha256::new().chain_update("connectors vault key check 1").chain_update(*self.0).finalize();
        BASE64.encode(&digest[..16])
    }
}

/// The one key that this process has for its vault.
pub(super) struct KeyRing {
    key_file: PathBuf,
    state_root: PathBuf,
    passphrase: Option<SecretString>,
    cost: Cost,
    /// True while the vault is one that has no use for the passphrase.
    ignores_passphrase: AtomicBool,
    /// The last key, since deriving one takes a noticeable time.
    known: Mutex<Option<(KeySource, Key)>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("key_file", &self.key_file).finish_non_exhaustive()
    }
}

impl KeyRing {
    pub(super) fn new(paths: &Paths, cost: Cost) -> Self {
        Self {
            key_file: paths.key_file.clone(),
            state_root: paths.state_root.clone(),
            passphrase: paths.passphrase.clone(),
            cost,
            ignores_passphrase: AtomicBool::new(false),
            known: Mutex::new(None),
        }
    }

    /// True if there is a passphrase, and the vault that was last read is not protected by one.
    pub(super) fn ignores_passphrase(&self) -> bool {
        self.ignores_passphrase.load(Ordering::Relaxed)
    }

    /// The key of an existing vault.
    pub(super) fn find(&self, source: &KeySource) -> Result<Key, Flaw> {
        let ignored = self.passphrase.is_some() && *source == KeySource::File;
        self.ignores_passphrase.store(ignored, Ordering::Relaxed);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, key)) = &*known
            && known == source
        {
            return Ok(key.clone());
        }
        let key = match (source, &self.passphrase) {
            (KeySource::File, _) => self.read_file()?.ok_or_else(|| {
                Flaw::Key(format!(
                    "its key file {} is missing; restore it, or move the vault away to start a new one",
                    self.key_file.display()
                ))
            })?,
            (KeySource::Passphrase { .. }, Some(passphrase)) => derive(source, passphrase)?,
            (KeySource::Passphrase { .. }, None) => {
                return Err(Flaw::Key(
                    "it is protected by a passphrase; set CONNECTORS_VAULT_PASSPHRASE to it".to_owned(),
                ));
            }
        };
        *known = Some((source.clone(), key.clone()));
        Ok(key)
    }

    /// Forgets a key that has turned out not to fit, so that another is tried next time.
    pub(super) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The key for writing a vault: the known one for an existing vault, one of its own for a new one.
    pub(super) fn for_writing(&self, existed: bool) -> Result<(KeySource, Key), Flaw> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if existed && let Some(known) = &*known {
            return Ok(known.clone());
        }
        let made = match &self.passphrase {
            Some(passphrase) => {
                let source = new_passphrase_source(self.cost)?;
                let key = derive(&source, passphrase)?;
                (source, key)
            }
            None => (KeySource::File, self.read_or_create_file()?),
        };
        *known = Some(made.clone());
        Ok(made)
    }

    fn read_or_create_file(&self) -> Result<Key, Flaw> {
        if self.key_file.starts_with(&self.state_root) {
            return Err(Flaw::Key(format!(
                "its key file {} must not be in the state root",
                self.key_file.display()
            )));
        }
        if let Some(key) = self.read_file()? {
            return Ok(key);
        }
        create_key_file(&self.key_file).map_err(|error| self.unusable(&error))?;
        // Another process may have been faster: its key is the one then.
        self.read_file()?.ok_or_else(|| self.unusable(&io::ErrorKind::NotFound.into()))
    }

    /// The key file's key; `None` if there is no such file.
    fn read_file(&self) -> Result<Option<Key>, Flaw> {
        let text = match fs::read_to_string(&self.key_file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(&error)),
        };
        if is_open_to_others(&self.key_file).map_err(|error| self.unusable(&error))? {
            return Err(Flaw::Key(format!(
                "its key file {0} can be read by other users; run `chmod 600 {0}`",
                self.key_file.display()
            )));
        }
        let mut key = Zeroizing::new([0; 32]);
        let length = text
            .trim_end()
            .strip_prefix(KEY_FILE_PREFIX)
            .and_then(|encoded| BASE64.decode_slice(encoded, &mut *key).ok());
        if length != Some(key.len()) {
            return Err(Flaw::Key(format!(
                "its key file {} is damaged; restore it",
                self.key_file.display()
            )));
        }
        Ok(Some(Key(key)))
    }

    fn unusable(&self, error: &io::Error) -> Flaw {
        Flaw::Key(format!("its key file {} cannot be used: {error}", self.key_file.display()))
    }
}

/// Writes a new key whole or not at all, unless there is one.
fn create_key_file(path: &Path) -> io::Result<()> {
    let mut key = Zeroizing::new([0_u8; 32]);
    fill_random(&mut *key)?;
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(KEY_FILE_PREFIX);
    BASE64.encode_string(*key, &mut text);
    text.push('\n');

    atomic::create_folder_of(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    match temporary.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    // A vault whose key is lost in a crash would be lost with it.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Elsewhere the folder's access list decides, which the user's own configuration folder has right.
#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> io::Result<bool> {
    Ok(false)
}

fn new_passphrase_source(cost: Cost) -> Result<KeySource, Flaw> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt).map_err(|source| Flaw::Io { action: "write", source })?;
    let Cost { memory_kib, passes } = cost;
    Ok(KeySource::Passphrase { salt: BASE64.encode(salt), memory_kib, passes, lanes: 1 })
}

fn derive(source: &KeySource, passphrase: &SecretString) -> Result<Key, Flaw> {
    let KeySource::Passphrase { salt, memory_kib, passes, lanes } = source else {
        return Err(Flaw::Tampered);
    };
    if *memory_kib > MAX_MEMORY_KIB || *passes > MAX_PASSES || *lanes > MAX_LANES {
        return Err(Flaw::Tampered);
    }
    let salt = BASE64.decode(salt).map_err(|_| Flaw::Tampered)?;
    let params = Params::new(*memory_kib, *passes, *lanes, Some(32)).map_err(|_| Flaw::Tampered)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose_secret().as_bytes(), &salt, &mut *key)
        .map_err(|_| Flaw::Tampered)?;
    Ok(Key(key))
}

pub(super) fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}
