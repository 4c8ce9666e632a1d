//! Calling tools: admission, validation, cancellation, the record of calls.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::time::Instant as Deadline;

use super::ConnectorManager;
use super::cell::{Cell, Command, State};
use super::claim::Claim;
use super::request::{CallRequest, CallResult};
use super::routes::Route;
use super::shared::Shared;
use super::step_up::StepUp;
use crate::client::McpClient;
use crate::connector::{ToolCall, ToolOutcome};
use crate::definition::OutputCheck;
use crate::error::{ConnectorError, TransportError};
use crate::events::EventKind;
use crate::names::Slug;

impl ConnectorManager {
    /// Calls an enabled tool, through gates and validation. Where the user has to grant more for it, that is announced as
    /// [`EventKind::SignIn`], and the call waits for it and is sent again.
    pub async fn call_tool(&self, request: CallRequest) -> Result<CallResult, ConnectorError> {
        self.shared().call(request).await
    }

    /// The route that a call would take, waiting for a first connection that is under way, as [`call_tool`](Self::call_tool) does.
    pub async fn route_of(&self, request: &CallRequest) -> Result<Arc<Route>, ConnectorError> {
        let deadline = request.timeout.and_then(|timeout| Deadline::now().checked_add(timeout));
        let Some(claim) = &request.claim else {
            return self.shared().admitted(request, deadline).await;
        };
        tokio::select! {
            biased;
            () = claim.cancelled() => Err(ConnectorError::Cancelled { slug: request.slug.clone() }),
            route = self.shared().admitted(request, claim.deadline) => route,
        }
    }

    /// Has a call count as under way before it is made: it can be cancelled, and its time runs.
    #[cfg(feature = "car-engine")]
    pub(crate) fn claim(&self, mut request: CallRequest) -> Result<CallRequest, ConnectorError> {
        request.claim = Some(Arc::new(self.shared().calls.claim(&request)?));
        Ok(request)
    }

    /// Returns once a call that counts as under way is cancelled or out of time. For whoever gives it up then.
    #[cfg(feature = "car-engine")]
    pub(crate) fn given_up(&self, request: &CallRequest) -> impl Future<Output = ConnectorError> + use<> {
        let (claim, slug) = (request.claim.clone(), request.slug.clone());
        let limit = request.timeout.unwrap_or_default();
        async move {
            let Some(claim) = claim else { return std::future::pending().await };
            let out_of_time = async {
                match claim.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = claim.cancelled() => ConnectorError::Cancelled { slug },
                () = out_of_time => ConnectorError::TimedOut { slug, what: "the host's runtime".to_owned(), limit },
            }
        }
    }

    /// Whether [`call_tool`](Self::call_tool) would send these arguments now: the tool has a route, and they satisfy its schema.
    pub fn check_call(&self, slug: &Slug, tool: &str, arguments: &Value) -> Result<(), ConnectorError> {
        self.shared().cell(slug)?;
        match self.routes().get(slug, tool) {
            Some(route) => validate(route, arguments),
            None => Err(ConnectorError::UnknownTool { slug: slug.clone(), tool: tool.to_owned() }),
        }
    }

    /// Why an enabled tool on offer is withheld from models, in one sentence: its definition has changed, its schema cannot be
    /// used, or a gate refuses it. `None` for every other tool.
    pub fn withheld(&self, slug: &Slug, tool: &str) -> Option<String> {
        self.shared().withheld_reason(slug, tool)
    }

    /// Why a route is to go, or has gone; `None` where nothing is known against its tool.
    #[cfg(feature = "car-engine")]
    pub(crate) fn why_withdrawn(&self, route: &Route) -> Option<String> {
        self.shared().why_withdrawn(route)
    }

    /// Cancels a call, at the server too; false if no call with this id is under way.
    pub fn cancel(&self, call_id: &str) -> bool {
        self.shared().calls.cancel(call_id)
    }
}

