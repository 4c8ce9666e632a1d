//! Where secrets are, which of the places that is, and changing that while the program runs.

pub(crate) mod keeper;
mod marker;
mod moving;
mod switching;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use connectors_core::{CredentialError, CredentialStore, Slug, StorageError};
use secrecy::SecretString;

#[cfg(feature = "vault")]
use crate::vault::{UnlockError, VaultStore};
pub use keeper::SecretPlace;
use keeper::{Condition, Keeper};
pub use moving::Moved;
use switching::{Places, SwitchingStore};

/// What errors call the store, where they are about neither place.
const STORE: &str = "secret store";

/// Where the secrets of this state root are. Cloning is cheap; all clones are the same.
#[derive(Debug, Clone)]
pub struct Secrets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` where they are in memory.
    places: Option<Arc<Places>>,
    #[cfg(feature = "vault")]
    vault: Option<VaultStore>,
    /// The place that was asked for, where one was.
    asked_for: Option<SecretPlace>,
    /// What is said of the place that was chosen at the start, or by a move since.
    said: Mutex<Said>,
}

/// What the user is told, but for how the place is at the moment.
#[derive(Debug, Clone)]
struct Said {
    /// The place that this is about; `None` for memory.
    place: Option<SecretPlace>,
    /// Why it is this one: the end of a sentence, or nothing.
    why: String,
    /// Whole sentences.
    besides: String,
    warning: bool,
}

/// How secrets are kept, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretsStatus {
    /// `keychain`, `vault` or `memory`.
    pub kind: &'static str,
    /// Where they are, why there, and what is wrong with it, in a few sentences.
    pub notice: String,
    /// True if the user should know: the place cannot be used as it is, forgets, or does not heed the passphrase.
    pub warning: bool,
    /// True if it has to be unlocked: a vault by [`Secrets::unlock`], a keychain where the desktop does that.
    pub locked: bool,
    /// The places that [`Secrets::move_to`] can move them to now.
    pub can_move_to: Vec<SecretPlace>,
    /// What a vault's key is, `passphrase` or `key_file`; `None` where they are in no vault.
    pub vault_key: Option<&'static str>,
}

/// What cannot be done with secrets as they are kept. Nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// They are in memory.
    #[error("secrets are in memory; start without `--secrets memory` to keep them anywhere")]
    InMemory,
    /// This build has no such place.
    #[error("this build has no {0}")]
    NoSuchPlace(SecretPlace),
    /// The passphrase is not the vault's.
    #[error("this is not the vault's passphrase")]
    WrongPassphrase,
    /// The vault has a key file; a passphrase is of no use to it.
    #[error("the vault has no passphrase, but a key file")]
    NoPassphrase,
    /// They are somewhere else: a vault that nobody uses would be mistaken for theirs at a later start.
    #[error("secrets are in the {0}, not in a vault; move them there first, then set its passphrase")]
    NotInVault(SecretPlace),
    /// An empty passphrase protects nothing.
    #[error("a passphrase must not be empty")]
    EmptyPassphrase,
    /// The connectors of this state root could not be read: secrets of theirs would be taken for somebody else's.
    #[error("nothing is moved while it is not known which secrets are yours: {0}")]
    Manifest(#[from] StorageError),
    /// One of the places failed.
    #[error(transparent)]
    Store(#[from] CredentialError),
}

impl Secrets {
    /// Secrets in memory.
    pub(crate) fn in_memory(why: String) -> Self {
        let said = Said { place: None, why, besides: String::new(), warning: true };
        Self(Arc::new(Inner {
            places: None,
            #[cfg(feature = "vault")]
            vault: None,
            asked_for: None,
            said: Mutex::new(said),
        }))
    }

    /// The store for the rest of the program; `None` where secrets are in memory.
    pub(crate) fn store(&self) -> Option<Arc<dyn CredentialStore>> {
        let places = self.0.places.as_ref()?;
        Some(Arc::new(SwitchingStore(Arc::clone(places))))
    }

    /// How secrets are kept now. Asks the user nothing, and takes 3 seconds at most for a keychain that does not answer. A vault that
    /// they are to be in and that is missing is made, as at a start.
    pub async fn status(&self) -> SecretsStatus {
        let Some(places) = &self.0.places else { return self.describe(Condition::default(), None) };
        let followed = places.look().await.and_then(|place| places.keeper(place));
        let place = places.place();
        let condition = match followed {
            Ok(keeper) if keeper.exists().await => keeper.condition().await,
            // It could not be made at the start, and maybe can be now.
            Ok(keeper) => keeper.prove().await,
            Err(error) => Condition { problem: Some(error.to_string()), ..Condition::default() },
        };
        let usable = condition.problem.is_none();
        let mut status = self.describe(condition, Some(place));
        if usable && self.can_hold(place.other()).await {
            status.can_move_to.push(place.other());
        }
        #[cfg(feature = "vault")]
        if let (SecretPlace::Vault, Some(vault)) = (place, &self.0.vault) {
            status.vault_key = vault.key_source().await;
        }
        status
    }

    /// True if secrets can be moved there, as far as can be told without trying.
    async fn can_hold(&self, place: SecretPlace) -> bool {
        let Some(Ok(keeper)) = self.0.places.as_ref().map(|places| places.keeper(place)) else {
            return false;
        };
        #[cfg(feature = "vault")]
        if place == SecretPlace::Vault && !keeper.exists().await {
            // It is made when it is needed.
            return true;
        }
        keeper.condition().await.problem.is_none()
    }

    /// Puts together what is said: of the place that it is about, or of another that a process has moved the secrets to.
    fn describe(&self, condition: Condition, place: Option<SecretPlace>) -> SecretsStatus {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.place != place {
            let elsewhere = self.0.asked_for.filter(|asked_for| Some(*asked_for) != place);
            let besides = elsewhere.map_or_else(String::new, |asked_for| {
                format!(
                    "Start with `--secrets auto` from now on: `--secrets {asked_for}` would not find them."
                )
            });
            let why = ", where they were moved to".to_owned();
            *said = Said { place, why, besides, warning: elsewhere.is_some() };
        }
        let keeper = place.and_then(|place| self.0.places.as_ref()?.keeper(place).ok());
        let description = match (&keeper, place) {
            (Some(keeper), _) => keeper.description(),
            (None, Some(place)) => format!("the {place}"),
            (None, None) => "memory".to_owned(),
        };
        let mut notice = format!("Secrets are kept in {description}{}", said.why);
        match &condition.problem {
            Some(problem) => {
                notice.push_str(&format!(", but {problem}."));
                if place == Some(SecretPlace::Keychain) {
                    let remedy = match condition.locked {
                        true => " Unlock it; where nobody can, start with `--secrets vault`.",
                        false => " Start with `--secrets vault` to use an encrypted file instead.",
                    };
                    notice.push_str(remedy);
                }
            }
            None => notice.push('.'),
        }
        for sentence in [condition.remark.as_deref(), Some(said.besides.as_str())].into_iter().flatten() {
            if !sentence.is_empty() {
                notice.push(' ');
                notice.push_str(sentence);
            }
        }
        SecretsStatus {
            kind: place.map_or("memory", SecretPlace::as_str),
            notice,
            warning: said.warning || condition.warning || condition.problem.is_some(),
            locked: condition.locked,
            can_move_to: Vec::new(),
            vault_key: None,
        }
    }

    /// Moves every secret to the other place. `own` finds the connectors of this state root, those that are just being added
    /// among them: in a keychain, which is common to all of a user's state roots, secrets of others are neither overwritten nor
    /// deleted. It is asked once everyone else waits, and must not wait for a call to the store itself. Nothing is moved if it
    /// fails ([`SecretsError::Manifest`]).
    ///
    /// Every call to the store waits until it is over, in all processes on this state root, which then use the new place.
    /// Interrupted at any point it loses nothing: secrets are where they were, or in the new place, and what is left in the other
    /// is deleted at the next start. It is finished though the future is dropped.
    pub async fn move_to(
        &self,
        to: SecretPlace,
        own: impl Future<Output = Result<BTreeSet<Slug>, StorageError>> + Send + 'static,
    ) -> Result<Moved, SecretsError> {
        let places = self.0.places.as_ref().ok_or(SecretsError::InMemory)?;
        if !self.has(to) {
            return Err(SecretsError::NoSuchPlace(to));
        }
        moving::move_all(places, to, own).await
    }

    fn has(&self, place: SecretPlace) -> bool {
        match place {
            SecretPlace::Keychain => cfg!(feature = "keychain"),
            SecretPlace::Vault => cfg!(feature = "vault"),
        }
    }

    /// Opens a vault that is protected by a passphrase, for the rest of this process's life.
    pub async fn unlock(&self, passphrase: SecretString) -> Result<(), SecretsError> {
        #[cfg(feature = "vault")]
        if let Some(vault) = &self.0.vault {
            return vault.unlock(passphrase).await.map_err(|error| match error {
                UnlockError::WrongPassphrase => SecretsError::WrongPassphrase,
                UnlockError::NoPassphrase => SecretsError::NoPassphrase,
                UnlockError::Store(error) => SecretsError::Store(error),
            });
        }
        drop(passphrase);
        Err(self.no_vault())
    }

    /// Encrypts the vault that secrets are in anew: under a passphrase, or, with none, under its key file. See
    /// [`VaultStore::set_passphrase`](crate::VaultStore::set_passphrase). No move begins meanwhile.
    pub async fn set_passphrase(&self, passphrase: Option<SecretString>) -> Result<(), SecretsError> {
        use secrecy::ExposeSecret;
        if passphrase.as_ref().is_some_and(|passphrase| passphrase.expose_secret().is_empty()) {
            return Err(SecretsError::EmptyPassphrase);
        }
        #[cfg(feature = "vault")]
        if let (Some(places), Some(vault)) = (&self.0.places, &self.0.vault) {
            let (place, _held) = places.enter(switching::Purpose::Write).await?;
            return match place {
                SecretPlace::Vault => Ok(vault.set_passphrase(passphrase).await?),
                place @ SecretPlace::Keychain => Err(SecretsError::NotInVault(place)),
            };
        }
        Err(self.no_vault())
    }

    fn no_vault(&self) -> SecretsError {
        match &self.0.places {
            Some(_) => SecretsError::NoSuchPlace(SecretPlace::Vault),
            None => SecretsError::InMemory,
        }
    }
}

/// Why secrets are kept where they are.
#[derive(Debug, Default)]
pub(crate) struct Reason {
    /// The end of a sentence, or nothing.
    pub(crate) why: String,
    /// Whole sentences.
    pub(crate) besides: String,
    pub(crate) warning: bool,
    /// True if this place was asked for.
    pub(crate) asked_for: bool,
}

/// Puts the places together for a start.
pub(crate) struct Opening {
    places: Arc<Places>,
    #[cfg(feature = "vault")]
    vault: VaultStore,
}

impl Opening {
    /// `make` opens a place when it is first needed.
    pub(crate) fn new(
        state_root: &Path,
        #[cfg(feature = "vault")] vault: VaultStore,
        make: impl Fn(SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            places: Arc::new(Places::new(state_root, make)),
            #[cfg(feature = "vault")]
            vault,
        }
    }

    pub(crate) fn keeper(&self, place: SecretPlace) -> Result<Arc<dyn Keeper>, CredentialError> {
        self.places.keeper(place)
    }

    /// Where secrets were moved to, if they were.
    pub(crate) async fn moved_to(&self) -> Result<Option<SecretPlace>, CredentialError> {
        let marker = self.places.read_first().await?;
        Ok(marker.filter(|marker| marker.moves > 0).map(|marker| marker.kept_in))
    }

    /// True if the vault holds secrets, or cannot be read.
    #[cfg(feature = "vault")]
    pub(crate) async fn vault_holds_secrets(&self) -> bool {
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || vault.holds_secrets()).await.unwrap_or(true)
    }

    /// True if the vault holds secrets, other than the copies of a move there that was begun and did not come to be.
    #[cfg(all(feature = "keychain", feature = "vault"))]
    pub(crate) async fn vault_counts(&self) -> bool {
        // A record that cannot be read is told with the place.
        let marker = self.places.read_first().await.ok().flatten();
        let copies = marker.filter(|marker| marker.moves == 0).and_then(|marker| marker.leftover);
        copies.is_none_or(|copies| copies.place != SecretPlace::Vault) && self.vault_holds_secrets().await
    }

    /// Settles on a place, and tells how it is. `proven` is what it was found to be, if it has just been asked.
    pub(crate) async fn settle(
        self,
        place: SecretPlace,
        reason: Reason,
        proven: Option<Condition>,
    ) -> Result<(Secrets, SecretsStatus), CredentialError> {
        let marker = self.places.read_first().await;
        let moves = marker.as_ref().ok().and_then(Option::as_ref).map_or(0, |marker| marker.moves);
        self.places.settle(place, moves);
        let condition = match (marker, proven) {
            (Ok(_), Some(proven)) => proven,
            (Ok(_), None) => self.keeper(place)?.prove().await,
            (Err(error), _) => Condition { problem: Some(error.to_string()), ..Condition::default() },
        };
        if condition.problem.is_none() {
            moving::finish_at_start(&self.places).await;
        }
        let secrets = Secrets(Arc::new(Inner {
            places: Some(self.places),
            #[cfg(feature = "vault")]
            vault: Some(self.vault),
            asked_for: reason.asked_for.then_some(place),
            said: Mutex::new(Said {
                place: Some(place),
                why: reason.why,
                besides: reason.besides,
                warning: reason.warning,
            }),
        }));
        let status = secrets.describe(condition, Some(place));
        Ok((secrets, status))
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("places", &self.places).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
