//! The dispatch of a runtime's actions to connectors.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use car_engine::{ToolExecution, ToolExecutor};
use car_ir::{ToolFailure, ToolStreamChunk};
use serde_json::Value;
use tokio::sync::mpsc;

use super::bridge::Names;
use super::call::{self, Awaited, Found};
use super::policy::denial;
use super::record::Recorder;
use super::result::ResultShape;
use super::runtime::{Attached, Holder};
use super::stream;
use crate::manager::Route;

/// Runs actions on connectors' tools, and hands all others to a fallback.
///
/// *Concurrency.* Any number of actions at once, also on one connector; none waits for another. *Cancellation.* When the
/// action's future is dropped (a timeout of the runtime's, a proposal that is given up), the call is cancelled at the server.
/// *Timeouts.* `timeout_ms` bounds the call on top of the connector's own limits; of actions that are streamed the engine does not tell
/// it. *Errors.* Whatever a server says is an ordinary
/// failure of the action: it never makes the runtime look for a tool of its own.
///
/// A tool is dispatched only while the runtime that this executor belongs to lists it, it has a route, and no rule of
/// [`CarBridge::deny_connector`](super::CarBridge::deny_connector) denies its connector: retries and actions that have waited are
/// asked about anew.
#[derive(Clone)]
pub struct ConnectorExecutor {
    names: Names,
    runtime: Arc<Attached>,
    recorder: Recorder,
    fallback: Option<Arc<dyn ToolExecutor>>,
    shape: ResultShape,
    pub(super) awaited: Arc<Awaited>,
}

impl ConnectorExecutor {
    pub(super) fn new(names: Names, runtime: Arc<Attached>, recorder: Recorder) -> Self {
        Self {
            names,
            runtime,
            recorder,
            fallback: None,
            shape: ResultShape::default(),
            awaited: Arc::default(),
        }
    }

    /// Who runs tools that no connector has. Without one, the runtime's built-in tools get them.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Arc<dyn ToolExecutor>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// In which shape results are handed on.
    #[must_use]
    pub fn with_results(mut self, shape: ResultShape) -> Self {
        self.shape = shape;
        self
    }

    async fn find(&self, tool: &str) -> Found {
        let Some(owner) = self.names.owner(tool) else { return Found::NotOurs };
        match (self.runtime.holder(&owner, tool).await, self.names.route(tool)) {
            (Holder::Somebody, _) => Found::NotOurs,
            (Holder::Connector, Some(route)) if route.slug == owner => Found::Ours(route),
            (Holder::Connector | Holder::Nobody, _) => Found::Withdrawn,
        }
    }

    /// Says that an action goes to a connector, unless a rule denies it by now.
    fn let_through(&self, route: &Route, action: &str) -> Result<(), ToolFailure> {
        if let Some(rule) = self.runtime.denied_by(&route.slug) {
            self.recorder.denied(&route.slug, action, &route.canonical, &rule);
            return Err(ToolFailure::ordinary(denial(&route.slug, &rule)));
        }
        self.recorder.call(route, action);
        Ok(())
    }

    /// Runs an action if the tool is a connector's; `None` if it is not.
    async fn run(
        &self,
        tool: &str,
        arguments: &Value,
        action: &str,
        timeout_ms: Option<u64>,
    ) -> Option<Result<Value, ToolFailure>> {
        let route = match self.find(tool).await {
            Found::Ours(route) => route,
            Found::Withdrawn => return Some(Err(withdrawn(tool))),
            Found::NotOurs => return None,
        };
        if let Err(denied) = self.let_through(&route, action) {
            return Some(Err(denied));
        }
        let manager = self.names.manager();
        if let Some(output) = call::call_awaited(manager, &route, &self.awaited, action).await {
            return Some(output);
        }
        Some(call::call(manager, &route, arguments.clone(), call::budget(timeout_ms), self.shape).await)
    }

