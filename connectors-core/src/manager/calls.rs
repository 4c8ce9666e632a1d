//! Calling tools: admission, validation, cancellation, the record of calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Notify;

use super::ConnectorManager;
use super::cell::{Cell, Command, State};
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
use crate::transport::InvalidDefinition;

/// The calls under way, by id.
#[derive(Default)]
pub(super) struct Calls {
    under_way: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
    next: AtomicU64,
}

impl Calls {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels a call; false if there is none with this id.
    pub(super) fn cancel(&self, call_id: &str) -> bool {
        let cancelled = self.under_way().get(call_id).cloned();
        cancelled.inspect(|call| call.notify_one()).is_some()
    }

    fn made_up_id(&self) -> Arc<str> {
        format!("call-{}", self.next.fetch_add(1, Ordering::Relaxed) + 1).into()
    }
}

impl ConnectorManager {
    /// Calls an enabled tool, through gates and validation. Where the user has to grant more for it, that is announced as
    /// [`EventKind::SignIn`](crate::EventKind::SignIn), and the call waits for it and is sent again.
    pub async fn call_tool(&self, request: CallRequest) -> Result<CallResult, ConnectorError> {
        self.shared().call(request).await
    }

    /// The route that a call would take, waiting for a first connection that is under way, as [`call_tool`](Self::call_tool) does.
    pub async fn route_of(&self, request: &CallRequest) -> Result<Arc<Route>, ConnectorError> {
        self.shared().admitted(request).await
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

    /// Cancels a call, at the server too; false if no call with this id is under way.
    pub fn cancel(&self, call_id: &str) -> bool {
        self.shared().calls.cancel(call_id)
    }
}

impl Shared {
    /// Calls an enabled tool. Dropping the future cancels the call at the server.
    pub(super) async fn call(self: &Arc<Self>, request: CallRequest) -> Result<CallResult, ConnectorError> {
        let started = Instant::now();
        let deadline = request.timeout.and_then(|timeout| tokio::time::Instant::now().checked_add(timeout));
        let route = self.admitted(&request).await?;
        validate(&route, &request.arguments)?;
        let client = self.connection(&route.cell)?;
        route.cell.freshen();
        let call = CallUnderWay::begin(self, &route, request.call_id)?;
        let outcome = {
            let mut upstream = ToolCall::new(Arc::clone(&route.tool), request.arguments);
            upstream.total_timeout = request.timeout;
            upstream = upstream.with_progress(call.progress_sink());
            let grants = route.cell.consent.grants();
            let attempt = async {
                match client.call(&upstream).await {
                    Err(ConnectorError::InsufficientScope { scopes, .. }) => {
                        let again = StepUp::new(self, &route, upstream, deadline, grants);
                        // Rare, and large: kept out of the future of every call.
                        Box::pin(again.send_again(scopes)).await
                    }
                    outcome => outcome,
                }
            };
            tokio::select! {
                biased;
                () = call.cancelled.notified() => Err(ConnectorError::Cancelled { slug: route.slug.clone() }),
                outcome = attempt => outcome,
            }
        };
        let outcome = outcome.and_then(|outcome| checked(&route, outcome));
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
        let call_id = call.finish(name);
        outcome.map(|(outcome, output_problems)| CallResult {
            outcome,
            call_id,
            duration: started.elapsed(),
            output_problems,
        })
    }

    /// The route of a call, waiting for a first connection that is under way.
    pub(super) async fn admitted(&self, request: &CallRequest) -> Result<Arc<Route>, ConnectorError> {
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
        let patience = request.timeout.unwrap_or(self.limits.handshake);
        let mut state = cell.state.subscribe();
        // A state that stays pending is reported below as not connected.
        let _ = tokio::time::timeout(patience, state.wait_for(|state| !state.is_pending())).await;
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
    call_id: Arc<str>,
    cancelled: Arc<Notify>,
    started: Instant,
    /// How it ended; a call that is dropped was given up by its caller.
    outcome: &'static str,
}

impl CallUnderWay {
    fn begin(
        shared: &Arc<Shared>,
        route: &Arc<Route>,
        call_id: Option<Arc<str>>,
    ) -> Result<Self, ConnectorError> {
        let call_id = call_id.unwrap_or_else(|| shared.calls.made_up_id());
        let cancelled = Arc::new(Notify::new());
        match shared.calls.under_way().entry(Arc::clone(&call_id)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Arc::clone(&cancelled));
            }
            std::collections::hash_map::Entry::Occupied(_) => {
                let problem = "a call with this id is under way".to_owned();
                return Err(InvalidDefinition { field: "call_id", problem }.into());
            }
        }
        let kind = EventKind::CallStarted { call_id: Arc::clone(&call_id), tool: route.tool.name.clone() };
        shared.events.publish(Some(&route.slug), kind);
        Ok(Self {
            shared: Arc::clone(shared),
            route: Arc::clone(route),
            call_id,
            cancelled,
            started: Instant::now(),
            outcome: "cancelled",
        })
    }

    fn progress_sink(&self) -> crate::connector::ProgressSink {
        let (events, slug, call_id) =
            (self.shared.events.clone(), self.route.slug.clone(), Arc::clone(&self.call_id));
        Arc::new(move |progress| {
            events.publish(Some(&slug), EventKind::CallProgress { call_id: Arc::clone(&call_id), progress });
        })
    }

    fn finish(mut self, outcome: &'static str) -> Arc<str> {
        self.outcome = outcome;
        Arc::clone(&self.call_id)
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.shared.calls.under_way().remove(&self.call_id);
        let kind = EventKind::CallFinished {
            call_id: Arc::clone(&self.call_id),
            tool: self.route.tool.name.clone(),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: self.outcome,
        };
        self.shared.events.publish(Some(&self.route.slug), kind);
    }
}
