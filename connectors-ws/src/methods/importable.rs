//! `connectors.importable`

use connectors_core::import::ImportableFile;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;

pub(crate) struct Importable;

/// What other MCP clients have configured on this machine.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Their files, and parts of files; those that cannot be understood, too.
    sources: Vec<ImportableFile>,
}

impl Method for Importable {
    const NAME: &'static str = "connectors.importable";
    const SUMMARY: &'static str = "Shows what other MCP clients have configured on this machine, without any secret. Reaches no server.";
    type Params = NoParams;
    type Output = Output;

    async fn run(context: Context<'_>, _: NoParams) -> Result<Output, ErrorObject> {
        Ok(Output { sources: context.manager().importable().await })
    }
}
