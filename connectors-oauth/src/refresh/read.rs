//! From the store into use.

use std::sync::Arc;

use connectors_core::CredentialKey;
use secrecy::SecretString;
use url::Url;

use super::{HeldTokens, Inner, Outcome, ROUNDS, RefreshError, State, is_same};
use crate::dpop::{DpopError, DpopKey};
use crate::record::TokenRecord;
use crate::token::TokenType;

impl Inner {
    /// Reads the store for its own sake. A failure is recorded.
    pub(super) async fn look(&self, anew: bool) -> Outcome {
        let outcome = self.read(anew).await.map(drop);
        if let Err(error) = &outcome {
            self.exchange.note(error.step(error.to_string()));
        }
        outcome
    }

    /// Takes what is in the store into use, and returns what is then in use. Tokens that have not changed stay the same, with
    /// what is known of them, unless `anew`.
    pub(super) async fn read(&self, anew: bool) -> Result<Arc<State>, RefreshError> {
        for _ in 0..ROUNDS {
            // What somebody puts there while the store is read is newer than what is read.
            let basis = self.state.load_full();
            let Some(stored) = self.store.get(&self.key()).await? else {
                self.unsaved.forget(&self.exchange.slug);
                if self.replace(&basis, State::Empty) {
                    break;
                }
                continue;
            };
            let unsaved = self.unsaved.newer_than(&self.exchange.slug, &stored);
            if !anew && basis.stands_for(&stored, unsaved.as_ref()) {
                return Ok(basis);
            }
            let (stored, record) = match unsaved {
                Some(record) => (stored, record),
                None => {
                    let record = self.parse(&stored)?;
                    let Some(stored) = self.bind(stored).await? else { continue };
                    (stored, record)
                }
            };
            let dpop = self.key_of(&record, &basis).await?;
            let held = HeldTokens::new(record, dpop, stored, &self.clock);
            if self.replace(&basis, State::Held(Arc::new(held))) {
                break;
            }
        }
        Ok(self.state.load_full())
    }

    /// Reads a stored value, and makes sure that it is meant for this server.
    pub(super) fn parse(&self, stored: &SecretString) -> Result<TokenRecord, RefreshError> {
        let mut record = TokenRecord::parse(stored)?;
        if let Some(settings) = &self.settings {
            record.complete(settings);
        }
        let is_in_manifest =
            self.settings.as_ref().is_some_and(|settings| !settings.token_endpoint.is_empty());
        if record.provenance.resource_server.is_none() && !is_in_manifest {
            // Where car-connectors has signed in, the manifest says so: these are left of an earlier connector of this name.
            return Err(RefreshError::NotSignedIn);
        }
        let server = self.exchange.server.origin().ascii_serialization();
        let issued_for = record.provenance.resource_server.take().unwrap_or_else(|| self.issued_for(&record));
        if issued_for != server {
            return Err(RefreshError::OtherServer { issued_for, server });
        }
        record.provenance.resource_server = Some(issued_for);
        Ok(record)
    }

    /// The server that tokens of car-connectors are for, which does not say so: that of the resource that they were asked for, else
    /// the one that is first seen with them.
    fn issued_for(&self, record: &TokenRecord) -> String {
        let resource = record.provenance.resource.as_deref().and_then(|resource| Url::parse(resource).ok());
        let elsewhere = resource.filter(|url| url.origin().is_tuple() && !self.exchange.leads_to(url));
        elsewhere.as_ref().unwrap_or(&self.exchange.server).origin().ascii_serialization()
    }

    /// Notes in what car-connectors stored which server it is for: it is not shown to another one that the connector leads to
    /// later. Returns what is stored now; `None` where somebody else has written meanwhile.
    async fn bind(&self, stored: SecretString) -> Result<Option<SecretString>, RefreshError> {
        let mut record = TokenRecord::parse(&stored)?;
        if record.provenance.resource_server.is_some() {
            return Ok(Some(stored));
        }
        record.provenance.resource_server = Some(self.exchange.server.origin().ascii_serialization());
        let bound = record.to_secret()?;
        match self.store.compare_and_swap(&self.key(), Some(&stored), &bound).await {
            Ok(true) => Ok(Some(bound)),
            Ok(false) => Ok(None),
            Err(error) => {
                // They are for this server all the same; the next connection notes it.
                tracing::warn!(slug = %self.exchange.slug, %error, "whom tokens are for could not be noted");
                Ok(Some(stored))
            }
        }
    }

    /// The key that tokens are bound to: the one in use where it is the same, for it knows the servers' nonces.
    async fn key_of(
        &self,
        record: &TokenRecord,
        basis: &State,
    ) -> Result<Option<Arc<DpopKey>>, RefreshError> {
        if record.token_type != TokenType::Dpop {
            return Ok(None);
        }
        let name = CredentialKey::of_sign_in(&self.exchange.slug, "dpop_key");
        let pem = self.store.get(&name).await?.ok_or(DpopError::Missing)?;
        if let State::Held(held) = basis
            && let Some(key) = &held.dpop
            && is_same(key.pem(), &pem)
        {
            return Ok(Some(Arc::clone(key)));
        }
        Ok(Some(Arc::new(DpopKey::from_pem(pem)?)))
    }
}

impl State {
    /// True where these are the tokens of a stored value, or the newer ones that could not be written.
    fn stands_for(&self, stored: &SecretString, unsaved: Option<&TokenRecord>) -> bool {
        match self {
            Self::Held(held) => {
                is_same(&held.stored, stored)
                    && unsaved.is_none_or(|record| is_same(&record.access_token, &held.record.access_token))
            }
            Self::Unread | Self::Empty => false,
        }
    }
}
