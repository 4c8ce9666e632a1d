//! Tokens that are bound to a key (RFC 9449): the key, its proofs, and the nonces that servers want in them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connectors_core::http::HttpResponse;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::SecretKey;
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::client_auth::unique_id;
use crate::clock::unix_now;

/// Where a server puts its next nonce.
pub(crate) const NONCE_HEADER: &str = "dpop-nonce";

/// Origins whose nonces are kept: an authorization server and a resource server, and their successors.
const ORIGINS: usize = 16;

/// Longest nonce that is kept, in bytes.
const LONGEST_NONCE: usize = 1 << 10;

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DpopError {
    #[error("the key that the tokens are bound to is not in the credential store")]
    Missing,
    #[error("the key that the tokens are bound to is damaged")]
    Unusable,
}

/// A P-256 key. Lives in the credential store as PKCS#8 PEM.
pub(crate) struct DpopKey {
    key: EncodingKey,
    jwk: Jwk,
    pem: SecretString,
    nonces: Mutex<HashMap<String, String>>,
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").finish_non_exhaustive()
    }
}

impl DpopKey {
    /// A new key.
    pub(crate) fn generate() -> Result<Self, DpopError> {
        // One number in 2^32 is not a key.
        let key = (0..8).find_map(|_| SecretKey::from_slice(&rand::random::<[u8; 32]>()).ok());
        let pem = key.and_then(|key| key.to_pkcs8_pem(LineEnding::LF).ok()).ok_or(DpopError::Unusable)?;
        Self::from_pem(pem.as_str().into())
    }

