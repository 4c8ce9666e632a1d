//! `connectors.enable_tools`

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, SomeTools};
use crate::error::ErrorObject;

pub(crate) struct EnableTools;

/// What has changed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Tools that have a route now and had none before.
    enabled: usize,
}

impl Method for EnableTools {
    const NAME: &'static str = "connectors.enable_tools";
    const SUMMARY: &'static str = "Enables tools. Unknown names are ignored and not counted.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage"];
    type Params = SomeTools;
    type Output = Output;

    async fn run(context: Context<'_>, params: SomeTools) -> Result<Output, ErrorObject> {
        let SomeTools { slug, tools } = params;
        let enabled =
            context.change(|manager| async move { manager.enable_tools(&slug, &tools).await }).await?;
        Ok(Output { enabled })
    }
}