impl Shared {
    /// Calls an enabled tool. Dropping the future cancels the call at the server.
    pub(super) async fn call(self: &Arc<Self>, request: CallRequest) -> Result<CallResult, ConnectorError> {
        let claim = match &request.claim {
            Some(claim) => Arc::clone(claim),
            None => Arc::new(self.calls.claim(&request)?),
        };
        let slug = request.slug.clone();
        tokio::select! {
            biased;
            () = claim.cancelled() => Err(ConnectorError::Cancelled { slug }),
            outcome = self.call_claimed(request, &claim) => outcome,
        }
    }

    async fn call_claimed(
        self: &Arc<Self>,
        request: CallRequest,
        claim: &Arc<Claim>,
    ) -> Result<CallResult, ConnectorError> {
        let (started, timeout) = (Instant::now(), request.timeout);
        let route = self.admitted(&request, claim.deadline).await?;
        validate(&route, &request.arguments)?;
        let client = self.connection(&route.cell)?;
        route.cell.freshen();
        let call = CallUnderWay::begin(self, &route, claim);
        let mut upstream = ToolCall::new(Arc::clone(&route.tool), request.arguments);
        // What is left of it.
        let left = |deadline: Deadline| deadline.saturating_duration_since(Deadline::now());
        upstream.total_timeout = claim.deadline.map(left);
        upstream = upstream.with_progress(call.progress_sink());
        let grants = route.cell.consent.grants();
        let outcome = match client.call(&upstream).await {
            Err(ConnectorError::InsufficientScope { scopes, .. }) => {
                let again = StepUp::new(self, &route, upstream, claim.deadline, grants);
                // Rare, and large: kept out of the future of every call.
                Box::pin(again.send_again(scopes)).await
            }
            outcome => outcome,
        };
        let mut outcome = outcome.and_then(|outcome| checked(&route, outcome));
        if let Err(ConnectorError::TimedOut { limit, .. }) = &mut outcome
            && claim.deadline.is_some_and(|deadline| deadline <= Deadline::now())
        {
            // As the caller has set it, not what was left of it.
            *limit = timeout.unwrap_or(*limit);
        }
        if let Err(error) = &outcome
            && may_mean_disconnected(error)
        {
            route.cell.hint(Command::Suspect);
        }
        let name = match &outcome {
            Ok((outcome, _)) if outcome.is_error() => "tool_error",
            Ok(_) => "ok",
            Err(error) => error.code(),
        };
        call.finish(name);
        outcome.map(|(outcome, output_problems)| CallResult {
            outcome,
            call_id: Arc::clone(&claim.call_id),
            duration: started.elapsed(),
            output_problems,
        })
    }

    /// The route of a call, waiting for a first connection that is under way, until the deadline at most.
    async fn admitted(
        &self,
        request: &CallRequest,
        deadline: Option<Deadline>,
    ) -> Result<Arc<Route>, ConnectorError> {
        if let Some(route) = self.routes.load().get(&request.slug, &request.tool)
            && !route.cell.state.borrow().is_pending()
        {
            return Ok(Arc::clone(route));
        }
        let cell = self.cell(&request.slug)?;
        let unknown =
            || ConnectorError::UnknownTool { slug: request.slug.clone(), tool: request.tool.clone() };
        if !cell.definition.load().enabled_tools.contains(&request.tool) {
            return Err(unknown());
        }
        let patience = deadline.unwrap_or_else(|| Deadline::now() + self.limits.handshake);
        let mut state = cell.state.subscribe();
        // A state that stays pending is reported below as not connected.
        let _ = tokio::time::timeout_at(patience, state.wait_for(|state| !state.is_pending())).await;
        if let Some(route) = self.routes.load().get(&request.slug, &request.tool) {
            return Ok(Arc::clone(route));
        }
        // Without a catalogue nobody knows whether the tool exists: the connection is what is missing.
        if cell.catalog.load().is_none() {
            self.connection(&cell)?;
        }
        let error = unknown();
        if let Some(reason) = self.withheld_reason(&request.slug, &request.tool) {
            let call_id = request.call_id.clone();
            self.events.publish(
                Some(&request.slug),
                EventKind::CallRefused { call_id, tool: request.tool.clone(), code: error.code(), reason },
            );
        }
        Err(error)
    }