    /// A key from the store.
    pub(crate) fn from_pem(pem: SecretString) -> Result<Self, DpopError> {
        let key = EncodingKey::from_ec_pem(pem.expose_secret().as_bytes());
        let key = key.map_err(|_| DpopError::Unusable)?;
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| DpopError::Unusable)?;
        jwk.common.key_algorithm = None;
        Ok(Self { key, jwk, pem, nonces: Mutex::default() })
    }

    /// What to store under `dpop_key`.
    pub(crate) fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// The thumbprint, for `dpop_jkt` (RFC 9449, section 10).
    pub(crate) fn thumbprint(&self) -> Result<String, DpopError> {
        self.jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| DpopError::Unusable)
    }

    /// A proof for one request, good once, with the last nonce of the URL's origin. `access_token` is what goes along with it.
    pub(crate) fn proof(
        &self,
        method: &str,
        url: &Url,
        access_token: Option<&SecretString>,
    ) -> Result<String, DpopError> {
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        let claims = Claims {
            jti: unique_id(),
            htm: method,
            htu: target.as_str(),
            iat: unix_now(),
            ath: access_token
                .map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token.expose_secret().as_bytes()))),
            nonce: self.nonces().get(&origin(url)).cloned(),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(self.jwk.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| DpopError::Unusable)
    }

    /// True where a proof does not carry the nonce that is known for its origin by now: then another attempt may succeed. Says
    /// so of every request that was under way when the nonce changed, not only of the one that learnt of it.
    pub(crate) fn is_outdated(&self, url: &Url, proof: &SecretString) -> bool {
        #[derive(serde::Deserialize)]
        struct Sent {
            nonce: Option<String>,
        }
        let payload = proof.expose_secret().split('.').nth(1);
        let payload = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let sent = payload.and_then(|payload| serde_json::from_slice::<Sent>(&payload).ok());
        let known = self.nonces().get(&origin(url)).cloned();
        known.is_some() && sent.is_none_or(|sent| sent.nonce != known)
    }

    /// Keeps the nonce of an answer.
    pub(crate) fn learn(&self, url: &Url, answer: &HttpResponse) {
        let nonce = answer.headers().get(NONCE_HEADER).and_then(|value| value.to_str().ok());
        if let Some(nonce) = nonce {
            self.keep_nonce(url, nonce);
        }
    }

    /// Keeps a nonce for an origin: each server has its own (RFC 9449, section 8.2).
    pub(crate) fn keep_nonce(&self, url: &Url, nonce: &str) {
        let is_sound = !nonce.is_empty() && nonce.len() <= LONGEST_NONCE;
        if !is_sound || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return;
        }
        let mut nonces = self.nonces();
        let origin = origin(url);
        if nonces.len() >= ORIGINS && !nonces.contains_key(&origin) {
            nonces.clear();
        }
        nonces.insert(origin, nonce.to_owned());
    }

    fn nonces(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    htu: &'a str,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Header and claims of a JWT, not verified.
    pub(crate) fn parts(jwt: &str) -> (Value, Value) {
        let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let mut parts = jwt.split('.');
        (decode(parts.next().unwrap()), decode(parts.next().unwrap()))
    }

    fn url(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    #[test]
    fn a_proof_says_what_it_is_for_and_its_own_key_verifies_it() {
        let key = DpopKey::generate().unwrap();
        let token = SecretString::from("the-token");
        let proof = key.proof("POST", &url("https://mcp.test/mcp?x=1"), Some(&token)).unwrap();
        let (header, mut claims) = parts(&proof);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        let jwk: Vec<_> = header["jwk"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(jwk, ["kty", "crv", "x", "y"]);
        let iat = claims["iat"].take().as_u64().unwrap();
        assert!(unix_now() - iat <= 1);
        assert_eq!(claims["jti"].take().as_str().unwrap().len(), 22);
        let ath = URL_SAFE_NO_PAD.encode(Sha256::digest(b"the-token"));
        assert_eq!(
            claims,
            json!({"jti": null, "htm": "POST", "htu": "https://mcp.test/mcp", "iat": null, "ath": ath})
        );
        let (message, signature) = proof.rsplit_once('.').unwrap();
        let verifier = jsonwebtoken::DecodingKey::from_jwk(&key.jwk).unwrap();
        assert!(
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &verifier, Algorithm::ES256).unwrap()
        );
    }

    #[test]
    fn every_proof_is_another() {
        let key = DpopKey::generate().unwrap();
        let proof = || key.proof("GET", &url("https://a.test/"), None).unwrap();
        assert_ne!(parts(&proof()).1["jti"], parts(&proof()).1["jti"]);
    }

    #[test]
    fn a_key_comes_back_from_the_store_as_the_same_key() {
        let key = DpopKey::generate().unwrap();
        let again = DpopKey::from_pem(key.pem().clone()).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert_ne!(DpopKey::generate().unwrap().thumbprint(), key.thumbprint());
        assert_eq!(DpopKey::from_pem("no key".into()).unwrap_err(), DpopError::Unusable);
    }

    #[test]
    fn each_origin_has_its_own_nonce_and_the_latest_is_used() {
        let key = DpopKey::generate().unwrap();
        let (a, b) = (url("https://a.test/token"), url("https://b.test/mcp"));
        for nonce in ["n1", "n2", "n2"] {
            key.keep_nonce(&a, nonce);
        }
        let nonce = |url: &Url| parts(&key.proof("POST", url, None).unwrap()).1.get("nonce").cloned();
        assert_eq!((nonce(&a), nonce(&b)), (Some(json!("n2")), None));
        assert_eq!(nonce(&url("https://a.test/elsewhere")), Some(json!("n2")));
    }

    #[test]
    fn a_proof_is_outdated_when_its_server_has_named_another_nonce() {
        let key = DpopKey::generate().unwrap();
        let url = url("https://a.test/mcp");
        let without = key.proof("POST", &url, None).unwrap().into();
        assert!(!key.is_outdated(&url, &without));
        key.keep_nonce(&url, "n1");
        let with = key.proof("POST", &url, None).unwrap().into();
        assert_eq!((key.is_outdated(&url, &without), key.is_outdated(&url, &with)), (true, false));
        key.keep_nonce(&url, "n2");
        assert!(key.is_outdated(&url, &with));
        assert!(key.is_outdated(&url, &"no proof".into()));
    }

    #[test]
    fn a_nonce_that_is_none_is_not_kept() {
        let key = DpopKey::generate().unwrap();
        for nonce in ["", "a b", "a\nb", &"x".repeat(LONGEST_NONCE + 1)] {
            key.keep_nonce(&url("https://a.test/"), nonce);
        }
        assert!(key.nonces().is_empty());
        for n in 0..1000 {
            key.keep_nonce(&url(&format!("https://a{n}.test/")), "n");
        }
        assert!(key.nonces().len() <= ORIGINS);
    }
}
