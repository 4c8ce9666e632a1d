//! Unlocking a vault, and changing what it is protected by.

use std::sync::Arc;

use async_trait::async_trait;
use connectors_core::{CredentialError, CredentialKey};
use secrecy::SecretString;

use super::file::{self, Sealed};
use super::flaw::Flaw;
use super::key::{KeySource, derive};
use super::{VaultFile, VaultStore};
use crate::atomic;
use crate::secrets::keeper::{Condition, Keeper};

/// Why a vault was not unlocked. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// The passphrase is not the vault's.
    #[error("this is not the vault's passphrase")]
    WrongPassphrase,
    /// The vault has a key file; a passphrase is of no use to it.
    #[error("the vault has no passphrase, but a key file")]
    NoPassphrase,
    /// The vault cannot be read, whatever its passphrase is.
    #[error(transparent)]
    Store(#[from] CredentialError),
}

impl VaultStore {
    /// Opens a vault that is protected by a passphrase, for the rest of this process's life. One that is open already is tried
    /// with this passphrase all the same.
    ///
    /// One attempt at a time is made, each of which takes the time that deriving a key takes: a fifth of a second.
    ///
    /// *Cancellation.* A dropped future may leave the vault unlocked.
    pub async fn unlock(&self, passphrase: SecretString) -> Result<(), UnlockError> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        let outcome = self.flawed(move |file| {
            let _writer = writer;
            Ok(match file.unlock(passphrase) {
                Ok(()) => Ok(()),
                Err(Flaw::WrongPassphrase) => Err(UnlockError::WrongPassphrase),
                Err(Flaw::NoPassphrase) => Err(UnlockError::NoPassphrase),
                Err(flaw) => Err(UnlockError::Store(flaw.into_error(&file.path))),
            })
        });
        outcome.await.map_err(|flaw| flaw.into_error(self.path()))?
    }

    /// Encrypts the vault anew: under a passphrase, or, with none, under the key file, which is created if there is none. A vault
    /// that does not exist is created.
    ///
    /// Until the new file is in place the old key is the one, also after a crash. Other processes need the new passphrase from
    /// then on.
    pub async fn set_passphrase(&self, passphrase: Option<SecretString>) -> Result<(), CredentialError> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        self.blocking(move |file| {
            let _writer = writer;
            file.set_passphrase(passphrase)
        })
        .await
    }

    /// How the vault's key is found, `passphrase` or `key_file`; `None` if there is no vault that says.
    pub async fn key_source(&self) -> Option<&'static str> {
        let source = self.flawed(|file| Ok(file.present()?.source().clone())).await.ok()?;
        Some(match source {
            KeySource::File => "key_file",
            KeySource::Passphrase { .. } => "passphrase",
        })
    }

    /// What is said besides of a vault that can be read.
    fn with_remark(&self, problem: Option<Flaw>, new: bool) -> Condition {
        let mut remarks = Vec::new();
        if new {
            remarks.push(self.file.keys.new_key());
        }
        let ignored = self.ignores_passphrase();
        if ignored {
            remarks.push(self.file.keys.ignored_passphrase());
        }
        Condition {
            locked: matches!(problem, Some(Flaw::Locked | Flaw::WrongPassphrase)),
            problem: problem.map(|flaw| match flaw.into_error(self.path()) {
                CredentialError::Unavailable { reason, .. } => reason,
                CredentialError::Locked { .. } => Flaw::Locked.to_string(),
                CredentialError::Storage { action, file, source, .. } => {
                    format!("cannot {action} {file}: {source}")
                }
                error => error.to_string(),
            }),
            remark: (!remarks.is_empty()).then(|| remarks.join(" ")),
            warning: ignored,
        }
    }
}

#[async_trait]
impl Keeper for VaultStore {
    fn description(&self) -> String {
        format!("an encrypted vault ({})", self.path().display())
    }

    async fn condition(&self) -> Condition {
        let problem = self.flawed(|file| file.read(&file.path).map(drop)).await.err();
        self.with_remark(problem, false)
    }

    async fn prove(&self) -> Condition {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        let opened = self.flawed(move |file| {
            let _writer = writer;
            file.change(|_, existed| (!existed, !existed))
        });
        match opened.await {
            Ok(is_new) => self.with_remark(None, is_new),
            Err(problem) => self.with_remark(Some(problem), false),
        }
    }

    async fn create(&self) -> Result<(), CredentialError> {
        self.open().await
    }

    async fn exists(&self) -> bool {
        let store = self.clone();
        tokio::task::spawn_blocking(move || Self::exists(&store)).await.unwrap_or(true)
    }

    async fn remove_empty(&self) -> Result<(), CredentialError> {
        let writer = Arc::clone(&self.writer).lock_owned().await;
        self.blocking(move |file| {
            let _writer = writer;
            file.remove_empty()
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        Self::keys(self).await
    }

    fn is_common(&self) -> bool {
        false
    }
}

impl VaultFile {
    fn present(&self) -> Result<Sealed, Flaw> {
        self.sealed(&self.path)?.ok_or(Flaw::Missing)
    }

    fn unlock(&self, passphrase: SecretString) -> Result<(), Flaw> {
        let sealed = self.present()?;
        let source = sealed.source();
        if *source == KeySource::File {
            return Err(Flaw::NoPassphrase);
        }
        let key = derive(source, &passphrase)?;
        sealed.decrypt(&key)?;
        self.keys.adopt(Some(passphrase), source.clone(), key, || Ok(()))
    }

    fn set_passphrase(&self, passphrase: Option<SecretString>) -> Result<(), Flaw> {
        let (target, _lock) = self.lock()?;
        let records = self.read(&target)?.map(|opened| opened.records).unwrap_or_default();
        let (source, key) = self.keys.make(passphrase.as_ref())?;
        let sealed = file::seal(&records, source.clone(), &key)?;
        self.keys.adopt(passphrase, source, key, || {
            atomic::replace(&target, &sealed, false).map_err(|source| Flaw::Io { action: "write", source })
        })
    }
}
