#![doc = include_str!("../README.md")]

mod atomic;
#[cfg(any(feature = "keychain", feature = "vault"))]
mod exclusive;
mod lock;
mod open;
mod paths;

#[cfg(feature = "keychain")]
pub mod keychain;
pub mod manifest;
#[cfg(feature = "vault")]
pub mod vault;

#[cfg(feature = "keychain")]
pub use keychain::KeychainStore;
pub use manifest::ManifestStore;
pub use open::{OpenedCredentials, SecretsChoice, UnknownChoice, open_credentials};
pub use paths::{Paths, PathsError, state_root};
#[cfg(feature = "vault")]
pub use vault::VaultStore;
