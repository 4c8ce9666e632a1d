//! `policy.unregister`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct Unregister;

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Its name.
    #[serde(deserialize_with = "params::name")]
    name: String,
}

/// Whether there was such a rule.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// False if no rule has this name.
    unregistered: bool,
}

impl Method for Unregister {
    const NAME: &'static str = "policy.unregister";
    const SUMMARY: &'static str =
        "Lifts a policy rule. What it withheld is back, if nothing else withholds it.";
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let unregistered = context.dispatcher.lift(&params.name).await;
        Ok(Output { unregistered })
    }
}
