//! How a client proves to an authorization server who it is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::form_urlencoded::byte_serialize;

use crate::clock::unix_now;
use crate::form::Form;

/// How long an assertion holds, in seconds.
const ASSERTION_LIFETIME: u64 = 60;

/// The type of an assertion that is a JWT (RFC 7523, section 2.2).
const JWT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A `token_endpoint_auth_method` (RFC 7591, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic,
    /// `client_secret_post`: in the form.
    Post,
    /// `none`: a public client.
    None,
    /// `private_key_jwt`: with a signed assertion.
    PrivateKeyJwt {
        /// The signature; by the kind of the key if `None`.
        algorithm: Option<SigningAlgorithm>,
    },
}

impl AuthMethod {
    /// The registered name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::None => "none",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
        }
    }

    /// Reads a registered name; `None` for a method that is not supported.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "client_secret_basic" => Self::Basic,
            "client_secret_post" => Self::Post,
            "none" => Self::None,
            "private_key_jwt" => Self::PrivateKeyJwt { algorithm: None },
            _ => return None,
        })
    }

    /// True where the client's secret is needed.
    pub(crate) fn needs_secret(self) -> bool {
        matches!(self, Self::Basic | Self::Post)
    }
}

/// How an assertion is signed (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SigningAlgorithm {
    Es256,
    Es384,
    Rs256,
    EdDsa,
}

impl SigningAlgorithm {
    const ALL: [Self; 4] = [Self::Es256, Self::Es384, Self::Rs256, Self::EdDsa];

    /// The registered name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Reads a registered name; `None` for an algorithm that is not supported.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    fn sign(self, pem: &SecretString, claims: &Claims<'_>) -> Option<String> {
        let pem = pem.expose_secret().as_bytes();
        let (algorithm, key) = match self {
            Self::Es256 => (Algorithm::ES256, EncodingKey::from_ec_pem(pem)),
            Self::Es384 => (Algorithm::ES384, EncodingKey::from_ec_pem(pem)),
            Self::Rs256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(pem)),
            Self::EdDsa => (Algorithm::EdDSA, EncodingKey::from_ed_pem(pem)),
        };
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key.ok()?).ok()
    }
}

/// A client that cannot prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientAuthError {
    #[error("the secret of this client is not in the credential store")]
    NoSecret,
    #[error("the private key of this client is not in the credential store")]
    NoPrivateKey,
    #[error("the private key of this client cannot be used{}", note(.algorithm))]
    UnusableKey { algorithm: Option<SigningAlgorithm> },
}

fn note(algorithm: &Option<SigningAlgorithm>) -> String {
    algorithm.map(|algorithm| format!(" for {}", algorithm.as_str())).unwrap_or_default()
}

/// A client with what it proves itself with.
#[derive(Clone)]
pub(crate) struct ClientAuth {
    pub(crate) id: String,
    pub(crate) method: AuthMethod,
    pub(crate) secret: Option<SecretString>,
    /// PKCS#8, PEM.
    pub(crate) private_key: Option<SecretString>,
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuth")
            .field("id", &self.id)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl ClientAuth {
    /// A client that has no secret.
    pub(crate) fn public(id: impl Into<String>) -> Self {
        Self { id: id.into(), method: AuthMethod::None, secret: None, private_key: None }
    }

    /// Adds the proof to a request. `audience` is the issuer of the authorization server, or its token endpoint where
    /// that is unknown.
    pub(crate) fn apply(&self, form: &mut Form, audience: &str) -> Result<(), ClientAuthError> {
        match self.method {
            AuthMethod::None => form.field("client_id", &self.id),
            AuthMethod::Post => {
                let secret = self.secret.as_ref().ok_or(ClientAuthError::NoSecret)?;
                form.field("client_id", &self.id);
                form.secret("client_secret", secret);
            }
            AuthMethod::Basic => {
                let secret = self.secret.as_ref().ok_or(ClientAuthError::NoSecret)?;
                let credentials = STANDARD.encode(basic(&self.id, secret.expose_secret()));
                form.hide(secret);
                form.secret_header(AUTHORIZATION, "Basic ", &credentials.into());
            }
            AuthMethod::PrivateKeyJwt { algorithm } => {
                let key = self.private_key.as_ref().ok_or(ClientAuthError::NoPrivateKey)?;
                let assertion = self.assertion(key, algorithm, audience)?;
                form.field("client_id", &self.id);
                form.field("client_assertion_type", JWT_ASSERTION);
                form.secret("client_assertion", &assertion.into());
            }
        }
        Ok(())
    }

    /// RFC 7523, section 3.
    fn assertion(
        &self,
        key: &SecretString,
        algorithm: Option<SigningAlgorithm>,
        audience: &str,
    ) -> Result<String, ClientAuthError> {
        let now = unix_now();
        let claims = Claims {
            iss: &self.id,
            sub: &self.id,
            aud: audience,
            jti: unique_id(),
            iat: now,
            exp: now + ASSERTION_LIFETIME,
        };
        let signed = match algorithm {
            Some(algorithm) => algorithm.sign(key, &claims),
            None => SigningAlgorithm::ALL.into_iter().find_map(|algorithm| algorithm.sign(key, &claims)),
        };
        signed.ok_or(ClientAuthError::UnusableKey { algorithm })
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

/// An identifier that nobody has used: 128 bits.
pub(crate) fn unique_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())
}

/// Both parts are form-encoded first (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("{}:{}", encode(id), encode(secret))
}

#[cfg(test)]
mod tests;
