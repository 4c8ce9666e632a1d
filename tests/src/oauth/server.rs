//! An authorization server at work, and the handle that a test holds.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use tokio_util::sync::CancellationToken;

use super::fault::{Endpoint, Fault};
use super::log::{Asked, Issued, Log};
use super::setup::{Setup, TrustedIssuer};
use super::state::State;
use crate::listener::{Listener, Service};
use crate::mcp_server::{Port, Record, respond};

/// Far over anything that belongs to a sign-in.
const BODY_LIMIT: usize = 16 << 20;

/// A running authorization server on a loopback port. Dropping it stops it; that panics if it had died before.
#[derive(Debug)]
pub struct AuthorizationServer {
    listener: Listener,
    pub(super) state: Arc<State>,
}

impl AuthorizationServer {
    /// Starts one on a port of its own.
    pub fn start(setup: Setup) -> Self {
        Self::start_on(&Port::reserve(), setup)
    }

    /// Starts one on a port that was reserved for it.
    pub fn start_on(port: &Port, setup: Setup) -> Self {
        let state = Arc::new(State::new(port.origin(), setup));
        Self { listener: Listener::start("authorization server", Arc::clone(&state), port), state }
    }

    /// Its issuer. Changes when a guard [hosts](super::GuardSetup::hosts_authorization_server) it.
    pub fn issuer(&self) -> String {
        self.state.issuer()
    }

    /// The URL of a path below its issuer, such as `/token`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer().trim_end_matches('/'))
    }

    /// As others trust it: its issuer, and the key that it signs ID-JAGs with.
    pub fn as_trusted(&self) -> TrustedIssuer {
        TrustedIssuer { issuer: self.issuer(), key: self.state.key.public_jwk() }
    }

    /// Changes what it is, from now on.
    pub fn change(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.state.setup());
    }

    /// From now on this goes wrong, before anything else does.
    pub fn break_with(&self, fault: Fault) {
        self.change(|setup| setup.faults.insert(0, fault));
    }

    /// From now on nothing goes wrong.
    pub fn repair(&self) {
        self.change(|setup| setup.faults.clear());
    }

    /// Everything that it has seen and done. Can be waited on.
    pub fn record(&self) -> &Record<Log> {
        &self.state.log
    }

    /// The requests so far, in order.
    pub fn requests(&self) -> Vec<Asked> {
        self.requests_to(Endpoint::Any)
    }

    /// The requests for one endpoint so far.
    pub fn requests_to(&self, endpoint: Endpoint) -> Vec<Asked> {
        self.record().look(|log| log.to(endpoint).cloned().collect())
    }

    /// Waits until there have been `count` requests for an endpoint, and returns the last of these.
    pub async fn asked(&self, endpoint: Endpoint, count: usize) -> Asked {
        let what = format!("request {count} for {endpoint:?}");
        self.record().wait_for(&what, |log| log.to(endpoint).nth(count.saturating_sub(1)).cloned()).await
    }

    /// The tokens so far, in the order in which they were issued.
    pub fn tokens_issued(&self) -> Vec<Issued> {
        self.record().look(|log| log.issued.clone())
    }

    /// Refreshes that brought tokens.
    pub fn refreshes(&self) -> usize {
        self.record().look(|log| log.refreshes)
    }

    /// Uses of refresh tokens that had been rotated away.
    pub fn reuses(&self) -> usize {
        self.record().look(|log| log.reuses)
    }

    /// Families revoked because a refresh token or a code was used twice.
    pub fn families_revoked(&self) -> usize {
        self.record().look(|log| log.families_revoked)
    }

    /// Tokens that were given back.
    pub fn revocations(&self) -> Vec<String> {
        self.record().look(|log| log.revocations.clone())
    }

    /// The identifiers of clients that have registered themselves.
    pub fn registrations(&self) -> Vec<String> {
        self.record().look(|log| log.registered.clone())
    }

    /// Every secret that it has issued or received.
    pub fn secrets(&self) -> Vec<String> {
        self.record().look(|log| log.secrets.clone())
    }

    /// Ends the time of every access token that there is.
    pub fn expire_access_tokens(&self) {
        self.state.ledger().expire_access_tokens();
    }

    /// Revokes every consent: refreshes are answered `invalid_grant`, and access tokens are no good.
    pub fn revoke_everything(&self) {
        let mut ledger = self.state.ledger();
        ledger.families.iter_mut().for_each(|family| family.revoked = true);
    }

    /// Forgets every client, those of its setup too: from now on they are `invalid_client`.
    pub fn forget_clients(&self) {
        self.change(|setup| setup.clients.clear());
        self.state.ledger().clients.clear();
    }

    /// From now on wants another DPoP nonce.
    pub fn rotate_nonce(&self) {
        self.state.ledger().proofs.rotate_nonce();
    }

    /// The user of a device decides; panics if no device has this code.
    pub fn decide_device(&self, user_code: &str, approved: bool) {
        let mut ledger = self.state.ledger();
        let device = ledger.devices.values_mut().find(|device| device.user_code == user_code);
        device.unwrap_or_else(|| panic!("no device has the code {user_code}")).approved = Some(approved);
    }

    /// Cuts every open connection.
    pub fn cut_connections(&self) {
        self.listener.cut_connections();
    }

    /// Stops it; its port refuses connections.
    pub fn stop(self) -> Port {
        self.listener.stop()
    }
}

impl Service for State {
    async fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        connection: CancellationToken,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match axum::body::to_bytes(body, BODY_LIMIT).await {
            Ok(body) => self.answer(&parts, &body, &connection).await,
            Err(_) => respond(413, "", Body::empty()),
        }
    }
}
