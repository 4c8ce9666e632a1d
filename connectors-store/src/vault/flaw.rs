//! Why a vault cannot be used.

use std::io;
use std::path::Path;

use connectors_core::CredentialError;

use super::STORE;

/// What is wrong with a vault or its key. None of these loses anything: the file is left as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    /// The file system said no.
    #[error("cannot {action} the file")]
    Io {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    /// The key does not belong to the vault, or there is none. One sentence that says what to do.
    #[error("{0}")]
    Key(String),
    /// It is protected by a passphrase, and none is known.
    #[error("it is protected by a passphrase, which has to be entered")]
    Locked,
    /// A passphrase is known, and is not the vault's.
    #[error("the passphrase is not the one that it was made with; enter the right one")]
    WrongPassphrase,
    /// A passphrase is of no use.
    #[error("it has a key file, not a passphrase")]
    NoPassphrase,
    /// There is no file.
    #[error("there is none yet")]
    Missing,
    /// Made by a later version of this program.
    #[error("it was written by a newer version of this program (format {0}); update to use it")]
    Newer(u64),
    /// Not our file at all.
    #[error("this is not a vault of this program; move the file away to start a new one")]
    Foreign,
    /// The end is missing.
    #[error("the file is cut short ({found} of {expected} bytes); restore it from a backup")]
    Truncated { found: u64, expected: u64 },
    /// The right key, and yet it does not decrypt.
    #[error(
        "the file has been changed since it was written, by a fault or by someone; restore it from a backup"
    )]
    Tampered,
    /// A value so large that it cannot be written.
    #[error("the secrets are too large for the vault")]
    TooLarge,
}

impl Flaw {
    /// The error that callers get, for the vault at `path`.
    pub(super) fn into_error(self, path: &Path) -> CredentialError {
        match self {
            Self::Io { action: action @ "read", source } => CredentialError::Unavailable {
                store: STORE,
                reason: format!("cannot {action} {}: {source}", path.display()),
            },
            Self::Io { action, source } => {
                CredentialError::Storage { store: STORE, action, file: path.display().to_string(), source }
            }
            Self::Key(reason) => CredentialError::Unavailable { store: STORE, reason },
            Self::Locked => CredentialError::Locked { store: STORE },
            Self::WrongPassphrase | Self::NoPassphrase | Self::Missing => {
                CredentialError::Unavailable { store: STORE, reason: self.to_string() }
            }
            Self::Newer(_) | Self::Foreign | Self::TooLarge => {
                CredentialError::Unavailable { store: STORE, reason: format!("{}: {self}", path.display()) }
            }
            Self::Truncated { .. } | Self::Tampered => CredentialError::Damaged {
                store: STORE,
                account: path.display().to_string(),
                problem: self.to_string(),
            },
        }
    }
}
