//! Requests that a server may answer with a request for input: `tools/call`, `prompts/get`, `resources/read`
//! (2026-07-28, patterns, multi round-trip requests).

use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Inner;
use super::failure::Failure;
use super::request::{Deadline, Request};
use crate::connector::ProgressSink;
use crate::error::ConnectorError;
use crate::host::InputRequest;
use crate::protocol::{Era, RpcError, code, shallow};

/// A request that may take several rounds.
pub(super) struct Interactive<'a, P> {
    pub(super) method: &'static str,
    pub(super) params: &'a P,
    /// `params.name` or `params.uri`, which HTTP mirrors.
    pub(super) name: &'a str,
    /// `Mcp-Param-*`, for the modern era.
    pub(super) header_params: Vec<(String, String)>,
    pub(super) idle: Duration,
    pub(super) total: Duration,
    pub(super) progress: Option<&'a ProgressSink>,
}

/// A result that needs no more input.
pub(super) struct Complete {
    pub(super) raw: Box<RawValue>,
    /// `isError`, where the result has it.
    pub(super) is_error: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Round<'a, P> {
    #[serde(flatten)]
    own: &'a P,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_responses: Option<Map<String, Value>>,
    /// Echoed byte for byte; whatever it is, it is the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<Box<RawValue>>,
}

/// The members of a result that decide what happens next.
enum Head {
    /// The result is what was asked for.
    Complete { is_error: bool },
    /// The server wants input first.
    Wants { input_requests: Option<Map<String, Value>>, request_state: Option<Box<RawValue>> },
    /// It has a type that this client does not know.
    Unknown,
}

impl Head {
    /// `None` if the result is not an object, or has one of the members with another type.
    fn read(result: &RawValue) -> Option<Self> {
        let names = ["resultType", "isError", "inputRequests", "requestState"];
        let [result_type, is_error, input_requests, request_state] = shallow::members(result.get(), names)?;
        Some(match parsed::<String>(result_type)?.as_deref() {
            None | Some("complete") => Self::Complete { is_error: parsed(is_error)?.unwrap_or(false) },
            Some("input_required") => {
                Self::Wants { input_requests: parsed(input_requests)?, request_state: parsed(request_state)? }
            }
            Some(_) => Self::Unknown,
        })
    }
}

/// Reads a member; a missing one and `null` are `Some(None)`, one of another type is `None`.
fn parsed<'a, T: Deserialize<'a>>(member: Option<&'a str>) -> Option<Option<T>> {
    member.map_or(Some(None), |member| serde_json::from_str(member).ok())
}

impl Inner {
    /// Sends the request, and again with the input that the server asks for, until the result is complete.
    pub(super) async fn interact<P: Serialize + Sync>(
        &self,
        interactive: &Interactive<'_, P>,
    ) -> Result<Complete, ConnectorError> {
        let Interactive { method, .. } = *interactive;
        let slug = &self.options.slug;
        let protocol = |what: &str| ConnectorError::Protocol {
            slug: slug.clone(),
            problem: format!("the answer to {method} {what}"),
        };
        let deadline = Deadline::starting_now(interactive.idle, interactive.total);
        let mut round = Round { own: interactive.params, input_responses: None, request_state: None };
        for _ in 0..=self.options.limits.input_rounds {
            let raw = self
                .in_session_or_after_pages(deadline, |version| {
                    let mut request = Request::new(method, &round, Some(version), deadline);
                    request.name = Some(interactive.name);
                    request.progress = interactive.progress;
                    if version.era() == Era::Modern {
                        request.header_params.clone_from(&interactive.header_params);
                    }
                    self.request(request)
                })
                .await?;
            match Head::read(&raw).ok_or_else(|| protocol("is not a result object"))? {
                Head::Complete { is_error } => return Ok(Complete { raw, is_error }),
                Head::Wants { input_requests: None, request_state: None } => {
                    return Err(protocol("asks for input without saying which"));
                }
                Head::Wants { input_requests, request_state } => {
                    round.input_responses = match input_requests {
                        // Rare, and large: kept out of the future of every call.
                        Some(requests) => Some(Box::pin(self.gather(requests, deadline)).await?),
                        None => None,
                    };
                    round.request_state = request_state;
                }
                Head::Unknown => return Err(protocol("has an unknown resultType")),
            }
        }
        let max = format!("{} rounds", self.options.limits.input_rounds);
        Err(ConnectorError::LimitExceeded {
            slug: slug.clone(),
            limit: "the server's requests for input",
            max,
        })
    }

    /// Answers the requests for input of one round, all at once. The user's time counts for the call's total.
    async fn gather(
        &self,
        requests: Map<String, Value>,
        deadline: Deadline,
    ) -> Result<Map<String, Value>, ConnectorError> {
        let answers = requests
            .into_iter()
            .map(|(key, request)| async move { Ok((key, self.answer_embedded(request).await?)) });
        let answers = tokio::time::timeout_at(deadline.end(), try_join_all(answers)).await;
        let failure = match answers {
            Ok(Ok(answers)) => return Ok(answers.into_iter().collect()),
            Ok(Err(error)) => Failure::Rpc(error),
            Err(_) => Failure::TimedOut {
                what: "the input that the server asks for".to_owned(),
                limit: deadline.total,
            },
        };
        Err(failure.into_error(&self.options.slug))
    }

    async fn answer_embedded(&self, request: Value) -> Result<Value, RpcError> {
        #[derive(Deserialize)]
        struct Embedded {
            method: String,
            #[serde(default)]
            params: Option<Box<RawValue>>,
        }
        let Embedded { method, params } = serde_json::from_value(request)
            .map_err(|_| RpcError::new(code::INVALID_REQUEST, "a request for input without a method"))?;
        self.options.input.answer(&self.options.slug, InputRequest { method, params }).await
    }
}
