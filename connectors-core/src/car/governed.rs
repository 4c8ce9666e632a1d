//! Single calls, each sent through a runtime as a proposal of one action.

use std::sync::Arc;

use car_engine::{Action, ActionProposal, ActionType, ProposalResult, Runtime, StateStore, ToolExecutor};
use car_ir::ActionStatus;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::bridge::CarBridge;
use super::call::{Awaited, Ended};
use super::proposed;
use super::record::Recorder;
use crate::error::ConnectorError;
use crate::events::EventKind;
use crate::manager::{CallRequest, CallResult, ConnectorManager};
use crate::names::Slug;

/// Why a call through a runtime came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GovernedError {
    /// As without a runtime.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The runtime refused it: a policy, a capability, an admission gate. Nothing was sent.
    #[error("the runtime does not allow `{tool}` of the connector `{slug}`: {reason}")]
    Denied {
        /// The connector.
        slug: Slug,
        /// The server's name of the tool.
        tool: String,
        /// In the words of the runtime.
        reason: String,
    },
}

/// Calls connectors' tools through a runtime: its validator, its policies and its event log see every one of them, and the
/// results are those of the servers, whole.
///
/// The engine runs one proposal at a time on each state, so that a server that hangs would hold up all others. Each call is
/// therefore run by a runtime with a state of its own, which has the tools, the policies, the limits and the log in common with
/// the one that is given. What that one keeps to itself (capabilities, budgets, admission gates, cached results) does not hold for
/// calls. The output of such an action is `null`: the result goes to the caller alone.
pub struct GovernedCalls {
    bridge: CarBridge,
    runtime: Arc<Runtime>,
    executor: Arc<dyn ToolExecutor>,
    awaited: Arc<Awaited>,
    recorder: Recorder,
}

impl GovernedCalls {
    /// Attaches the bridge to the runtime, if that is not done yet. The runtime's executor stays as it is: these calls have their
    /// own.
    pub async fn through(runtime: Arc<Runtime>, bridge: &CarBridge) -> Self {
        let executor = bridge.executor(&runtime);
        let awaited = Arc::clone(&executor.awaited);
        bridge.attach(&runtime).await;
        let recorder = bridge.recorder(&runtime.log);
        Self { bridge: bridge.clone(), runtime, executor: Arc::new(executor), awaited, recorder }
    }

    fn manager(&self) -> &ConnectorManager {
        self.bridge.manager()
    }

    /// [`CarBridge::deny_connector`] on the runtime.
    pub async fn deny_connector(&self, rule: &str, target: Slug) {
        self.bridge.deny_connector(&self.runtime, rule, target).await;
    }

    /// [`CarBridge::allow_connector`] on the runtime.
    pub async fn allow_connector(&self, rule: &str) -> bool {
        self.bridge.allow_connector(&self.runtime, rule).await
    }

    /// A runtime for one call.
    fn lane(&self) -> Runtime {
        let runtime = &self.runtime;
        let state = Arc::new(StateStore::new());
        let mut lane = Runtime::with_shared(state, Arc::clone(&runtime.log), Arc::clone(&runtime.policies));
        lane.tools = Arc::clone(&runtime.tools);
        lane.registry = Arc::clone(&runtime.registry);
        lane.rate_limiter = Arc::clone(&runtime.rate_limiter);
        lane.with_executor(Arc::clone(&self.executor))
    }

    /// The runtime.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Calls an enabled tool. As [`ConnectorManager::call_tool`], of which it is a longer way; dropping the future cancels the
    /// call at the server.
    pub async fn call_tool(&self, request: CallRequest) -> Result<CallResult, GovernedError> {
        let (slug, tool) = (request.slug.clone(), request.tool.clone());
        let request = self.manager().claim(request)?;
        let route = match self.manager().route_of(&request).await {
            Ok(route) => route,
            Err(error) => {
                self.record_refusal(&slug, &tool, &error);
                return Err(error.into());
            }
        };
        if !self.runtime.registry.contains(&route.canonical).await {
            // Listed in a moment: the change that brought the route is not over.
            self.manager().routes_settled().await;
        }
        let mut action = Action::new(ActionType::ToolCall);
        // Who finds it out could have the call made by an action of his own.
        action.id = format!("connectors-call-{:032x}", rand::random::<u128>());
        action.tool = Some(route.canonical.to_string());
        let validator = route.tool.validator().ok().map(Arc::as_ref);
        if let Value::Object(arguments) = proposed::arguments(validator, &request.arguments) {
            action.parameters = arguments.into_iter().collect();
        }
        let given_up = self.manager().given_up(&request);
        let mut expected = self.awaited.expect(action.id.clone(), request);
        let proposal = proposal(action);
        // A boxed type of its own: that of the engine's is too deep for whoever builds on this.
        let lane = self.lane();
        let mut executed: BoxFuture<'_, ProposalResult> = lane.execute(&proposal).boxed();
        // The call itself can be cancelled, and has its time. What it may wait for before (a log that is locked, a limit of the
        // runtime's) knows of neither.
        let result = tokio::select! {
            biased;
            result = &mut executed => result,
            () = expected.begun() => executed.await,
            error = given_up => {
                self.recorder.refused(&slug, &tool, "given up before it was dispatched");
                return Err(error.into());
            }
        };
        let request = match expected.ended() {
            Ended::Called(outcome) => return Ok(outcome?),
            Ended::GivenUp => return Err(ConnectorError::Cancelled { slug }.into()),
            Ended::Unsent(request) => request,
        };
        // The runtime's words are for models. Where the manager would refuse as well, its error says more.
        if let Err(error) = self.manager().check_call(&slug, &tool, &request.arguments) {
            self.record_refusal(&slug, &tool, &error);
            return Err(error.into());
        }
        let refused = result.results.into_iter().next();
        let is_refusal = refused.as_ref().is_none_or(|result| result.status != ActionStatus::Succeeded);
        let reason = refused.and_then(|result| result.error).filter(|_| is_refusal);
        let reason = reason.unwrap_or_else(|| "it was not dispatched".to_owned());
        // Whoever hears of it may use the id again.
        let call_id = request.call_id.clone();
        drop(request);
        // The reason may quote the arguments, and so is for the caller alone.
        let told = EventKind::CallRefused {
            call_id,
            tool: tool.clone(),
            code: ConnectorError::UnknownTool { slug: slug.clone(), tool: tool.clone() }.code(),
            reason: "the runtime does not allow it".to_owned(),
        };
        self.manager().events().publish(Some(&slug), told);
        Err(GovernedError::Denied { slug, tool, reason })
    }

    /// A call that a gate refuses is in the log like one that a policy of the runtime refuses.
    fn record_refusal(&self, slug: &Slug, tool: &str, error: &ConnectorError) {
        if matches!(error, ConnectorError::UnknownTool { .. })
            && let Some(reason) = self.manager().withheld(slug, tool)
        {
            self.recorder.refused(slug, tool, &reason);
        }
    }
}

fn proposal(action: Action) -> ActionProposal {
    ActionProposal {
        id: format!("proposal-of-{}", action.id),
        source: "connectors".to_owned(),
        actions: vec![action],
        timestamp: std::time::SystemTime::now().into(),
        context: Default::default(),
    }
}
