#![doc = include_str!("../README.md")]

mod atomic;
mod exclusive;
mod faults;
mod lock;
mod open;
mod paths;
mod regular;
mod repository;
#[cfg_attr(
    not(all(feature = "keychain", feature = "vault")),
    allow(dead_code, reason = "there is one place")
)]
mod secrets;
mod watch;

pub mod import;
#[cfg(feature = "keychain")]
pub mod keychain;
pub mod manifest;
pub mod team;
#[cfg(feature = "vault")]
pub mod vault;

pub use import::{ClientFiles, Locations};
#[cfg(feature = "keychain")]
pub use keychain::KeychainStore;
pub use manifest::ManifestStore;
pub use open::{OpenedCredentials, SecretsChoice, UnknownChoice, open_credentials};
pub use paths::{Paths, PathsError, state_root};
pub use secrets::{Moved, SecretPlace, Secrets, SecretsError, SecretsStatus};
pub use team::TeamFile;
#[cfg(feature = "vault")]
pub use vault::VaultStore;
