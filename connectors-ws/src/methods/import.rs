//! `connectors.import`

use std::collections::BTreeMap;

use connectors_core::import::{ImportOutcome, ImportRequest};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct Import;

/// What to take over.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The `source` of a file in `connectors.importable`.
    source: String,
    /// The names of its entries; all if left out.
    #[serde(default)]
    names: Option<Vec<String>>,
    /// `hash` of the entries that the user has seen, by name: an entry that says something else by now, or is not among them, is
    /// left out. Nothing is compared if left out.
    #[serde(default)]
    hashes: Option<BTreeMap<String, String>>,
    /// Values for what the entries want, by name. Secrets.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    values: Option<BTreeMap<String, SecretString>>,
    /// True to add a connector although there is one that leads to the same place.
    #[serde(default)]
    again: bool,
    /// True to keep what looks like a secret in a URL or an argument where it is: in the settings, in the clear.
    #[serde(default)]
    allow_plain_secrets: bool,
}

impl Method for Import {
    const NAME: &'static str = "connectors.import";
    const SUMMARY: &'static str = "Takes over what another MCP client has configured, each entry on its own. Secrets go to the \
        secret store, what is switched off stays so, and no tool is enabled.";
    type Params = Params;
    type Output = ImportOutcome;

    async fn run(context: Context<'_>, params: Params) -> Result<ImportOutcome, ErrorObject> {
        let mut request = ImportRequest::new(params.source);
        request.names = params.names;
        request.hashes = params.hashes;
        request.values = params.values.unwrap_or_default();
        request.again = params.again;
        request.allow_plain_secrets = params.allow_plain_secrets;
        context.change(|manager| async move { manager.import(request).await }).await
    }
}
