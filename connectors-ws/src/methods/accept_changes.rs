//! `connectors.accept_changes`

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, SomeTools};
use crate::error::ErrorObject;

pub(crate) struct AcceptChanges;

/// What has changed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Changed definitions that are now the approved ones.
    accepted: usize,
}

impl Method for AcceptChanges {
    const NAME: &'static str = "connectors.accept_changes";
    const SUMMARY: &'static str = "Accepts the changed definitions of enabled tools.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage"];
    type Params = SomeTools;
    type Output = Output;

    async fn run(context: Context<'_>, params: SomeTools) -> Result<Output, ErrorObject> {
        let SomeTools { slug, tools } = params;
        let accepted =
            context.change(|manager| async move { manager.accept_changes(&slug, &tools).await }).await?;
        Ok(Output { accepted })
    }
}
