//! The end of a grant.

use std::sync::Arc;

use connectors_core::{CredentialError, CredentialKey};

use super::{Inner, Session, State, is_same};
use crate::client_auth::ClientAuth;
use crate::endpoint;
use crate::record::TokenRecord;
use crate::revoke::{Revocation, note_not_offered};

impl Session {
    /// Deletes the tokens, then revokes them at the server where it offers that, bounded in time.
    ///
    /// Waits for a refresh under way, so that its tokens are revoked as well. Deleted first: whatever the server does, nobody uses
    /// them any more. *Errors.* They could not be deleted; they may be revoked all the same.
    pub(crate) async fn sign_out(&self) -> Result<(), CredentialError> {
        let inner = &self.inner;
        let slug = &inner.exchange.slug;
        // Where it is not to be had, the tokens go nevertheless: a refresh does not bring back what is gone.
        let exclusive = inner.store.exclusive(slug).await.ok();
        let record = inner.last_known().await;
        inner.unsaved.forget(slug);
        let client = match &record {
            Some(record) => inner.client(record).await.ok(),
            None => None,
        };
        let deleted = inner.store.delete(&inner.key()).await;
        let key = CredentialKey::of_sign_in(slug, "dpop_key");
        let deleted = deleted.and(inner.store.delete(&key).await);
        inner.state.store(Arc::new(State::Empty));
        inner.clear_failure();
        drop(exclusive);
        if let (Some(record), Some(client)) = (record, client) {
            inner.revoke_as(&record, &client).await;
        }
        deleted
    }
}

impl Inner {
    /// The newest tokens that there are, wherever they are.
    async fn last_known(&self) -> Option<TokenRecord> {
        let held = match &**self.state.load() {
            State::Held(held) => Some(Arc::clone(held)),
            _ => None,
        };
        let Ok(Some(stored)) = self.store.get(&self.key()).await else {
            return held.map(|held| held.record.clone());
        };
        if let Some(unsaved) = self.unsaved.newer_than(&self.exchange.slug, &stored) {
            return Some(unsaved);
        }
        match held {
            Some(held) if is_same(&held.stored, &stored) => Some(held.record.clone()),
            _ => self.parse(&stored).ok(),
        }
    }

    /// Revokes tokens as the client that they were given to.
    pub(super) async fn revoke(&self, record: &TokenRecord) {
        if let Ok(client) = self.client(record).await {
            self.revoke_as(record, &client).await;
        }
    }

    async fn revoke_as(&self, record: &TokenRecord, client: &ClientAuth) {
        let provenance = &record.provenance;
        let endpoint = provenance.revocation_endpoint.as_deref().map(endpoint::checked);
        let Some(Ok(endpoint)) = endpoint else { return note_not_offered(&self.exchange) };
        let audience = provenance.issuer.as_deref().unwrap_or(endpoint.as_str());
        let revocation = Revocation { endpoint: &endpoint, audience, client };
        // Recorded there; there is nothing else to be done about it.
        let _ = revocation.revoke(&self.exchange, record.refresh_token.as_ref(), &record.access_token).await;
    }
}
