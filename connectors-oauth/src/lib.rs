#![doc = include_str!("../README.md")]

mod challenge;
mod client_auth;
mod clock;
mod device;
mod discovery;
mod dpop;
mod endpoint;
mod error;
mod exchange;
#[cfg(test)]
mod fixture;
mod flow;
mod form;
mod grants;
mod metadata;
mod provider;
mod quoted;
mod record;
mod refresh;
mod registration;
mod revoke;
mod scopes;
mod sign_in;
mod token;

pub use challenge::{AuthChallenge, parse as parse_challenges};
pub use provider::OAuthProvider;
