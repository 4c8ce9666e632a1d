//! `connectors.answer`

use connectors_core::elicitation::ElicitationAnswer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct Answer;

/// What the user did about a question.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The question, from its `input_wanted` event.
    request_id: String,
    /// What the user did.
    action: Action,
    /// The values of a form, with `accept`. Those that are missing get their defaults.
    #[serde(default)]
    content: Option<Map<String, Value>>,
}

/// The choices of a user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Action {
    /// Agreed.
    Accept,
    /// Said no.
    Decline,
    /// Went away without a choice.
    Cancel,
}

/// Whether there was such a question.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Output {
    /// False if the question is no longer open.
    answered: bool,
}

impl Method for Answer {
    const NAME: &'static str = "connectors.answer";
    const SUMMARY: &'static str = "Answers what a server asks of the user.";
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let answer = match params.action {
            Action::Accept => ElicitationAnswer::Accept(params.content.unwrap_or_default()),
            Action::Decline => ElicitationAnswer::Decline,
            Action::Cancel => ElicitationAnswer::Cancel,
        };
        Ok(Output { answered: context.manager().answer(&params.request_id, answer) })
    }
}
