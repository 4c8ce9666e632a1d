//! `connectors.cancel`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct Cancel;

/// One call.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The id that it was started with, or that its events carry.
    call_id: String,
}

/// Whether there was such a call.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// False if no call with this id is under way.
    cancelled: bool,
}

impl Method for Cancel {
    const NAME: &'static str = "connectors.cancel";
    const SUMMARY: &'static str = "Cancels a call, at the server too. The call ends with `cancelled`.";
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        Ok(Output { cancelled: context.manager().cancel(&params.call_id) })
    }
}
