//! One connector's sign-in: the authorizer of its requests, and the user's way to new tokens.

mod begin;
mod complete;
mod demand;
mod obtain;
mod probe;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use connectors_core::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use connectors_core::sign_in::{Grant, SignIn, SignInCallback, SignInRequest, SignInStarted, SignInTarget};
use connectors_core::{ConnectorError, OAuthSettings, Slug};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use self::demand::Demand;
use crate::challenge::{self, Wanted};
use crate::dpop::DpopKey;
use crate::error::{OAuthError, flow_step};
use crate::exchange::Exchange;
use crate::flow::Bond;
use crate::metadata::ServerMetadata;
use crate::provider::Host;
use crate::record::Provenance;
use crate::refresh::{HeldTokens, RefreshError, Refreshed, Session};
use crate::registration::Client;
use crate::token::{TokenServer, TokenType};

/// Sign-ins of one connector that may be open at once: a user who begins again leaves the one before.
const OPEN: usize = 8;

/// The sign-in of one connector, for one connection. Cloning is cheap; clones are the same.
#[derive(Clone)]
pub(crate) struct OAuthSignIn {
    host: Arc<Host>,
    target: SignInTarget,
    exchange: Exchange,
    session: Session,
    demand: Arc<Demand>,
    open: Arc<Mutex<VecDeque<Flow>>>,
    /// What the connector's definition says by now: a sign-in on a connection that stays changes it.
    settings: Arc<Mutex<OAuthSettings>>,
    /// Held while tokens are obtained without a user.
    obtaining: Arc<tokio::sync::Mutex<()>>,
}

/// A sign-in that waits for the browser.
struct Flow {
    bond: Bond,
    server: Server,
    client: Client,
    scopes: Vec<String>,
    dpop: Option<Arc<DpopKey>>,
}

/// Where tokens come from, and what they are for.
#[derive(Clone)]
struct Server {
    tokens: TokenServer,
    revocation_endpoint: Option<String>,
    /// The `resource` parameter, byte for byte as published.
    resource: Option<String>,
}

impl Server {
    fn new(metadata: &ServerMetadata, resource: Option<String>) -> Self {
        Self {
            tokens: TokenServer {
                endpoint: metadata.token_endpoint.clone(),
                issuer: Some(metadata.issuer.clone()),
            },
            revocation_endpoint: metadata.revocation_endpoint.as_ref().map(ToString::to_string),
            resource,
        }
    }
}

impl OAuthSignIn {
    pub(crate) fn new(host: Arc<Host>, target: SignInTarget, exchange: Exchange) -> Self {
        let session = Session::open(
            exchange.clone(),
            Arc::clone(&target.credentials),
            target.definition.oauth.clone(),
            host.unsaved.clone(),
        );
        let settings = target.definition.oauth.clone().unwrap_or_default();
        Self {
            settings: Arc::new(Mutex::new(settings)),
            host,
            target,
            exchange,
            session,
            demand: Arc::default(),
            open: Arc::default(),
            obtaining: Arc::default(),
        }
    }

