//! `connectors.remove`

use connectors_core::Slug;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Remove;

/// What is gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// The connector's slug.
    removed: Slug,
}

impl Method for Remove {
    const NAME: &'static str = "connectors.remove";
    const SUMMARY: &'static str = "Removes a connector, its settings and its secrets.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage", "secret_store_unavailable"];
    type Params = OneConnector;
    type Output = Output;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<Output, ErrorObject> {
        let slug = params.slug.clone();
        context.change(|manager| async move { manager.remove(&slug).await }).await?;
        Ok(Output { removed: params.slug })
    }
}
