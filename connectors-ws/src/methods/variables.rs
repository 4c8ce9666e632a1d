//! Environment variables, as the methods take them.

use std::collections::BTreeMap;

use connectors_core::SecretVariable;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Values of variables. Any may be a secret, so all are kept as such from the moment they are read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct Variables(#[schemars(with = "BTreeMap<String, String>")] BTreeMap<String, SecretString>);

impl Variables {
    /// For the manager, which sorts out the secrets.
    pub(super) fn into_plain(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned())).collect()
    }

    pub(super) fn into_secret(self) -> Vec<SecretVariable> {
        self.0.into_iter().map(|(name, value)| SecretVariable { name, value }).collect()
    }
}

/// The same, where `null` keeps the value that there is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct ChangedVariables(
    #[schemars(with = "BTreeMap<String, Option<String>>")] pub(super) BTreeMap<String, Option<SecretString>>,
);
