//! What the choice between places, and a move from one to the other, need of a place.

use std::fmt;

use async_trait::async_trait;
use connectors_core::{CredentialError, CredentialKey, CredentialStore};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A place that keeps secrets beyond the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// The OS keychain.
    Keychain,
    /// An encrypted file.
    Vault,
}

impl SecretPlace {
    /// As `--secrets` and the WebSocket name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keychain => "keychain",
            Self::Vault => "vault",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Keychain => Self::Vault,
            Self::Vault => Self::Keychain,
        }
    }
}

impl fmt::Display for SecretPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A store, and what the user is told about it.
#[async_trait]
pub(crate) trait Keeper: CredentialStore {
    /// In a sentence that begins with "Secrets are kept in".
    fn description(&self) -> String;

    /// How it is, found without asking the user anything and without changing anything.
    async fn condition(&self) -> Condition;

    /// As [`condition`](Self::condition), but proves that it keeps what it is given, and creates it if that is all that is
    /// missing.
    async fn prove(&self) -> Condition;

    /// Creates it if that is all that is missing, or says why it cannot be used.
    async fn create(&self) -> Result<(), CredentialError> {
        Ok(())
    }

    /// True unless [`prove`](Self::prove) would create it.
    async fn exists(&self) -> bool {
        true
    }

    /// Takes back what [`prove`](Self::prove) has created, unless a secret is in it by now.
    async fn remove_empty(&self) -> Result<(), CredentialError> {
        Ok(())
    }

    /// The keys of every connector, known or not, that have a value.
    async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError>;

    /// True if programs on other state roots keep secrets of the same names there.
    fn is_common(&self) -> bool;
}

/// How a place is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Why it cannot be relied on, as the end of a sentence.
    pub(crate) problem: Option<String>,
    /// True if the problem is that it has to be unlocked.
    pub(crate) locked: bool,
    /// What the user should know besides, in whole sentences.
    pub(crate) remark: Option<String>,
    /// True if the remark is a warning.
    pub(crate) warning: bool,
}

/// True if both are one value, or both none.
pub(crate) fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}
