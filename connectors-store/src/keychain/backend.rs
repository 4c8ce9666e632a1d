//! What the store needs of a platform's keychain.

use std::time::{Duration, Instant};

use connectors_core::CredentialError;
use secrecy::SecretString;

use super::STORE;

/// A keychain with entries of one service, used from threads that may block.
///
/// A call returns by its deadline, where the platform lets it.
pub(super) trait Backend: Send + Sync + 'static {
    /// The platform's name for it.
    fn name(&self) -> &'static str;

    /// What can be known of the keychain without asking the user anything.
    fn condition(&self, deadline: Deadline) -> Result<Condition, CredentialError>;

    /// Called before the lock of a write is taken: whatever may wait for the user belongs here.
    fn prepare_write(&self, _deadline: Deadline) -> Result<(), CredentialError> {
        Ok(())
    }

    fn read(&self, account: &str, deadline: Deadline) -> Result<Option<SecretString>, CredentialError>;

    /// Readers see the old or the new value, whatever its size.
    fn write(&self, account: &str, value: &SecretString, deadline: Deadline) -> Result<(), CredentialError>;

    /// Not an error if there is no such entry.
    fn delete(&self, account: &str, deadline: Deadline) -> Result<(), CredentialError>;

    /// The accounts of the service that have a value.
    fn accounts(&self, deadline: Deadline) -> Result<Vec<String>, CredentialError>;
}

/// How a keychain that answers and is not locked keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// On disk.
    Persistent,
    /// Until the user's session ends.
    #[cfg_attr(any(windows, target_os = "macos"), allow(dead_code, reason = "only a Secret Service can be"))]
    Volatile,
}

/// The time by which a call has to be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// When.
    pub(super) at: Instant,
    /// How long the call was given, for the message.
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    pub(super) fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// What a call that has missed it fails with.
    pub(super) fn missed(self) -> CredentialError {
        CredentialError::TimedOut { store: STORE, limit: self.limit }
    }
}