    /// The connection of a connector, or why there is none.
    pub(super) fn connection(&self, cell: &Cell) -> Result<Arc<McpClient>, ConnectorError> {
        if let Some(client) = cell.client.load_full() {
            return Ok(client);
        }
        let slug = cell.slug.clone();
        Err(match &*cell.state.borrow() {
            State::NeedsSignIn(refusal) => refusal.error(&slug),
            State::Backoff { error, retry_at, .. } => {
                ConnectorError::NotConnected { slug, reason: Some(error.clone()), retry_at: Some(*retry_at) }
            }
            State::Disabled => ConnectorError::NotConnected {
                slug,
                reason: Some("it is switched off".to_owned()),
                retry_at: None,
            },
            _ => ConnectorError::NotConnected { slug, reason: None, retry_at: None },
        })
    }
}

pub(super) fn validate(route: &Route, arguments: &Value) -> Result<(), ConnectorError> {
    let (slug, tool) = (route.slug.clone(), route.tool.name.clone());
    let invalid =
        |problems| Err(ConnectorError::InvalidArguments { slug: slug.clone(), tool: tool.clone(), problems });
    if !arguments.is_object() {
        return invalid(vec!["/: the arguments are not an object".to_owned()]);
    }
    match route.tool.validator() {
        Ok(validator) => match validator.problems_of_arguments(arguments) {
            problems if problems.is_empty() => Ok(()),
            problems => invalid(problems),
        },
        // Routes exist only for tools whose schema compiles.
        Err(problem) => Err(ConnectorError::Protocol { slug, problem: problem.to_string() }),
    }
}

/// Holds a result against its tool's output schema, as the connector's user has chosen.
fn checked(route: &Route, outcome: ToolOutcome) -> Result<(ToolOutcome, Vec<String>), ConnectorError> {
    let check = route.cell.definition.load().output_check;
    if check == OutputCheck::Off {
        return Ok((outcome, Vec::new()));
    }
    match route.tool.output_problems(&outcome) {
        problems if check == OutputCheck::Strict && !problems.is_empty() => Err(ConnectorError::Protocol {
            slug: route.slug.clone(),
            problem: format!("the result violates the tool's output schema: {}", problems.join("; ")),
        }),
        problems => Ok((outcome, problems)),
    }
}

/// True if the connection, not just the call, may be over.
fn may_mean_disconnected(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::SignInRequired { .. } | ConnectorError::Authorization { .. } => true,
        ConnectorError::Transport { error, .. } => matches!(
            **error,
            TransportError::Unreachable { .. }
                | TransportError::Closed { .. }
                | TransportError::Status { .. }
        ),
        _ => false,
    }
}

/// The record of one call: announced when it begins and, however it ends, when it is over.
struct CallUnderWay {
    shared: Arc<Shared>,
    route: Arc<Route>,
    claim: Arc<Claim>,
    started: Instant,
    /// How it ended; a call that is dropped was cancelled, or given up by its caller.
    outcome: &'static str,
}

impl CallUnderWay {
    fn begin(shared: &Arc<Shared>, route: &Arc<Route>, claim: &Arc<Claim>) -> Self {
        let (call_id, tool) = (Arc::clone(&claim.call_id), route.tool.name.clone());
        shared.events.publish(Some(&route.slug), EventKind::CallStarted { call_id, tool });
        Self {
            shared: Arc::clone(shared),
            route: Arc::clone(route),
            claim: Arc::clone(claim),
            started: Instant::now(),
            outcome: "cancelled",
        }
    }

    fn progress_sink(&self) -> crate::connector::ProgressSink {
        let (events, slug, call_id) =
            (self.shared.events.clone(), self.route.slug.clone(), Arc::clone(&self.claim.call_id));
        Arc::new(move |progress| {
            events.publish(Some(&slug), EventKind::CallProgress { call_id: Arc::clone(&call_id), progress });
        })
    }

    fn finish(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        // Whoever hears of the end may use the id again.
        self.claim.release();
        let kind = EventKind::CallFinished {
            call_id: Arc::clone(&self.claim.call_id),
            tool: self.route.tool.name.clone(),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: self.outcome,
        };
        self.shared.events.publish(Some(&self.route.slug), kind);
    }
}
