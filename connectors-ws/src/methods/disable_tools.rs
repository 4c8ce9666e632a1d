//! `connectors.disable_tools`

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, SomeTools};
use crate::error::ErrorObject;

pub(crate) struct DisableTools;

/// What has changed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Tools that were enabled and no longer are.
    disabled: usize,
}

impl Method for DisableTools {
    const NAME: &'static str = "connectors.disable_tools";
    const SUMMARY: &'static str = "Disables tools. Unknown names are ignored and not counted.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage"];
    type Params = SomeTools;
    type Output = Output;

    async fn run(context: Context<'_>, params: SomeTools) -> Result<Output, ErrorObject> {
        let SomeTools { slug, tools } = params;
        let disabled =
            context.change(|manager| async move { manager.disable_tools(&slug, &tools).await }).await?;
        Ok(Output { disabled })
    }
}
