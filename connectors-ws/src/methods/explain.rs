//! `connectors.explain`

use connectors_core::{ConnectorStatus, TraceStep};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Explain;

/// How a connector came to its state.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explanation {
    /// Where it is now.
    status: ConnectorStatus,
    /// What led there, in order. Free of secrets, fit for a bug report.
    steps: Vec<TraceStep>,
}

impl Method for Explain {
    const NAME: &'static str = "connectors.explain";
    const SUMMARY: &'static str =
        "Tells step by step how a connector came to its state, and what to do about it.";
    const ERRORS: &'static [&'static str] = &["connector_not_found"];
    type Params = OneConnector;
    type Output = Explanation;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<Explanation, ErrorObject> {
        let status = context.manager().status(&params.slug)?;
        let steps = context.manager().explain(&params.slug)?;
        Ok(Explanation { status, steps })
    }
}
