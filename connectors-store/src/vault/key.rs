//! A vault's key: from a file, or derived from a passphrase.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::flaw::Flaw;
use super::key_file::KeyFile;
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
        /// Base64, drawn when the passphrase was set.
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
    pub(super) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

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
    file: KeyFile,
    cost: Cost,
    /// True while the vault is one that has no use for the passphrase.
    ignores_passphrase: AtomicBool,
    known: Mutex<Known>,
}

/// What this process knows.
#[derive(Default)]
struct Known {
    passphrase: Option<SecretString>,
    /// The last key, since deriving one takes a noticeable time.
    key: Option<(KeySource, Key)>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("file", &self.file).finish_non_exhaustive()
    }
}

impl KeyRing {
    pub(super) fn new(paths: &Paths, cost: Cost) -> Self {
        Self {
            file: KeyFile {
                path: paths.key_file.clone(),
                state_root: paths.state_root.clone(),
                provided: paths.key_is_provided,
                sweep: atomic::Sweep::default(),
            },
            cost,
            ignores_passphrase: AtomicBool::new(false),
            known: Mutex::new(Known { passphrase: paths.passphrase.clone(), key: None }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if there is a passphrase, and the vault that was last read is not protected by one.
    pub(super) fn ignores_passphrase(&self) -> bool {
        self.ignores_passphrase.load(Ordering::Relaxed)
    }

    /// Of a vault that has just been made, what the user should know.
    pub(super) fn new_key(&self) -> String {
        match &self.known().key {
            Some((KeySource::Passphrase { .. }, _)) => "It is new: its key is your passphrase.".to_owned(),
            _ => format!("It is new: its key is in {}; keep a copy.", self.file.path.display()),
        }
    }

    /// Of a vault that [ignores](Self::ignores_passphrase) the passphrase, what the user should know.
    pub(super) fn ignored_passphrase(&self) -> String {
        format!(
            "The passphrase has no effect: this vault was made with the key file {}. Set the passphrase at the panel, unset \
             CONNECTORS_VAULT_PASSPHRASE, or move the vault away to start a new one that the passphrase protects.",
            self.file.path.display()
        )
    }

    /// The key of an existing vault.
    pub(super) fn find(&self, source: &KeySource) -> Result<Key, Flaw> {
        // Locked while a key is derived: whoever needs it too is better served by waiting.
        let mut known = self.known();
        let ignored = known.passphrase.is_some() && *source == KeySource::File;
        self.ignores_passphrase.store(ignored, Ordering::Relaxed);
        if let Some((known, key)) = &known.key
            && known == source
        {
            return Ok(key.clone());
        }
        let key = match (source, &known.passphrase) {
            (KeySource::File, _) => self.file.read()?.ok_or_else(|| {
                Flaw::Key(format!(
                    "its key file {} is missing; restore it, or move the vault away to start a new one",
                    self.file.path.display()
                ))
            })?,
            (KeySource::Passphrase { .. }, Some(passphrase)) => derive(source, passphrase)?,
            (KeySource::Passphrase { .. }, None) => return Err(Flaw::Locked),
        };
        known.key = Some((source.clone(), key.clone()));
        Ok(key)
    }

    /// Forgets a key that has turned out not to fit, so that another is tried next time.
    pub(super) fn forget(&self, source: &KeySource) {
        let mut known = self.known();
        if known.key.as_ref().is_some_and(|(known, _)| known == source) {
            known.key = None;
        }
    }

    /// From now on this is the vault's key, if `write` puts it in force. Whoever needs a key meanwhile waits, so that nobody
    /// tries the old one on the new file.
    pub(super) fn adopt(
        &self,
        passphrase: Option<SecretString>,
        source: KeySource,
        key: Key,
        write: impl FnOnce() -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let mut known = self.known();
        write()?;
        *known = Known { passphrase, key: Some((source, key)) };
        Ok(())
    }

    /// A key of its own for a vault that is new.
    pub(super) fn for_new(&self) -> Result<(KeySource, Key), Flaw> {
        let mut known = self.known();
        let made = self.make(known.passphrase.as_ref())?;
        known.key = Some(made.clone());
        Ok(made)
    }

    /// A key that is derived anew, or the key file's.
    pub(super) fn make(&self, passphrase: Option<&SecretString>) -> Result<(KeySource, Key), Flaw> {
        let Some(passphrase) = passphrase else {
            return Ok((KeySource::File, self.file.read_or_create()?));
        };
        let source = new_passphrase_source(self.cost)?;
        let key = derive(&source, passphrase)?;
        Ok((source, key))
    }
}

fn new_passphrase_source(cost: Cost) -> Result<KeySource, Flaw> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt).map_err(|source| Flaw::Io { action: "write", source })?;
    let Cost { memory_kib, passes } = cost;
    Ok(KeySource::Passphrase { salt: BASE64.encode(salt), memory_kib, passes, lanes: 1 })
}

pub(super) fn derive(source: &KeySource, passphrase: &SecretString) -> Result<Key, Flaw> {
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
