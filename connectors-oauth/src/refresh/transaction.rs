//! The refresh, from the lock to the new tokens.

use std::sync::Arc;
use std::time::Duration;

use connectors_core::trace::{Step, StepOutcome};
use connectors_core::{CredentialKey, TraceStep};

use super::held::Freshness;
use super::{HeldTokens, Inner, Outcome, Purpose, RefreshError, State, is_same};
use crate::client_auth::{AuthMethod, ClientAuth};
use crate::endpoint;
use crate::grants::{self, Offer};
use crate::record::{Provenance, TokenRecord};
use crate::token::{GrantRequest, TokenServer, Tokens, request_tokens};

/// Before the store is looked into for the last time, when a refresh token has been refused: a process that does not keep to the
/// lock may be about to write its successor.
const LAST_LOOK: Duration = Duration::from_secs(1);

impl Purpose {
    /// True where tokens are good enough for it.
    fn is_met_by(&self, held: &HeldTokens, freshness: Freshness) -> bool {
        match self {
            Self::Read | Self::Reload => true,
            Self::Early => freshness == Freshness::Fresh,
            Self::Expired => freshness != Freshness::Expired,
            Self::Refused(token) => {
                freshness != Freshness::Expired && !is_same(&held.record.access_token, token)
            }
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            Self::Read | Self::Reload => "on demand",
            Self::Early => "ahead of time",
            Self::Expired => "after its end",
            Self::Refused(_) => "after a refusal",
        }
    }
}

impl Inner {
    /// Brings tokens that serve a purpose: another process's, or the server's.
    pub(super) async fn renew(self: &Arc<Self>, purpose: &Purpose) -> Outcome {
        let outcome = self.transact(purpose).await;
        self.exchange.note(match &outcome {
            Ok(how) => TraceStep::new(Step::Refresh, StepOutcome::Passed, how.code())
                .expecting("tokens that are good for a while")
                .seeing(format!("renewed {}: {}", purpose.as_str(), how.summary())),
            Err(error) => error.step(format!("renewal {}: {error}", purpose.as_str())),
        });
        outcome.map(drop)
    }

    async fn transact(self: &Arc<Self>, purpose: &Purpose) -> Result<How, RefreshError> {
        let _exclusive = match self.store.exclusive(&self.exchange.slug).await {
            Ok(exclusive) => exclusive,
            // Whoever has kept it for so long may have been successful.
            Err(error) => {
                let state = self.read(false).await?;
                return self.adopted(&state, purpose).ok_or_else(|| error.into());
            }
        };
        let mut basis = self.read(false).await?;
        let mut is_last = false;
        loop {
            if let Some(how) = self.adopted(&basis, purpose) {
                return Ok(how);
            }
            let State::Held(held) = &*basis else { return Err(RefreshError::NotSignedIn) };
            // For others who have waited for the same tokens, the answer is known.
            if let Some(lost) = held.lost() {
                return Err(lost);
            }
            // By when the server's counting begins at the latest.
            let now = self.clock.now();
            match self.request(held).await {
                Ok(tokens) => {
                    let summary = tokens.summary();
                    let record = held.record.renewed(tokens, now);
                    self.keep(&basis, held, record).await?;
                    return Ok(How::Received(summary));
                }
                Err(error) if error.wants_sign_in() => {
                    let Some(changed) = self.changed_since(&basis, &error).await else {
                        held.lose(&error);
                        return Err(error);
                    };
                    if is_last {
                        return Err(error);
                    }
                    (basis, is_last) = (changed, true);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn adopted(&self, state: &State, purpose: &Purpose) -> Option<How> {
        let State::Held(held) = state else { return None };
        let is_met = purpose.is_met_by(held, held.freshness(&self.clock));
        is_met.then_some(How::Adopted)
    }

    /// What is in the store after a refusal, where that is not what was refused. Nothing is ever deleted: it may be somebody
    /// else's, just written.
    async fn changed_since(&self, basis: &Arc<State>, error: &RefreshError) -> Option<Arc<State>> {
        let pauses = [Duration::ZERO, LAST_LOOK];
        // Only what a server has refused may have a successor.
        let looks = if matches!(error, RefreshError::Refused(_)) { 2 } else { 1 };
        for pause in &pauses[..looks] {
            tokio::time::sleep(*pause).await;
            match self.read(false).await {
                Ok(state) if !Arc::ptr_eq(&state, basis) => return Some(state),
                _ => {}
            }
        }
        None
    }

    /// Asks the server: with the refresh token, else by the grant that needs no user.
    async fn request(&self, held: &HeldTokens) -> Result<Tokens, RefreshError> {
        let provenance = &held.record.provenance;
        let grant = provenance.grant.as_ref();
        if !held.is_renewable() {
            return Err(RefreshError::NotRenewable);
        }
        let server = provenance.token_server()?;
        let client = self.client(&held.record).await?;
        let (resource, dpop) = (provenance.resource.as_deref(), held.dpop.as_deref());
        if let Some(token) = &held.record.refresh_token {
            let request = GrantRequest::RefreshToken {
                token: token.clone(),
                access_token: held.record.access_token.clone(),
            };
            let outcome =
                request_tokens(&self.exchange, &server, &client, &request, resource, &[], dpop).await;
            match outcome {
                Err(error) if grant.is_some() && !error.is_transient() => {}
                outcome => return Ok(outcome?),
            }
        }
        let Some(kind) = grant else { return Err(RefreshError::NotRenewable) };
        let offer = Offer::load(&*self.store, &self.exchange.slug, kind).await?;
        let scopes = &provenance.scope;
        Ok(grants::obtain(&self.exchange, &server, &client, &offer, resource, scopes, dpop).await?)
    }

    /// The client that tokens were given to, with what it proves itself with.
    pub(super) async fn client(&self, record: &TokenRecord) -> Result<ClientAuth, RefreshError> {
        let provenance = &record.provenance;
        let id = provenance.client_id.clone().ok_or(RefreshError::Incomplete)?;
        let method = provenance.auth_method.unwrap_or(AuthMethod::None);
        let slug = &self.exchange.slug;
        let mut client = ClientAuth { method, ..ClientAuth::public(id) };
        if method.needs_secret() {
            client.secret = self.store.get(&CredentialKey::client_secret(slug)).await?;
        }
        if matches!(method, AuthMethod::PrivateKeyJwt { .. }) {
            client.private_key = self.store.get(&CredentialKey::of_sign_in(slug, "private_key")).await?;
        }
        Ok(client)
    }
}

impl Provenance {
    /// Where tokens are renewed.
    pub(super) fn token_server(&self) -> Result<TokenServer, RefreshError> {
        let endpoint = self.token_endpoint.as_deref().ok_or(RefreshError::Incomplete)?;
        let endpoint = endpoint::checked(endpoint).map_err(RefreshError::BadEndpoint)?;
        Ok(TokenServer { endpoint, issuer: self.issuer.clone() })
    }
}

/// Where new tokens came from.
enum How {
    Received(String),
    Adopted,
}

impl How {
    fn code(&self) -> &'static str {
        match self {
            Self::Received(_) => "tokens_received",
            Self::Adopted => "tokens_adopted",
        }
    }

    fn summary(&self) -> &str {
        match self {
            Self::Received(summary) => summary,
            Self::Adopted => "another connection or process has done it",
        }
    }
}
