//! `connectors.unsubscribe`

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;

pub(crate) struct Unsubscribe;

/// Whether events come.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// Always false.
    subscribed: bool,
}

impl Method for Unsubscribe {
    const NAME: &'static str = "connectors.unsubscribe";
    const SUMMARY: &'static str = "Ends the notifications; those that have not been sent are dropped.";
    type Params = NoParams;
    type Output = Output;

    async fn run(context: Context<'_>, _: NoParams) -> Result<Output, ErrorObject> {
        context.session.unsubscribe();
        Ok(Output { subscribed: false })
    }
}
