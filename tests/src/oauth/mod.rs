//! What a sign-in is tested against: a scriptable authorization server, and a guard that makes a scriptable MCP server
//! its resource server.
//!
//! A [`Setup`] says what the authorization server is and what goes wrong with it, its default is a correct one;
//! a [`GuardSetup`] says the same of the MCP server's side. [`Rig::start`] runs both together. Everything that they are
//! asked and everything that they issue is on record, and every secret that they issue begins with a [canary](CANARY) of its kind.
//! [`follow`] takes the part of a user with a browser, [`sign_in_at_oidc_provider`] that at the development pages of `oidc-provider`.

mod answer;
mod authorization;
mod browser;
mod client_auth;
mod device;
mod dpop;
mod fault;
mod grants;
mod guard;
mod guard_setup;
mod keys;
mod ledger;
mod log;
mod metadata;
mod oidc_login;
mod oidc_provider;
mod registration;
mod server;
mod setup;
mod state;
mod token;
mod verdict;

pub use browser::{CallbackParams, follow, visit};
pub use fault::{Endpoint, Fault, Reply, Times};
pub use guard::{Rig, TokenGuard};
pub use guard_setup::{ChallengeForm, GuardSetup, ListedServers, MetadataLocation, PublishedResource};
pub use keys::{KeyPair, Proof};
pub use log::{Asked, Issued, Log};
pub use oidc_login::{confirm_device_at_oidc_provider, sign_in_at_oidc_provider};
pub use oidc_provider::OidcProvider;
pub use server::AuthorizationServer;
pub use setup::{
    AuthMethod, Consent, Device, DpopUse, Iss, IssuerName, KnownClient, MetadataPlace, Redirects,
    Registration, ResourceRule, Reuse, Setup, TrustedIssuer,
};
pub use verdict::{Sighting, Verdict};

/// What every secret begins with that one of these servers issues: `canary-code-`, `canary-access-`, `canary-refresh-`,
/// `canary-secret-` (a client's), `canary-device-` (a device code). Only ID-JAGs are JWTs.
pub const CANARY: &str = "canary-";
