//! Proofs of possession (RFC 9449), as a server checks them.

use std::collections::HashSet;

use axum::http::HeaderMap;

use super::keys::{header_of, now, thumbprint_of, token_hash, verified_claims};
use super::ledger::random;

/// How far the clock of a client may be off, in seconds.
const LEEWAY: u64 = 300;

/// The proofs that one server has seen, and the nonce that it wants.
#[derive(Debug)]
pub(super) struct Proofs {
    used: HashSet<String>,
    nonce: String,
}

impl Default for Proofs {
    fn default() -> Self {
        Self { used: HashSet::new(), nonce: random() }
    }
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofFault {
    /// There is none.
    Missing,
    /// It is wrong.
    Invalid(&'static str),
    /// It lacks the nonce of the moment.
    Nonce,
}

/// What is proved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) with_nonce: bool,
}

impl Proofs {
    /// The nonce of the moment.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// From now on wants another nonce.
    pub(super) fn rotate_nonce(&mut self) {
        self.nonce = random();
    }

    /// Checks the proof of a request, and returns the thumbprint of its key.
    pub(super) fn check(&mut self, claim: Claim<'_>) -> Result<String, ProofFault> {
        use ProofFault::Invalid;
        let mut proofs = claim.headers.get_all("dpop").iter();
        let proof = proofs.next().ok_or(ProofFault::Missing)?.to_str().map_err(|_| Invalid("not text"))?;
        if proofs.next().is_some() {
            return Err(Invalid("more than one proof"));
        }
        let header = header_of(proof).ok_or(Invalid("not a JWT"))?;
        if header["typ"] != "dpop+jwt" {
            return Err(Invalid("typ is not dpop+jwt"));
        }
        if header["alg"] != "ES256" {
            return Err(Invalid("alg is not ES256"));
        }
        let jwk = &header["jwk"];
        if jwk.get("d").is_some() {
            return Err(Invalid("the header has the private key"));
        }
        let thumbprint = thumbprint_of(jwk).ok_or(Invalid("the header has no key"))?;
        let claims = verified_claims(proof, jwk).ok_or(Invalid("the signature is wrong"))?;
        if claims["htm"] != claim.method {
            return Err(Invalid("htm is not the method"));
        }
        if claims["htu"] != claim.url {
            return Err(Invalid("htu is not the URL"));
        }
        if claims["iat"].as_u64().is_none_or(|iat| iat.abs_diff(now()) > LEEWAY) {
            return Err(Invalid("iat is missing or far off"));
        }
        if claims["ath"].as_str().map(str::to_owned) != claim.token.map(token_hash) {
            return Err(Invalid("ath is not the hash of the token"));
        }
        let jti = claims["jti"].as_str().filter(|jti| !jti.is_empty()).ok_or(Invalid("jti is missing"))?;
        if !self.used.insert(jti.to_owned()) {
            return Err(Invalid("jti was used before"));
        }
        if claim.with_nonce && claims["nonce"] != self.nonce.as_str() {
            return Err(ProofFault::Nonce);
        }
        Ok(thumbprint)
    }
}
