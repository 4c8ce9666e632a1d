//! What an authorization server remembers.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::dpop::Proofs;
use super::setup::KnownClient;

/// 128 random bits.
pub(super) fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) clients: HashMap<String, KnownClient>,
    pub(super) codes: HashMap<String, Code>,
    pub(super) families: Vec<Family>,
    pub(super) access: HashMap<String, Access>,
    pub(super) refresh: HashMap<String, Refresh>,
    pub(super) devices: HashMap<String, DeviceCode>,
    pub(super) proofs: Proofs,
    /// The `jti` of every assertion.
    pub(super) assertions: HashSet<String>,
}

/// A consent, and all that came from it.
#[derive(Debug, Clone)]
pub(super) struct Family {
    pub(super) client_id: String,
    pub(super) scope: Vec<String>,
    pub(super) resource: Option<String>,
    /// The thumbprint of the key that its tokens are bound to.
    pub(super) bound_to: Option<String>,
    pub(super) revoked: bool,
}

/// An authorization code.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) consent: Family,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    /// The family that it was exchanged for.
    pub(super) family: Option<usize>,
}

/// An access token.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) family: usize,
    pub(super) scope: Vec<String>,
    pub(super) until: Instant,
}

/// A refresh token.
#[derive(Debug, Clone)]
pub(super) struct Refresh {
    pub(super) family: usize,
    pub(super) rotated_away: bool,
}

/// A device code.
#[derive(Debug, Clone)]
pub(super) struct DeviceCode {
    pub(super) consent: Family,
    pub(super) user_code: String,
    pub(super) until: Instant,
    pub(super) polls: usize,
    /// What the user has decided.
    pub(super) approved: Option<bool>,
    pub(super) used: bool,
}

/// What an access token is, to the server that it is shown to.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// Issued by somebody else, or nobody.
    Unknown,
    /// Its time is over.
    Expired,
    /// Its family was revoked.
    Revoked,
    /// Good.
    Good(Good),
}

/// What a good access token is good for.
#[derive(Debug, Clone)]
pub(super) struct Good {
    pub(super) scope: Vec<String>,
    pub(super) resource: Option<String>,
    pub(super) bound_to: Option<String>,
}

impl Ledger {
    /// Remembers a consent.
    pub(super) fn open_family(&mut self, consent: Family) -> usize {
        self.families.push(consent);
        self.families.len() - 1
    }

    /// True if it was not revoked before.
    pub(super) fn revoke_family(&mut self, family: usize) -> bool {
        !std::mem::replace(&mut self.families[family].revoked, true)
    }

    pub(super) fn standing(&self, token: &str) -> Standing {
        let Some(access) = self.access.get(token) else { return Standing::Unknown };
        let family = &self.families[access.family];
        if family.revoked {
            Standing::Revoked
        } else if access.until <= Instant::now() {
            Standing::Expired
        } else {
            let (resource, bound_to) = (family.resource.clone(), family.bound_to.clone());
            Standing::Good(Good { scope: access.scope.clone(), resource, bound_to })
        }
    }

    /// Ends the time of every access token.
    pub(super) fn expire_access_tokens(&mut self) {
        let now = Instant::now();
        for access in self.access.values_mut() {
            access.until = access.until.min(now);
        }
    }

    /// A new access token.
    pub(super) fn new_access(&mut self, family: usize, scope: Vec<String>, lifetime: Duration) -> String {
        let token = format!("canary-access-{}", random());
        self.access.insert(token.clone(), Access { family, scope, until: Instant::now() + lifetime });
        token
    }

    /// A new refresh token.
    pub(super) fn new_refresh(&mut self, family: usize) -> String {
        let token = format!("canary-refresh-{}", random());
        self.refresh.insert(token.clone(), Refresh { family, rotated_away: false });
        token
    }
}
