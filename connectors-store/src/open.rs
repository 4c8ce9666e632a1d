//! Choosing where secrets are kept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
#[cfg(feature = "keychain")]
use std::time::Duration;

use connectors_core::{CredentialError, CredentialStore, MemoryCredentialStore};

#[cfg(feature = "keychain")]
use crate::keychain::{KeychainState, KeychainStore};
use crate::paths::Paths;
#[cfg(feature = "vault")]
use crate::vault::VaultStore;

/// How long a start is held up by a keychain that does not answer.
#[cfg(feature = "keychain")]
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// The value of `--secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SecretsChoice {
    /// The keychain if it can be relied on, else a vault.
    #[default]
    Auto,
    /// The OS keychain.
    Keychain,
    /// An encrypted file.
    Vault,
    /// Nowhere: secrets are gone with the process.
    Memory,
}

impl SecretsChoice {
    const ALL: [Self; 4] = [Self::Auto, Self::Keychain, Self::Vault, Self::Memory];

    /// As it is written on a command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Keychain => "keychain",
            Self::Vault => "vault",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for SecretsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A `--secrets` that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a place for secrets; choose auto, keychain, vault or memory")]
pub struct UnknownChoice(String);

impl FromStr for SecretsChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == text)
            .ok_or_else(|| UnknownChoice(text.to_owned()))
    }
}

/// A place for secrets, and what to tell the user about it.
#[non_exhaustive]
pub struct OpenedCredentials {
    /// The store.
    pub store: Arc<dyn CredentialStore>,
    /// What was chosen and why, in a few sentences.
    pub notice: String,
    /// True if the user should know: the store cannot be used as it is, forgets, or does not heed the passphrase.
    pub warning: bool,
}

impl fmt::Debug for OpenedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedCredentials")
            .field("store", &self.store.kind())
            .field("notice", &self.notice)
            .field("warning", &self.warning)
            .finish()
    }
}

impl OpenedCredentials {
    fn new(store: impl CredentialStore, warning: bool, notice: impl Into<String>) -> Self {
        Self { store: Arc::new(store), notice: notice.into(), warning }
    }
}

/// Opens the store that `choice` names.
///
/// A store that exists and cannot be used for now (a locked keychain, a vault whose key is missing) is opened all the
/// same, with a warning: its calls fail with the reason until that is put right, and connectors without secrets work.
/// `auto` takes a keychain that works or waits to be unlocked, else a vault, which it creates if there is none. It
/// never keeps secrets unencrypted on disk. Takes 3 seconds at most for a keychain that does not answer, and no
/// noticeable time where there is none.
///
/// Fails if this build has no such store, or the process can start no thread.
pub async fn open_credentials(
    choice: SecretsChoice,
    paths: &Paths,
) -> Result<OpenedCredentials, CredentialError> {
    match choice {
        SecretsChoice::Auto => auto(paths).await,
        SecretsChoice::Keychain => keychain(paths).await,
        SecretsChoice::Vault => chosen_vault(paths).await,
        SecretsChoice::Memory => {
            Ok(memory("Secrets are kept in memory, as chosen: they are gone when this process ends."))
        }
    }
}

fn memory(notice: &str) -> OpenedCredentials {
    OpenedCredentials::new(MemoryCredentialStore::default(), true, notice)
}

#[cfg(feature = "keychain")]
async fn auto(paths: &Paths) -> Result<OpenedCredentials, CredentialError> {
    let store = KeychainStore::new(&paths.state_root)?;
    let state = store.probe(PROBE_LIMIT).await;
    match choose(&state, vault_exists(paths)) {
        Chosen::Keychain { warning, notice } => Ok(OpenedCredentials::new(store, warning, notice)),
        Chosen::Vault => fallback(paths, &state.to_string()).await,
    }
}

#[cfg(not(feature = "keychain"))]
async fn auto(paths: &Paths) -> Result<OpenedCredentials, CredentialError> {
    fallback(paths, "this build has no keychain").await
}

/// What `auto` comes to.
#[cfg(feature = "keychain")]
#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    Keychain { warning: bool, notice: &'static str },
    Vault,
}

#[cfg(feature = "keychain")]
fn choose(state: &KeychainState, vault_exists: bool) -> Chosen {
    let (warning, notice) = match (state, vault_exists) {
        (KeychainState::Working, false) => (false, "Secrets are kept in the keychain of this computer."),
        (KeychainState::Working, true) => (
            false,
            "Secrets are kept in the keychain of this computer. There is a vault too, which is not used; start with \
             `--secrets vault` to use it.",
        ),
        // A new vault would make the secrets in the keychain look lost, and split them over two places.
        (KeychainState::Locked, false) => (
            true,
            "Secrets are kept in the keychain of this computer, which is locked: unlock it. Where nobody can, start \
             with `--secrets vault`.",
        ),
        _ => return Chosen::Vault,
    };
    Chosen::Keychain { warning, notice }
}