    fn settings(&self) -> OAuthSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<Flow>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, flow: Flow) {
        let mut open = self.open();
        open.retain(|flow| !flow.bond.is_expired());
        while open.len() >= OPEN {
            open.pop_front();
        }
        open.push_back(flow);
    }

    /// The sign-in of this state, once.
    fn take(&self, state: &str) -> Option<Flow> {
        let mut open = self.open();
        let at = open.iter().position(|flow| flow.bond.state == state)?;
        open.remove(at)
    }

    /// True if the user was sent to the server with this client and did not come back: the server may not know it any more, and
    /// tells nobody but the user.
    fn has_gone_unanswered(&self, client_id: &str) -> bool {
        self.open().iter().any(|flow| flow.client.id == client_id)
    }

    /// What a caller is told. A client that the server no longer knows is not used in the next sign-in.
    fn refused(&self, error: &RefreshError) -> ConnectorError {
        if error.is_of_unknown_client()
            && let Some(held) = self.session.current()
            && let Provenance { issuer: Some(issuer), client_id: Some(client_id), .. } =
                &held.record.provenance
        {
            self.host.forget(issuer, client_id);
        }
        error.for_connector(&self.exchange.slug)
    }

    /// A 401: other tokens, or the user.
    async fn unauthorized(
        &self,
        wanted: Option<Wanted>,
        sent: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        if let Some(wanted) = wanted {
            self.demand.challenged(wanted);
        }
        if let Some(kind) = self.settings().grant {
            self.obtain_instead_of(token_in(sent).as_ref(), &kind).await?;
            return Ok(ChallengeResponse::Retry);
        }
        let outcome = match token_in(sent) {
            Some(refused) => {
                self.session.refresh_after_refusal(&refused).await.map(|refreshed| match refreshed {
                    Refreshed::Received => ChallengeResponse::Retry,
                    // They may have expired as well by now.
                    Refreshed::Adopted => ChallengeResponse::Outdated,
                })
            }
            // Another process may have signed in.
            None => self.session.look_again().await.map(|is_signed_in| match is_signed_in {
                true => ChallengeResponse::Outdated,
                false => ChallengeResponse::SignIn,
            }),
        };
        outcome.map_err(|error| self.refused(&error))
    }

    /// A 403: more consent, if that was not given already.
    fn forbidden(&self, wanted: Option<Wanted>) -> Result<ChallengeResponse, ConnectorError> {
        let missing = wanted
            .filter(|wanted| wanted.error.as_deref() == Some("insufficient_scope"))
            .and_then(|wanted| wanted.scope);
        let (Some(missing), Some(held)) = (missing, self.session.current()) else {
            return Ok(ChallengeResponse::Forbidden);
        };
        let had = &held.record.provenance.scope;
        let asked = &held.record.provenance.asked;
        if missing.iter().all(|scope| had.contains(scope) || asked.contains(scope)) {
            // What was asked for and not granted, or granted and not enough, will not be so at the next attempt.
            return Ok(ChallengeResponse::Forbidden);
        }
        let scopes = self.demand.insufficient(had, &missing);
        Err(ConnectorError::InsufficientScope { slug: self.exchange.slug.clone(), scopes })
    }
}

#[async_trait]
impl Authorizer for OAuthSignIn {
    async fn headers(&self, request: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        // Tokens are shown to the server that they were issued for.
        if !self.exchange.leads_to(&request.url) {
            return Ok(Vec::new());
        }
        match self.session.fresh().await {
            Ok(Some(held)) => headers(&held, request.method, &request.url)
                .map_err(|error| self.refused(&RefreshError::from(error))),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(self.refused(&error)),
        }
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        sent: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        let wanted = challenge::wanted(&challenge.www_authenticate);
        if let Some(nonce) = &challenge.dpop_nonce {
            self.keep_nonce(&challenge.url, nonce);
            let wants_nonce =
                wanted.as_ref().and_then(|wanted| wanted.error.as_deref()) == Some("use_dpop_nonce");
            if wants_nonce && self.is_outdated(&challenge.url, sent) {
                // Of the token nothing has been said yet.
                return Ok(ChallengeResponse::Outdated);
            }
        }
        if challenge.status == 403 { self.forbidden(wanted) } else { self.unauthorized(wanted, sent).await }
    }

    fn nonce(&self, url: &str, nonce: &str) {
        self.keep_nonce(url, nonce);
    }
}

impl OAuthSignIn {
    fn bound_to(&self) -> Option<Arc<DpopKey>> {
        self.session.current().and_then(|held| held.dpop.clone())
    }

    fn keep_nonce(&self, url: &str, nonce: &str) {
        if let (Some(key), Ok(url)) = (self.bound_to(), Url::parse(url)) {
            key.keep_nonce(&url, nonce);
        }
    }

