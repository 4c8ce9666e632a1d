//! `tools/call`, with the rounds of input that it may need.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Inner;
use super::failure::Failure;
use super::request::{Deadline, Request};
use crate::connector::{ProgressSink, ToolCall, ToolOutcome};
use crate::error::ConnectorError;
use crate::host::InputRequest;
use crate::protocol::{Era, RpcError, code};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallParams<'a> {
    name: &'a str,
    arguments: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_responses: Option<Map<String, Value>>,
    /// Echoed byte for byte; whatever it is, it is the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<Box<RawValue>>,
}

/// The members of a result that decide what happens next.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultHead {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(default)]
    input_requests: Option<Map<String, Value>>,
    #[serde(default)]
    request_state: Option<Box<RawValue>>,
}

impl Inner {
    pub(super) async fn call_tool(&self, call: ToolCall) -> Result<ToolOutcome, ConnectorError> {
        let slug = &self.options.slug;
        let limits = &self.options.limits;
        let protocol = |problem: String| ConnectorError::Protocol { slug: slug.clone(), problem };
        let total = call.total_timeout.unwrap_or(limits.call_total);
        let idle = call.idle_timeout.unwrap_or_else(|| call.total_timeout.unwrap_or(limits.call_idle));
        let ignore: ProgressSink = std::sync::Arc::new(|_| ());
        let sink = call.on_progress.as_ref().unwrap_or(&ignore);
        let mut params = CallParams {
            name: &call.tool.name,
            arguments: &call.arguments,
            input_responses: None,
            request_state: None,
        };
        let started = tokio::time::Instant::now();
        for _ in 0..=limits.input_rounds {
            let left = total.saturating_sub(started.elapsed());
            let raw = self
                .in_session(|version| {
                    let mut request = Request::new(
                        "tools/call",
                        &params,
                        Some(version),
                        Deadline::starting_now(idle, left),
                    );
                    request.name = Some(&call.tool.name);
                    request.progress = Some(sink);
                    if version.era() == Era::Modern {
                        request.header_params = call
                            .tool
                            .header_params
                            .iter()
                            .filter_map(|param| Some((param.header.clone(), param.value(&call.arguments)?)))
                            .collect();
                    }
                    self.request(request)
                })
                .await?;
            let head: ResultHead = serde_json::from_str(raw.get())
                .map_err(|_| protocol("the answer to tools/call is not a result object".to_owned()))?;
            match head.result_type.as_deref() {
                None | Some("complete") => {
                    return Ok(ToolOutcome::read(raw, head.is_error.unwrap_or(false)));
                }
                Some("input_required") => {
                    if head.input_requests.is_none() && head.request_state.is_none() {
                        return Err(protocol("the server asks for input without saying which".to_owned()));
                    }
                    params.input_responses = match head.input_requests {
                        Some(requests) => Some(self.gather(requests).await?),
                        None => None,
                    };
                    params.request_state = head.request_state;
                }
                Some(_) => {
                    return Err(protocol("the answer to tools/call has an unknown resultType".to_owned()));
                }
            }
        }
        let max = format!("{} rounds", limits.input_rounds);
        Err(ConnectorError::LimitExceeded {
            slug: slug.clone(),
            limit: "the server's requests for input",
            max,
        })
    }

    /// Answers the requests for input of one round, all at once (2026-07-28, patterns, multi round-trip requests).
    async fn gather(&self, requests: Map<String, Value>) -> Result<Map<String, Value>, ConnectorError> {
        let answers = requests.into_iter().map(|(key, request)| async move {
            let answer = self.answer_embedded(request).await;
            (key, answer)
        });
        let mut responses = Map::new();
        for (key, answer) in join_all(answers).await {
            match answer {
                Ok(answer) => {
                    responses.insert(key, answer);
                }
                Err(error) => return Err(Failure::Rpc(error).into_error(&self.options.slug)),
            }
        }
        Ok(responses)
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
