//! `connectors.subscribe`

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;

pub(crate) struct Subscribe;

/// Whether events come.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Always true.
    subscribed: bool,
}

impl Method for Subscribe {
    const NAME: &'static str = "connectors.subscribe";
    const SUMMARY: &'static str = "Starts `connectors.event` notifications on this connection.";
    type Params = NoParams;
    type Output = Output;

    async fn run(context: Context<'_>, _: NoParams) -> Result<Output, ErrorObject> {
        context.session.subscribe(|| context.manager().events().subscribe());
        Ok(Output { subscribed: true })
    }
}
