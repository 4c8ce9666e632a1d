//! `policy.register`

use connectors_core::Slug;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct Register;

/// A rule.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// What it does.
    rule: Rule,
    /// The connector that it is about, which need not be there yet.
    target: Slug,
    /// Its name. A rule of the same name is replaced.
    #[serde(deserialize_with = "params::name")]
    name: String,
}

/// The kinds of rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Rule {
    /// Withholds every tool of the connector.
    DenyConnector,
}

/// What holds now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// The rule's name.
    registered: String,
}

impl Method for Register {
    const NAME: &'static str = "policy.register";
    const SUMMARY: &'static str = "Registers a policy rule, in force from now on until the process ends.";
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let Params { rule, target, name } = params;
        match rule {
            Rule::DenyConnector => context.dispatcher.deny(&name, target).await,
        }
        Ok(Output { registered: name })
    }
}
