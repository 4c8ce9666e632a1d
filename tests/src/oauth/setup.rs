//! What an authorization server is told to be.

use std::time::Duration;

use serde_json::Value;

use super::fault::Fault;

/// Everything that an authorization server is told; it can be changed while it runs. The default is a correct and strict server
/// of OAuth 2.1 with open registration, PKCE, `iss`, mandatory `resource`, rotating refresh tokens and revocation.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The path of its issuer: empty, or like `/tenant1`. `/` makes an issuer that ends in a slash.
    pub issuer_path: String,
    /// What its metadata calls the issuer.
    pub issuer: IssuerName,
    /// Where its metadata is; nowhere if empty.
    pub metadata_at: Vec<MetadataPlace>,
    /// How clients register themselves.
    pub registration: Registration,
    /// Members that a registration must have; it is refused with `invalid_client_metadata` otherwise.
    pub registration_requires: Vec<&'static str>,
    /// Clients that it knows from the start.
    pub clients: Vec<KnownClient>,
    /// Accepts https URLs as identifiers of public clients (Client ID Metadata Documents), unread and with any redirect URI.
    pub client_id_documents: bool,
    /// The ways of client authentication that it advertises and accepts.
    pub auth_methods: Vec<AuthMethod>,
    /// How a redirect URI has to match one that was registered.
    pub redirects: Redirects,
    /// What it says to `resource`, at the authorization and the token endpoint, at refreshes too.
    pub resource: ResourceRule,
    /// The scopes that its metadata lists; none listed if `None`.
    pub scopes_supported: Option<Vec<String>>,
    /// The scopes that may be asked for, `invalid_scope` otherwise; any if `None`.
    pub scopes_allowed: Option<Vec<String>>,
    /// The `iss` of its authorization responses.
    pub iss: Iss,
    /// Whether its metadata announces `iss`.
    pub announces_iss: bool,
    /// What the user says.
    pub consent: Consent,
    /// How long access tokens live, and are said to live.
    pub lifetime: Duration,
    /// Whether it gives refresh tokens.
    pub refresh_tokens: bool,
    /// Gives refresh tokens only where the scope `offline_access` was granted.
    pub refresh_needs_offline_access: bool,
    /// Whether every refresh brings a new refresh token.
    pub rotation: bool,
    /// What happens when a refresh token is used again that was rotated away.
    pub reuse: Reuse,
    /// Whether it revokes tokens (RFC 7009), and says so.
    pub revocation: bool,
    /// Authorization of devices (RFC 8628); not offered if `None`.
    pub device: Option<Device>,
    /// What it makes of DPoP proofs (RFC 9449).
    pub dpop: DpopUse,
    /// Demands a nonce of its own in every DPoP proof.
    pub dpop_nonces: bool,
    /// Whose assertions it accepts at its token endpoint (RFC 7523): ID-JAGs and workload identities.
    pub trusts: Vec<TrustedIssuer>,
    /// The identity tokens that it takes for an ID-JAG (RFC 8693), as an identity provider does.
    pub id_tokens: Vec<String>,
    /// How clients of this identity provider are called elsewhere: the identifier here, and the one that an ID-JAG names. The same
    /// for those that are not listed.
    pub id_jag_clients: Vec<(String, String)>,
    /// What goes wrong. The first fault that applies wins.
    pub faults: Vec<Fault>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            issuer_path: String::new(),
            issuer: IssuerName::Right,
            metadata_at: vec![MetadataPlace::Rfc8414],
            registration: Registration::Open,
            registration_requires: Vec::new(),
            clients: Vec::new(),
            client_id_documents: false,
            auth_methods: vec![AuthMethod::None, AuthMethod::Basic, AuthMethod::Post],
            redirects: Redirects::Exact,
            resource: ResourceRule::Required,
            scopes_supported: None,
            scopes_allowed: None,
            iss: Iss::Right,
            announces_iss: true,
            consent: Consent::Granted,
            lifetime: Duration::from_secs(3600),
            refresh_tokens: true,
            refresh_needs_offline_access: false,
            rotation: true,
            reuse: Reuse::RevokesFamily,
            revocation: true,
            device: None,
            dpop: DpopUse::Ignored,
            dpop_nonces: false,
            trusts: Vec::new(),
            id_tokens: Vec::new(),
            id_jag_clients: Vec::new(),
            faults: Vec::new(),
        }
    }
}

impl Setup {
    /// The same with something that goes wrong, after what goes wrong already.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }
}

/// What metadata calls the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerName {
    /// By its name.
    Right,
    /// By its name, with a slash that it does not have.
    WithSlash,
    /// Otherwise.
    Other(String),
}

