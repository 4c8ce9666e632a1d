//! Choosing where secrets are kept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use connectors_core::{ConfigStore, CredentialError, CredentialStore, MemoryCredentialStore};

#[cfg(feature = "keychain")]
use crate::keychain::KeychainStore;
use crate::manifest::ManifestStore;
use crate::paths::Paths;
use crate::secrets::keeper::{Condition, Keeper};
use crate::secrets::{Opening, Reason, SecretPlace, Secrets};
#[cfg(feature = "vault")]
use crate::vault::VaultStore;

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
    /// For moving and unlocking them later.
    pub secrets: Secrets,
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

/// Opens the store that `choice` names.
///
/// A store that exists and cannot be used for now (a locked keychain, a vault whose key is missing) is opened all the
/// same, with a warning: its calls fail with the reason until that is put right, and connectors without secrets work.
/// `auto` takes the place that secrets were moved to, if they were. Otherwise it takes a keychain that works or waits to be
/// unlocked, else a vault, which it creates if there is none. It never keeps secrets unencrypted on disk. Takes 3 seconds at
/// most for a keychain that does not answer, and no noticeable time where there is none.
///
/// What is chosen here is not chosen again: while the process runs, only a move changes where secrets are.
///
/// Fails if this build has no such store, or the process can start no thread.
pub async fn open_credentials(
    choice: SecretsChoice,
    paths: &Paths,
) -> Result<OpenedCredentials, CredentialError> {
    let opening = opening(paths);
    match choice {
        SecretsChoice::Auto => auto(opening, &ManifestStore::new(paths.manifest())).await,
        SecretsChoice::Keychain => chosen(opening, SecretPlace::Keychain).await,
        SecretsChoice::Vault => chosen(opening, SecretPlace::Vault).await,
        SecretsChoice::Memory => Ok(memory(", as chosen: they are gone when this process ends")),
    }
}

fn memory(why: &str) -> OpenedCredentials {
    let notice = format!("Secrets are kept in memory{why}.");
    let secrets = Secrets::in_memory(why.to_owned());
    OpenedCredentials { store: Arc::new(MemoryCredentialStore::default()), notice, warning: true, secrets }
}

fn opening(paths: &Paths) -> Opening {
    #[cfg(feature = "vault")]
    let vault = VaultStore::new(paths);
    #[cfg(feature = "vault")]
    let made = vault.clone();
    #[cfg(feature = "keychain")]
    let state_root = paths.state_root.clone();
    let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
        match place {
            #[cfg(feature = "keychain")]
            SecretPlace::Keychain => Ok(Arc::new(KeychainStore::new(&state_root)?)),
            #[cfg(feature = "vault")]
            SecretPlace::Vault => Ok(Arc::new(made.clone())),
            #[cfg(not(all(feature = "keychain", feature = "vault")))]
            place => Err(lacking(place)),
        }
    };
    Opening::new(
        &paths.state_root,
        #[cfg(feature = "vault")]
        vault,
        make,
    )
}

async fn chosen(opening: Opening, place: SecretPlace) -> Result<OpenedCredentials, CredentialError> {
    // A damaged record of moves is told with the place.
    let elsewhere = opening.moved_to().await.ok().flatten().filter(|moved_to| *moved_to != place);
    let besides = elsewhere.map_or_else(String::new, |moved_to| {
        format!("They were last moved to the {moved_to}: start with `--secrets auto` to use those.")
    });
    let reason =
        Reason { why: ", as chosen".to_owned(), besides, warning: elsewhere.is_some(), asked_for: true };
    settle(opening, place, reason, None).await
}

/// `proven` is how the place was found to be, if it has just been asked.
async fn settle(
    opening: Opening,
    place: SecretPlace,
    reason: Reason,
    proven: Option<Condition>,
) -> Result<OpenedCredentials, CredentialError> {
    let (secrets, status) = opening.settle(place, reason, proven).await?;
    let store = secrets.store().unwrap_or_else(|| Arc::new(MemoryCredentialStore::default()));
    Ok(OpenedCredentials { store, notice: status.notice, warning: status.warning, secrets })
}

/// `config` names the secrets that ought to be somewhere.
pub(crate) async fn auto(
    opening: Opening,
    config: &impl ConfigStore,
) -> Result<OpenedCredentials, CredentialError> {
    match opening.moved_to().await {
        Ok(Some(place)) if opening.keeper(place).is_ok() => {
            let reason = Reason { why: ", where they were moved to".to_owned(), ..Reason::default() };
            settle(opening, place, reason, None).await
        }
        _ => choose_between(opening, config).await,
    }
}

#[cfg(feature = "keychain")]
async fn choose_between(
    opening: Opening,
    config: &impl ConfigStore,
) -> Result<OpenedCredentials, CredentialError> {
    let keychain = opening.keeper(SecretPlace::Keychain)?.prove().await;
    match choose(&keychain, vault_counts(&opening).await) {
        Chosen::Keychain(besides) => {
            let reason =
                Reason { besides: besides.to_owned(), warning: !besides.is_empty(), ..Reason::default() };
            settle(opening, SecretPlace::Keychain, reason, Some(keychain)).await
        }
        Chosen::Vault(why) => fallback(opening, &why, config).await,
    }
}

#[cfg(not(feature = "keychain"))]
async fn choose_between(
    opening: Opening,
    config: &impl ConfigStore,
) -> Result<OpenedCredentials, CredentialError> {
    fallback(opening, "this build has no keychain", config).await
}

