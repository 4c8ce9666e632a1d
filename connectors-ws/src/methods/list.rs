//! `connectors.list`

use connectors_core::ConnectorStatus;
use connectors_core::proposal::Mistake;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Method, NoParams};
use crate::error::ErrorObject;

pub(crate) struct List;

/// Every connector.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// In the order in which they were added, and after them what is proposed.
    connectors: Vec<ConnectorStatus>,
    /// Why the settings file cannot be used, while that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_problem: Option<String>,
    /// What is wrong with the project's team file, which proposes connectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Mistake>,
}

impl Method for List {
    const NAME: &'static str = "connectors.list";
    const SUMMARY: &'static str =
        "Lists every connector with its state. Answers at once, whatever the servers do.";
    type Params = NoParams;
    type Output = Output;

    async fn run(context: Context<'_>, _: NoParams) -> Result<Output, ErrorObject> {
        let manager = context.manager();
        let connectors = manager.list();
        context.session.show(&connectors);
        Ok(Output {
            problems: manager.proposal_problems(),
            connectors,
            storage_problem: manager.storage_problem(),
        })
    }
}