    fn fallback(&self, tool: &str) -> Result<&Arc<dyn ToolExecutor>, String> {
        // In these words the engine takes it for a tool that may be a built-in one.
        self.fallback.as_ref().ok_or_else(|| format!("unknown tool: {tool}"))
    }
}

/// Not in the words that would make the engine look for a built-in tool.
fn withdrawn(tool: &str) -> ToolFailure {
    ToolFailure::ordinary(format!("the tool `{tool}` is unknown: no connector offers it any more"))
}

/// For callers that are told of failures by their text. A server's never looks like the engine's own words.
fn told(failure: ToolFailure) -> String {
    failure.message
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ToolExecutor for ConnectorExecutor {
    async fn execute(&self, tool: &str, params: &Value) -> Result<Value, String> {
        match self.run(tool, params, "", None).await {
            Some(output) => output.map_err(told),
            None => self.fallback(tool)?.execute(tool, params).await,
        }
    }

    async fn execute_with_action(
        &self,
        tool: &str,
        params: &Value,
        action_id: &str,
        timeout_ms: Option<u64>,
    ) -> Result<Value, String> {
        match self.run(tool, params, action_id, timeout_ms).await {
            Some(output) => output.map_err(told),
            None => self.fallback(tool)?.execute_with_action(tool, params, action_id, timeout_ms).await,
        }
    }

    async fn execute_with_action_in_session(
        &self,
        tool: &str,
        params: &Value,
        action_id: &str,
        timeout_ms: Option<u64>,
        session_id: Option<&str>,
        attempt: u32,
    ) -> Result<Value, String> {
        match self.run(tool, params, action_id, timeout_ms).await {
            Some(output) => output.map_err(told),
            None => {
                self.fallback(tool)?
                    .execute_with_action_in_session(tool, params, action_id, timeout_ms, session_id, attempt)
                    .await
            }
        }
    }

    async fn execute_with_action_state_in_session(
        &self,
        tool: &str,
        params: &Value,
        action_id: &str,
        timeout_ms: Option<u64>,
        session_id: Option<&str>,
        attempt: u32,
        expected_effects: &HashMap<String, Value>,
        return_schema: Option<&Value>,
    ) -> Result<ToolExecution, String> {
        match self.run(tool, params, action_id, timeout_ms).await {
            Some(output) => output.map(ToolExecution::output_only).map_err(told),
            None => {
                self.fallback(tool)?
                    .execute_with_action_state_in_session(
                        tool,
                        params,
                        action_id,
                        timeout_ms,
                        session_id,
                        attempt,
                        expected_effects,
                        return_schema,
                    )
                    .await
            }
        }
    }

    async fn execute_classified(
        &self,
        tool: &str,
        params: &Value,
        action_id: &str,
        timeout_ms: Option<u64>,
        session_id: Option<&str>,
        attempt: u32,
        expected_effects: &HashMap<String, Value>,
        return_schema: Option<&Value>,
    ) -> Result<ToolExecution, ToolFailure> {
        if let Some(output) = self.run(tool, params, action_id, timeout_ms).await {
            return output.map(ToolExecution::output_only);
        }
        self.fallback(tool)
            .map_err(ToolFailure::unhandled)?
            .execute_classified(
                tool,
                params,
                action_id,
                timeout_ms,
                session_id,
                attempt,
                expected_effects,
                return_schema,
            )
            .await
    }

    async fn execute_stream(
        &self,
        tool: &str,
        params: &Value,
        action_id: &str,
    ) -> Result<mpsc::Receiver<ToolStreamChunk>, String> {
        match self.find(tool).await {
            Found::Ours(route) => {
                self.let_through(&route, action_id).map_err(told)?;
                Ok(stream::start(self.names.manager(), &route, params, action_id, self.shape))
            }
            Found::Withdrawn => Err(withdrawn(tool).message),
            Found::NotOurs => self.fallback(tool)?.execute_stream(tool, params, action_id).await,
        }
    }
}