/// What `auto` comes to.
#[cfg(feature = "keychain")]
#[derive(Debug, PartialEq, Eq)]
enum Chosen {
    /// With what the user should know besides.
    Keychain(&'static str),
    /// With what is wrong with the keychain.
    Vault(String),
}

#[cfg(feature = "keychain")]
fn choose(keychain: &Condition, vault_counts: bool) -> Chosen {
    match (&keychain.problem, vault_counts) {
        (None, true) => Chosen::Keychain(
            "There is a vault with secrets too, which is not used; start with `--secrets vault` to use it.",
        ),
        (None, false) => Chosen::Keychain(""),
        // A new vault would make the secrets in a locked keychain look lost, and split them over two places.
        (Some(_), false) if keychain.locked => Chosen::Keychain(""),
        (Some(problem), _) => Chosen::Vault(problem.clone()),
    }
}

#[cfg(all(feature = "keychain", feature = "vault"))]
async fn vault_counts(opening: &Opening) -> bool {
    opening.vault_counts().await
}

#[cfg(all(feature = "keychain", not(feature = "vault")))]
async fn vault_counts(_: &Opening) -> bool {
    false
}

/// What `auto` takes where there is no keychain to use, and why there is none.
#[cfg(feature = "vault")]
async fn fallback(
    opening: Opening,
    why: &str,
    config: &impl ConfigStore,
) -> Result<OpenedCredentials, CredentialError> {
    let mut reason = Reason { why: format!(", because {why}"), ..Reason::default() };
    if !opening.vault_holds_secrets().await && names_secrets(config).await {
        // They were written at a start that found a keychain.
        reason.besides = "The vault holds none of the secrets that connectors.json names: they may be in the keychain. Start \
                          where that can be reached, or with `--secrets keychain`, to use them."
            .to_owned();
        reason.warning = true;
    }
    settle(opening, SecretPlace::Vault, reason, None).await
}

/// True if secrets were kept for one of the connectors. What is wrong with a manifest that cannot be read is told elsewhere.
#[cfg(feature = "vault")]
async fn names_secrets(config: &impl ConfigStore) -> bool {
    let names = |definition: &connectors_core::ConnectorDefinition| {
        let secret_env = definition.stdio.as_ref().is_some_and(|stdio| !stdio.secret_env.is_empty());
        secret_env || !definition.secret_headers.is_empty() || definition.oauth.is_some()
    };
    config.load().await.is_ok_and(|definitions| definitions.iter().any(names))
}

#[cfg(not(feature = "vault"))]
async fn fallback(_: Opening, why: &str, _: &impl ConfigStore) -> Result<OpenedCredentials, CredentialError> {
    Ok(memory(&format!(" and gone when this process ends, because {why}, and this build has no vault")))
}

#[cfg(not(all(feature = "keychain", feature = "vault")))]
fn lacking(place: SecretPlace) -> CredentialError {
    CredentialError::Unavailable {
        store: place.as_str(),
        reason: "this build has none; choose another place with `--secrets`".to_owned(),
    }
}

#[cfg(all(test, feature = "keychain"))]
mod tests {
    use super::*;
    use crate::keychain::KeychainState;

    #[test]
    fn a_keychain_that_works_is_chosen_and_a_locked_one_where_there_is_no_vault() {
        let missing = KeychainState::Missing { reason: String::new() };
        let failing = KeychainState::Failing { reason: String::new() };
        for (state, without_vault, with_vault) in [
            (KeychainState::Working, "keychain", "keychain"),
            (KeychainState::Locked, "keychain", "vault"),
            (KeychainState::Volatile, "vault", "vault"),
            (KeychainState::Unresponsive, "vault", "vault"),
            (missing, "vault", "vault"),
            (failing, "vault", "vault"),
        ] {
            let keychain = Condition::from(state.clone());
            let chosen = |vault_counts| match choose(&keychain, vault_counts) {
                Chosen::Keychain(_) => "keychain",
                Chosen::Vault(why) => {
                    assert_eq!(why, state.to_string());
                    "vault"
                }
            };
            assert_eq!((chosen(false), chosen(true)), (without_vault, with_vault), "{state:?}");
        }
    }

    #[cfg(feature = "vault")]
    #[tokio::test]
    async fn a_vault_that_holds_nothing_or_only_the_copies_of_a_move_that_was_begun_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path().join("state"), folder.path().join("vault.key"));
        assert!(!vault_counts(&opening(&paths)).await);
        let vault = VaultStore::new(&paths);
        vault.open().await.unwrap();
        assert!(!vault_counts(&opening(&paths)).await);
        let key = connectors_core::CredentialKey::tokens(&connectors_core::Slug::verbatim("a"));
        vault.put(&key, &"value".into()).await.unwrap();
        assert!(vault_counts(&opening(&paths)).await);

        for (marker, counts) in [
            (r#""kept_in":"keychain","moves":0,"leftover":{"place":"vault","accounts":[]}"#, false),
            (r#""kept_in":"keychain","moves":2,"leftover":{"place":"vault","accounts":[]}"#, true),
            (r#""kept_in":"vault","moves":0,"leftover":{"place":"keychain","accounts":[]}"#, true),
        ] {
            std::fs::write(paths.state_root.join("secrets.json"), format!("{{\"version\":1,{marker}}}"))
                .unwrap();
            assert_eq!(vault_counts(&opening(&paths)).await, counts, "{marker}");
        }
        // What cannot be read may hold something.
        std::fs::remove_file(paths.state_root.join("secrets.json")).unwrap();
        std::fs::write(vault.path(), "{\"format\":").unwrap();
        assert!(vault_counts(&opening(&paths)).await);
    }
}
