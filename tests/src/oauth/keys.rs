//! Keys, and the JWTs that are signed with them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use p256::SecretKey;
use p256::elliptic_curve::rand_core::OsRng;
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// A key pair on P-256, for ES256.
#[derive(Debug, Clone)]
pub struct KeyPair {
    pem: String,
    jwk: Jwk,
}

impl KeyPair {
    /// A new one.
    pub fn generate() -> Self {
        let secret = SecretKey::random(&mut OsRng);
        let pem = secret.to_pkcs8_pem(LineEnding::LF).expect("a key has a PEM form").to_string();
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("a valid key");
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a key has a JWK form");
        Self { pem, jwk }
    }

    /// The private key in PKCS#8 PEM.
    pub fn private_pem(&self) -> &str {
        &self.pem
    }

    /// The public key as a JWK.
    pub fn public_jwk(&self) -> Value {
        serde_json::to_value(&self.jwk).expect("a JWK is JSON")
    }

    /// The thumbprint of the public key (RFC 7638).
    pub fn thumbprint(&self) -> String {
        self.jwk.thumbprint(ThumbprintHash::SHA256).expect("a key on P-256 has a thumbprint")
    }

    /// A JWT of this `typ` with these claims.
    pub fn sign(&self, typ: &str, claims: &Value) -> String {
        self.encode(Header { typ: Some(typ.to_owned()), ..Header::new(Algorithm::ES256) }, claims)
    }

    /// An assertion about oneself (RFC 7523), good for a minute: for `private_key_jwt`.
    pub fn client_assertion(&self, client_id: &str, audience: &str) -> String {
        let (iat, jti) = (now(), super::ledger::random());
        let claims = json!({"iss": client_id, "sub": client_id, "aud": audience, "iat": iat, "exp": iat + 60, "jti": jti});
        self.sign("JWT", &claims)
    }

    /// A DPoP proof (RFC 9449).
    pub fn prove(&self, proof: Proof<'_>) -> String {
        let mut claims = json!({
            "jti": super::ledger::random(), "htm": proof.method, "htu": proof.url, "iat": now(),
        });
        if let Some(nonce) = proof.nonce {
            claims["nonce"] = json!(nonce);
        }
        if let Some(token) = proof.token {
            claims["ath"] = json!(token_hash(token));
        }
        let jwk = Some(self.jwk.clone());
        let typ = Some("dpop+jwt".to_owned());
        self.encode(Header { typ, jwk, ..Header::new(Algorithm::ES256) }, &claims)
    }

    fn encode(&self, header: Header, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(self.pem.as_bytes()).expect("a valid key");
        jsonwebtoken::encode(&header, claims, &key).expect("claims that can be signed")
    }
}

/// What a DPoP proof is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proof<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The URL, without query.
    pub url: &'a str,
    /// The nonce that the server wants.
    pub nonce: Option<&'a str>,
    /// The access token that goes with it.
    pub token: Option<&'a str>,
}

/// The `ath` of a token.
pub(super) fn token_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

/// The S256 challenge of a verifier (RFC 7636).
pub(super) fn challenge_of(verifier: &str) -> String {
    token_hash(verifier)
}

/// The thumbprint of a public key.
pub(super) fn thumbprint_of(jwk: &Value) -> Option<String> {
    serde_json::from_value::<Jwk>(jwk.clone()).ok()?.thumbprint(ThumbprintHash::SHA256).ok()
}

/// The header of a JWT, unverified.
pub(super) fn header_of(jwt: &str) -> Option<Value> {
    let encoded = jwt.split('.').next()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// The claims of a JWT that is signed with the private key of this JWK, in ES256.
pub(super) fn verified_claims(jwt: &str, jwk: &Value) -> Option<Value> {
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).ok()?).ok()?;
    let mut validation = Validation::new(Algorithm::ES256);
    // Times and audiences are for whoever reads the claims.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(jwt, &key, &validation).ok().map(|decoded| decoded.claims)
}

/// What keeps an assertion from being accepted: by its times, its audience, or its being used again.
pub(super) fn assertion_flaw(claims: &Value, audience: &str) -> Option<&'static str> {
    let tolerance = 30;
    let for_us = match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| one == audience),
        one => one == audience,
    };
    if !for_us {
        Some("aud is not the issuer of this server")
    } else if claims["exp"].as_u64().is_none_or(|exp| exp + tolerance < now()) {
        Some("exp is missing or over")
    } else if claims["jti"].as_str().is_none_or(str::is_empty) {
        Some("jti is missing")
    } else {
        None
    }
}