#[cfg(feature = "keychain")]
async fn keychain(paths: &Paths) -> Result<OpenedCredentials, CredentialError> {
    let store = KeychainStore::new(&paths.state_root)?;
    let notice = "Secrets are kept in the keychain of this computer, as chosen";
    Ok(match store.probe(PROBE_LIMIT).await {
        KeychainState::Working => OpenedCredentials::new(store, false, format!("{notice}.")),
        state => OpenedCredentials::new(
            store,
            true,
            format!("{notice}, but {state}. Start with `--secrets vault` to use an encrypted file instead."),
        ),
    })
}

#[cfg(not(feature = "keychain"))]
async fn keychain(_: &Paths) -> Result<OpenedCredentials, CredentialError> {
    Err(lacking("keychain"))
}

#[cfg(all(feature = "keychain", feature = "vault"))]
fn vault_exists(paths: &Paths) -> bool {
    VaultStore::new(paths).exists()
}

#[cfg(all(feature = "keychain", not(feature = "vault")))]
fn vault_exists(_: &Paths) -> bool {
    false
}

#[cfg(feature = "vault")]
async fn chosen_vault(paths: &Paths) -> Result<OpenedCredentials, CredentialError> {
    Ok(vault(paths, "as chosen").await)
}

#[cfg(not(feature = "vault"))]
async fn chosen_vault(_: &Paths) -> Result<OpenedCredentials, CredentialError> {
    Err(lacking("vault"))
}

/// What `auto` takes where there is no keychain to use, and why there is none.
#[cfg(feature = "vault")]
async fn fallback(paths: &Paths, why: &str) -> Result<OpenedCredentials, CredentialError> {
    Ok(vault(paths, &format!("because {why}")).await)
}

#[cfg(not(feature = "vault"))]
async fn fallback(_: &Paths, why: &str) -> Result<OpenedCredentials, CredentialError> {
    Ok(memory(&format!(
        "Secrets are kept in memory and gone when this process ends, because {why}, and this build has no vault."
    )))
}

#[cfg(feature = "vault")]
async fn vault(paths: &Paths, why: &str) -> OpenedCredentials {
    let store = VaultStore::new(paths);
    let file = paths.vault();
    let existed = store.exists();
    let notice = format!("Secrets are kept in an encrypted vault ({}), {why}", file.display());
    let opened = store.open().await;
    let ignored = store.ignores_passphrase();
    let mut notice = match &opened {
        Ok(()) if existed => format!("{notice}."),
        Ok(()) => {
            let key = match &paths.passphrase {
                Some(_) => "its key is your passphrase".to_owned(),
                None => format!("its key is in {}; keep a copy", paths.key_file.display()),
            };
            format!("{notice}. It is new: {key}.")
        }
        Err(error) => format!("{notice}, but {error}."),
    };
    if ignored {
        notice.push_str(&format!(
            " The passphrase has no effect: this vault was made with the key file {}. Unset CONNECTORS_VAULT_PASSPHRASE, or \
             move the vault away to start a new one that the passphrase protects.",
            paths.key_file.display()
        ));
    }
    OpenedCredentials::new(store, opened.is_err() || ignored, notice)
}

#[cfg(not(all(feature = "keychain", feature = "vault")))]
fn lacking(store: &'static str) -> CredentialError {
    CredentialError::Unavailable {
        store,
        reason: "this build has none; choose another place with `--secrets`".to_owned(),
    }
}

#[cfg(all(test, feature = "keychain"))]
mod tests {
    use super::*;

    #[test]
    fn a_keychain_that_works_is_chosen_and_a_locked_one_where_there_is_no_vault() {
        let missing = KeychainState::Missing { reason: String::new() };
        let failing = KeychainState::Failing { reason: String::new() };
        for (state, without_vault, with_vault) in [
            (KeychainState::Working, "keychain", "keychain"),
            (KeychainState::Locked, "keychain, warned", "vault"),
            (KeychainState::Volatile, "vault", "vault"),
            (KeychainState::Unresponsive, "vault", "vault"),
            (missing, "vault", "vault"),
            (failing, "vault", "vault"),
        ] {
            let chosen = |vault_exists| match choose(&state, vault_exists) {
                Chosen::Keychain { warning: false, .. } => "keychain",
                Chosen::Keychain { warning: true, .. } => "keychain, warned",
                Chosen::Vault => "vault",
            };
            assert_eq!((chosen(false), chosen(true)), (without_vault, with_vault), "{state:?}");
        }
    }
}
