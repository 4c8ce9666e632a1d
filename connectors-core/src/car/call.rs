//! One call, from a tool's name to its result.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use car_ir::ToolFailure;
use serde_json::Value;
use tokio::sync::oneshot;

use super::digits;
use super::result::{self, ResultShape};
use crate::error::ConnectorError;
use crate::manager::{CallRequest, CallResult, ConnectorManager, Route};
use crate::names::Slug;

/// Calls that somebody waits for in full: their requests going in, their whole outcomes coming out, by action.
#[derive(Default)]
pub(super) struct Awaited(Mutex<HashMap<String, Slot>>);

enum Slot {
    /// Not dispatched yet. The sender is dropped when it is.
    Request(CallRequest, oneshot::Sender<Infallible>),
    /// Being called.
    UnderWay,
    Outcome(Result<CallResult, ConnectorError>),
}

impl Awaited {
    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects an action; it is forgotten when the expectation is dropped.
    pub(super) fn expect(&self, action: String, request: CallRequest) -> Expectation<'_> {
        let (waiting, begun) = oneshot::channel();
        self.slots().insert(action.clone(), Slot::Request(request, waiting));
        Expectation { awaited: self, action, begun }
    }

    /// The request of an action that calls this tool; what another action of that name calls is not it.
    fn take_request(&self, action: &str, slug: &Slug, tool: &str) -> Option<CallRequest> {
        let mut slots = self.slots();
        let slot = slots.get_mut(action)?;
        match std::mem::replace(slot, Slot::UnderWay) {
            Slot::Request(request, waiting) if request.slug == *slug && request.tool == tool => {
                drop(waiting);
                Some(request)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    fn put(&self, action: &str, outcome: Result<CallResult, ConnectorError>) {
        if let Some(slot) = self.slots().get_mut(action) {
            *slot = Slot::Outcome(outcome);
        }
    }
}

pub(super) struct Expectation<'a> {
    awaited: &'a Awaited,
    action: String,
    begun: oneshot::Receiver<Infallible>,
}

/// What an awaited call came to.
pub(super) enum Ended {
    /// It was never dispatched.
    Unsent(CallRequest),
    /// It was dispatched, and given up before it was over.
    GivenUp,
    Called(Result<CallResult, ConnectorError>),
}

impl Expectation<'_> {
    /// Returns once the action is dispatched.
    pub(super) async fn begun(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.begun).await;
    }

    /// What the call came to.
    pub(super) fn ended(self) -> Ended {
        match self.awaited.slots().remove(&self.action) {
            Some(Slot::Request(request, _)) => Ended::Unsent(request),
            Some(Slot::Outcome(outcome)) => Ended::Called(outcome),
            Some(Slot::UnderWay) | None => Ended::GivenUp,
        }
    }
}

impl Drop for Expectation<'_> {
    fn drop(&mut self) {
        self.awaited.slots().remove(&self.action);
    }
}

/// Calls the tool of a route. Dropping the future cancels the call at the server.
///
/// Integers that the engine does not take are rounded in the output: it would report a call failed that had its effect.
pub(super) async fn call(
    manager: &ConnectorManager,
    route: &Route,
    arguments: Value,
    timeout: Option<Duration>,
    shape: ResultShape,
) -> Result<Value, ToolFailure> {
    let mut request = CallRequest::new(route.slug.clone(), route.tool.name.as_str(), arguments);
    request.timeout = timeout;
    let outcome = manager.call_tool(request).await.map_err(|error| result::failure(&error))?;
    let mut output = result::output(&outcome.outcome, shape).map_err(ToolFailure::ordinary)?;
    digits::replace_large(&mut output, digits::rounded);
    Ok(output)
}

/// As [`call`], where somebody waits for the whole outcome of this action; `None` where nobody does. The output is `null` then, and a
/// failure says no more than its code: event logs keep both, and what the server says is for the caller alone.
pub(super) async fn call_awaited(
    manager: &ConnectorManager,
    route: &Route,
    awaited: &Awaited,
    action: &str,
) -> Option<Result<Value, ToolFailure>> {
    let request = awaited.take_request(action, &route.slug, &route.tool.name)?;
    let outcome = manager.call_tool(request).await;
    let verdict = match &outcome {
        Ok(result) if !result.outcome.is_error() => Ok(Value::Null),
        Ok(_) => Err(ToolFailure::ordinary("the tool has failed: tool_error")),
        Err(error) => Err(ToolFailure::ordinary(format!("the call has failed: {}", error.code()))),
    };
    awaited.put(action, outcome);
    Some(verdict)
}

/// A milliseconds budget as the engine has it. None at all is no time, not no limit.
pub(super) fn budget(timeout_ms: Option<u64>) -> Option<Duration> {
    timeout_ms.map(Duration::from_millis)
}

/// How an executor finds its tools.
pub(super) enum Found {
    /// One of ours.
    Ours(Arc<Route>),
    /// One of ours that is not, or no longer, to be called.
    Withdrawn,
    /// Somebody else's.
    NotOurs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_once_and_only_to_the_tool_that_it_is_for() {
        let (awaited, one, other) = (Awaited::default(), Slug::verbatim("one"), Slug::verbatim("other"));
        let expectation = awaited.expect("a".to_owned(), CallRequest::new(one.clone(), "t", Value::Null));
        // Somebody else's actions may have the same name.
        for (action, slug, tool) in [("a", &one, "u"), ("a", &other, "t"), ("b", &one, "t")] {
            assert!(awaited.take_request(action, slug, tool).is_none(), "{action} {slug} {tool}");
        }
        assert!(awaited.take_request("a", &one, "t").is_some());
        assert!(awaited.take_request("a", &one, "t").is_none());
        awaited.put("a", Err(ConnectorError::NotFound(one.clone())));
        assert!(
            matches!(expectation.ended(), Ended::Called(Err(ConnectorError::NotFound(slug))) if slug == one)
        );
        assert!(awaited.slots().is_empty());
    }

    #[test]
    fn what_was_never_dispatched_is_given_back_and_leaves_nothing() {
        let (awaited, one) = (Awaited::default(), Slug::verbatim("one"));
        let arguments = serde_json::json!({"text": "x"});
        let expect = |action: &str| {
            awaited.expect(action.to_owned(), CallRequest::new(one.clone(), "t", arguments.clone()))
        };
        assert!(matches!(expect("a").ended(), Ended::Unsent(request) if request.arguments == arguments));
        drop(expect("b"));
        let given_up = expect("c");
        assert!(awaited.take_request("c", &one, "t").is_some());
        assert!(matches!(given_up.ended(), Ended::GivenUp));
        assert!(awaited.slots().is_empty());
    }
}
