//! From the server into the store, and only then into use.

use std::sync::Arc;
use std::time::Duration;

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{CredentialError, TraceStep};
use secrecy::SecretString;

use super::{HeldTokens, Inner, Outcome, RefreshError, State, is_same};
use crate::record::TokenRecord;

/// Before each further attempt to write.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(2)];

/// What became of an attempt to write.
enum Written {
    Yes,
    /// The entry is gone: signed out, or removed.
    Gone,
    /// Somebody has written another grant there.
    Superseded,
    /// It could not be written over this value.
    No(CredentialError, SecretString),
}

impl Inner {
    /// Writes new tokens over those that they were obtained with, and takes them into use.
    ///
    /// What has been removed is not brought back, and another grant is not overwritten. Where the store does not take them,
    /// they are used all the same, and written later: the old ones are worth nothing any more.
    pub(super) async fn keep(
        self: &Arc<Self>,
        basis: &Arc<State>,
        old: &HeldTokens,
        record: TokenRecord,
    ) -> Outcome {
        let new = record.to_secret()?;
        let stored = match self.write(old, &new).await {
            Written::Yes => {
                self.unsaved.forget(&self.exchange.slug);
                new
            }
            Written::Gone => {
                self.unsaved.forget(&self.exchange.slug);
                self.replace(basis, State::Empty);
                self.give_back(record);
                return Err(RefreshError::NotSignedIn);
            }
            Written::Superseded => {
                self.unsaved.forget(&self.exchange.slug);
                return self.read(false).await.map(drop);
            }
            Written::No(error, stored) => {
                self.exchange.note(
                    TraceStep::new(Step::Refresh, StepOutcome::Failed, "tokens_not_saved")
                        .expecting("the credential store to take the new tokens")
                        .seeing(format!("{error}; they are used, and written later"))
                        .remedied_by(
                            "unlock the credential store before this program ends, or you have to sign in again",
                        ),
                );
                self.unsaved.keep(&self.exchange, &self.store, &stored, new, record.clone());
                stored
            }
        };
        let mut held = HeldTokens::new(record, old.dpop.clone(), stored, &self.clock);
        held.is_received = true;
        if !self.replace(basis, State::Held(Arc::new(held))) {
            // Something else has been taken into use meanwhile: what is in the store decides.
            self.read(false).await?;
        }
        Ok(())
    }

    async fn write(&self, old: &HeldTokens, new: &SecretString) -> Written {
        let key = self.key();
        let mut expected = old.stored.clone();
        let mut pauses = PAUSES.into_iter();
        loop {
            let attempt = match self.store.compare_and_swap(&key, Some(&expected), new).await {
                Ok(true) => return Written::Yes,
                Ok(false) => self.store.get(&key).await,
                Err(error) => Err(error),
            };
            let error = match attempt {
                Ok(None) => return Written::Gone,
                // An attempt that was taken for a failure.
                Ok(Some(found)) if is_same(&found, new) => return Written::Yes,
                // Written by somebody who does not keep to the lock, but still the grant that has just been renewed.
                Ok(Some(found)) if self.is_spent(&found, old) => {
                    expected = found;
                    None
                }
                Ok(Some(_)) => return Written::Superseded,
                Err(error) => Some(error),
            };
            match (pauses.next(), error) {
                (Some(pause), Some(_)) => tokio::time::sleep(pause).await,
                (Some(_), None) => {}
                (None, Some(error)) => return Written::No(error, expected),
                (None, None) => return Written::Superseded,
            }
        }
    }

    /// True where a stored value holds the refresh token that has just been used.
    fn is_spent(&self, stored: &SecretString, old: &HeldTokens) -> bool {
        match (self.parse(stored).map(|record| record.refresh_token), &old.record.refresh_token) {
            (Ok(Some(found)), Some(used)) => is_same(&found, used),
            _ => false,
        }
    }

    /// Revokes tokens that nobody wants any more. Nobody waits for it.
    fn give_back(self: &Arc<Self>, record: TokenRecord) {
        let inner = Arc::clone(self);
        tokio::spawn(async move { inner.revoke(&record).await });
    }
}
