//! A keychain as a place that secrets are moved to and from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::{CredentialError, CredentialKey};

use super::probe::{self, KeychainState};
use super::{KeychainStore, parsed};
use crate::secrets::keeper::{Condition, Keeper};

/// How long a start, or somebody who asks how things are, is held up by a keychain that does not answer.
const LIMIT: Duration = Duration::from_secs(3);

impl KeychainStore {
    /// As [`probe`](Self::probe), but writes nothing: what does not keep what it is given is not noticed.
    pub async fn look(&self, limit: Duration) -> KeychainState {
        let backend = Arc::clone(&self.backend);
        self.state(limit, move |deadline| probe::look(&*backend, deadline)).await
    }
}

#[async_trait]
impl Keeper for KeychainStore {
    fn description(&self) -> String {
        "the keychain of this computer".to_owned()
    }

    async fn condition(&self) -> Condition {
        self.look(LIMIT).await.into()
    }

    async fn prove(&self) -> Condition {
        self.probe(LIMIT).await.into()
    }

    async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        Ok(parsed(&self.accounts(CredentialKey::ACCOUNT_PREFIX.to_owned()).await?))
    }

    fn is_common(&self) -> bool {
        true
    }
}

impl From<KeychainState> for Condition {
    fn from(state: KeychainState) -> Self {
        Self {
            locked: state == KeychainState::Locked,
            problem: (state != KeychainState::Working).then(|| state.to_string()),
            ..Self::default()
        }
    }
}
