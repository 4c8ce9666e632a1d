//! `connectors.reject`

use connectors_core::Slug;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Reject;

/// What is not proposed any more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Its slug.
    rejected: Slug,
}

impl Method for Reject {
    const NAME: &'static str = "connectors.reject";
    const SUMMARY: &'static str = "Rejects what a project's team file proposes, until its content is another. An accepted connector stays as it is.";
    const ERRORS: &'static [&'static str] = &["storage"];
    type Params = OneConnector;
    type Output = Output;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<Output, ErrorObject> {
        let slug = params.slug.clone();
        context.change(|manager| async move { manager.reject(&slug).await }).await?;
        Ok(Output { rejected: params.slug })
    }
}
