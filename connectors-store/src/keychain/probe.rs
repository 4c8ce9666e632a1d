//! Whether a keychain can be relied on.

use std::fmt;

use connectors_core::CredentialError;
use secrecy::SecretString;

use super::backend::{Backend, Condition, Deadline};
use crate::secrets::keeper::is_same;

/// What a probe has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeychainState {
    /// It keeps what it is given.
    Working,
    /// It works, but forgets everything when the user's session ends.
    Volatile,
    /// The user has to unlock it.
    Locked,
    /// There is none.
    Missing {
        /// One sentence.
        reason: String,
    },
    /// It did not answer in time.
    Unresponsive,
    /// It does not do what it says.
    Failing {
        /// One sentence.
        reason: String,
    },
}

impl fmt::Display for KeychainState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Working => f.write_str("the keychain works"),
            Self::Volatile => f.write_str("the keychain forgets its entries when the session ends"),
            Self::Locked => f.write_str("the keychain is locked"),
            Self::Missing { reason } => write!(f, "there is no keychain ({reason})"),
            Self::Unresponsive => f.write_str("the keychain does not answer"),
            Self::Failing { reason } => write!(f, "the keychain does not work ({reason})"),
        }
    }
}

/// Writes an entry, reads it back and deletes it, unless the keychain is locked.
pub(super) fn probe(backend: &dyn Backend, deadline: Deadline) -> KeychainState {
    try_probe(backend, deadline).unwrap_or_else(from_error)
}

/// Believes what the keychain says of itself.
pub(super) fn look(backend: &dyn Backend, deadline: Deadline) -> KeychainState {
    match backend.condition(deadline) {
        Ok(Condition::Persistent) => KeychainState::Working,
        Ok(Condition::Volatile) => KeychainState::Volatile,
        Err(error) => from_error(error),
    }
}

fn from_error(error: CredentialError) -> KeychainState {
    match error {
        CredentialError::Locked { .. } => KeychainState::Locked,
        CredentialError::Unavailable { reason, .. } => KeychainState::Missing { reason },
        CredentialError::TimedOut { .. } => KeychainState::Unresponsive,
        CredentialError::Failed { source, .. } => KeychainState::Failing { reason: source.to_string() },
        error => KeychainState::Failing { reason: error.to_string() },
    }
}

fn try_probe(backend: &dyn Backend, deadline: Deadline) -> Result<KeychainState, CredentialError> {
    let condition = backend.condition(deadline)?;
    // Another process may be probing too, hence an entry of one's own.
    let account = format!("connectors-probe:{}", std::process::id());
    let value = SecretString::from(format!("probe {account}"));
    backend.write(&account, &value, deadline)?;
    let read = backend.read(&account, deadline);
    backend.delete(&account, deadline)?;
    let kept = is_same(read?.as_ref(), Some(&value));
    let deleted = backend.read(&account, deadline)?.is_none();
    Ok(match (kept, deleted, condition) {
        (true, true, Condition::Persistent) => KeychainState::Working,
        (true, true, Condition::Volatile) => KeychainState::Volatile,
        (false, _, _) => KeychainState::Failing { reason: "an entry could not be read back".to_owned() },
        (_, false, _) => KeychainState::Failing { reason: "an entry could not be deleted".to_owned() },
    })
}