    /// True where a proof was sent without the nonce that is known by now.
    fn is_outdated(&self, url: &str, sent: &[SecretHeader]) -> bool {
        let proof = sent.iter().find(|header| header.name.eq_ignore_ascii_case("dpop"));
        match (self.bound_to(), Url::parse(url), proof) {
            (Some(key), Ok(url), Some(proof)) => key.is_outdated(&url, &proof.value),
            _ => false,
        }
    }
}

#[async_trait]
impl SignIn for OAuthSignIn {
    async fn begin(&self, request: SignInRequest) -> Result<SignInStarted, ConnectorError> {
        self.start(request).await.map_err(|error| {
            if let OAuthError::Flow(error) = &error {
                self.exchange.note(flow_step(error));
            }
            error.for_user(&self.exchange.slug)
        })
    }

    async fn complete(&self, callback: SignInCallback) -> Result<Grant, ConnectorError> {
        // On a task of its own: a code that was sent is spent, whoever waits for the tokens.
        let this = self.clone();
        let finished = tokio::spawn(async move { this.finish(callback).await });
        match finished.await {
            Ok(outcome) => outcome.map_err(|error| error.for_user(&self.exchange.slug)),
            Err(_) => Err(ConnectorError::ShuttingDown),
        }
    }

    async fn reload(&self) {
        self.demand.satisfied();
        if let Err(error) = self.session.reload().await {
            tracing::warn!(slug = %self.exchange.slug, code = error.detail(), "new tokens could not be read");
        }
    }

    async fn sign_out(&self) -> Result<(), ConnectorError> {
        Ok(self.session.sign_out().await?)
    }
}

/// The headers that show a token (RFC 6750, section 2.1; RFC 9449, section 7.1).
fn headers(
    held: &HeldTokens,
    method: &'static str,
    url: &Url,
) -> Result<Vec<SecretHeader>, crate::dpop::DpopError> {
    let token = &held.record.access_token;
    let authorization = |scheme: TokenType| SecretHeader {
        name: "Authorization".to_owned(),
        value: format!("{} {}", scheme.as_str(), token.expose_secret()).into(),
    };
    match &held.dpop {
        None => Ok(vec![authorization(TokenType::Bearer)]),
        Some(key) => {
            let proof = key.proof(method, url, Some(token))?;
            let proof = SecretHeader { name: "DPoP".to_owned(), value: proof.into() };
            Ok(vec![authorization(TokenType::Dpop), proof])
        }
    }
}

/// The token that a request carried.
fn token_in(sent: &[SecretHeader]) -> Option<SecretString> {
    let header = sent.iter().find(|header| header.name.eq_ignore_ascii_case("authorization"))?;
    let (_, token) = header.value.expose_secret().split_once(' ')?;
    Some(token.to_owned().into())
}

/// The sign-in of a definition whose URL is none: nothing is sent anywhere.
pub(crate) struct Nowhere(pub(crate) Slug);

impl Nowhere {
    fn error(&self) -> ConnectorError {
        ConnectorError::SignInRequired {
            slug: self.0.clone(),
            reason: Some("its URL cannot be read".to_owned()),
        }
    }
}

#[async_trait]
impl Authorizer for Nowhere {
    async fn headers(&self, _: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn challenged(
        &self,
        _: &Challenge,
        _: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        Ok(ChallengeResponse::SignIn)
    }
}

#[async_trait]
impl SignIn for Nowhere {
    async fn begin(&self, _: SignInRequest) -> Result<SignInStarted, ConnectorError> {
        Err(self.error())
    }

    async fn complete(&self, _: SignInCallback) -> Result<Grant, ConnectorError> {
        Err(self.error())
    }

    async fn reload(&self) {}

    async fn sign_out(&self) -> Result<(), ConnectorError> {
        Ok(())
    }
}