/// Where metadata can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataPlace {
    /// `/.well-known/oauth-authorization-server` before the path of the issuer.
    Rfc8414,
    /// `/.well-known/openid-configuration` before the path of the issuer.
    OidcInserted,
    /// `/.well-known/openid-configuration` after the path of the issuer.
    OidcAppended,
}

/// How clients register themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// They cannot: the metadata has no endpoint for it.
    Absent,
    /// As they like; one that asks for no way of authentication gets a secret for [`AuthMethod::Basic`].
    Open,
    /// Whatever they ask for, they get this way of authentication.
    Gives(AuthMethod),
}

/// A way of client authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// `none`: a public client.
    None,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt`.
    PrivateKeyJwt,
}

impl AuthMethod {
    const ALL: [Self; 4] = [Self::None, Self::Basic, Self::Post, Self::PrivateKeyJwt];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "client_secret_basic",
            Self::Post => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A client that was registered by hand.
#[derive(Debug, Clone)]
pub struct KnownClient {
    /// Its identifier.
    pub id: String,
    /// Its secret, for [`AuthMethod::Basic`] and [`AuthMethod::Post`].
    pub secret: Option<String>,
    /// How it authenticates.
    pub method: AuthMethod,
    /// Its public key as a JWK, for [`AuthMethod::PrivateKeyJwt`].
    pub key: Option<Value>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
}

impl KnownClient {
    /// A client without a secret.
    pub fn public(id: &str, redirect_uri: &str) -> Self {
        let redirect_uris = vec![redirect_uri.to_owned()];
        Self { id: id.to_owned(), secret: None, method: AuthMethod::None, key: None, redirect_uris }
    }

    /// A client with a secret and no redirect URI.
    pub fn confidential(id: &str, secret: &str, method: AuthMethod) -> Self {
        let secret = Some(secret.to_owned());
        Self { id: id.to_owned(), secret, method, key: None, redirect_uris: Vec::new() }
    }

    /// A client with a key pair and no redirect URI.
    pub fn with_key(id: &str, public_jwk: Value) -> Self {
        let (method, key) = (AuthMethod::PrivateKeyJwt, Some(public_jwk));
        Self { id: id.to_owned(), secret: None, method, key, redirect_uris: Vec::new() }
    }

    /// The same client with another redirect URI.
    #[must_use]
    pub fn redirected_to(mut self, uri: &str) -> Self {
        self.redirect_uris.push(uri.to_owned());
        self
    }
}

/// How a redirect URI has to match one that was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Character by character.
    Exact,
    /// Character by character, but for the port of a loopback address (RFC 8252).
    LoopbackAnyPort,
    /// Not at all.
    Any,
}

/// What is said to `resource` (RFC 8707).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceRule {
    /// Without it: `invalid_target`. Tokens are for that resource alone.
    Required,
    /// It may be left out; tokens are then good everywhere.
    Optional,
    /// With it: `invalid_target`. Tokens are good everywhere.
    Refused,
}

/// The `iss` of authorization responses (RFC 9207).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Iss {
    /// The issuer.
    Right,
    /// There is none.
    Missing,
    /// The issuer, with a slash that it does not have.
    WithSlash,
    /// Another.
    Other(String),
}

/// What the user says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// Yes to everything.
    Granted,
    /// Yes to these scopes alone.
    GrantedFor(Vec<String>),
    /// No: this `error`, for instance `access_denied`.
    Refused(String),
    /// Yes, but the redirect brings another state.
    WrongState,
    /// Yes, but the redirect brings no state.
    NoState,
}

/// What happens when a refresh token is used again that was rotated away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// `invalid_grant`, and every token of the grant is revoked.
    RevokesFamily,
    /// `invalid_grant`.
    Refused,
    /// It works again.
    Tolerated,
}

/// Authorization of devices.
#[derive(Debug, Clone)]
pub struct Device {
    /// The interval that is announced, in seconds; none if `None`.
    pub interval: Option<u64>,
    /// How long device codes live.
    pub lifetime: Duration,
    /// What the first polls are answered, an `error` each; after them the user's decision counts.
    pub first_polls: Vec<&'static str>,
    /// The user has agreed before the first poll. Otherwise the page has to be [followed](super::follow), or
    /// [`decide_device`](super::AuthorizationServer::decide_device) called.
    pub approved: bool,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            interval: Some(1),
            lifetime: Duration::from_secs(600),
            first_polls: Vec::new(),
            approved: true,
        }
    }
}

/// What is made of DPoP proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DpopUse {
    /// Nothing, and nothing is said of them.
    Ignored,
    /// A token request with a proof gets a bound token; the metadata says so.
    Offered,
    /// No token without a proof.
    Required,
}

/// Someone whose assertions are accepted.
#[derive(Debug, Clone)]
pub struct TrustedIssuer {
    /// The `iss` of the assertions.
    pub issuer: String,
    /// The public key that they are signed with, as a JWK.
    pub key: Value,
}
