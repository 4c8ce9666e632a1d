//! The connectors of one host: configured, connected, routed.
//!
//! One duty a module: `add`, `change` and `remove`, with `choice` (what is entered about signing in) and `secrets`; `supervisor`
//! and `dial` (life cycle); `sign_in`, with `opened` (which one), `pending` (those under way) and `grant`
//! (storing what they bring); `selection` (what
//! the user has enabled), `routes` (what is dispatchable), `calls` (dispatch), `consent` and `step_up` (calls that need more
//! than was granted); `status` and `explain` (what is shown), `serial` (one change of the settings at a time).

mod add;
mod backoff;
mod builder;
mod calls;
mod cell;
mod change;
mod choice;
mod consent;
mod dial;
mod explain;
mod grant;
mod input;
mod opened;
mod pending;
mod remove;
mod request;
mod routes;
mod secrets;
mod selection;
mod serial;
mod shared;
mod sign_in;
mod status;
mod step_up;
mod supervisor;

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::builder::ManagerBuilder;
use self::cell::{Cell, Command};
pub use self::request::{CallRequest, CallResult, ConnectorUpdate, NewConnector, NewEndpoint};
pub use self::routes::{Route, RouteTable};
use self::shared::Shared;
use crate::connector::Connector;
use crate::elicitation::ElicitationAnswer;
use crate::error::ConnectorError;
use crate::events::EventBus;
use crate::names::Slug;
use crate::sign_in::{SignInCallback, SignInRequest, SignInView};
use crate::trace::TraceStep;
use crate::view::{ConnectorStatus, StateName, ToolView};

/// How long an answer waits for the outcome of a first dial before it says "still connecting".
const FIRST_OUTCOME: Duration = Duration::from_secs(10);

/// Everything that a host does with connectors. Cloning is cheap; all clones are the same manager.
///
/// *Concurrency.* Any method at any time. What reads (`list`, `tools`, `routes`) never waits; calls wait for nothing but
/// their server. *Cancellation.* Dropping the future of a call cancels it at the server; dropping that of a change abandons
/// the answer, and the change is finished all the same.
///
/// When the last clone is dropped, every connection is cut; [`shutdown`](Self::shutdown) closes them in order.
#[derive(Clone)]
pub struct ConnectorManager {
    owner: Arc<Owner>,
}

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.pending.clear();
        for cell in self.0.cells.load().iter() {
            cell.abort();
        }
    }
}

impl ConnectorManager {
    /// Puts a manager together.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::default()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// Where everything that happens is announced.
    pub fn events(&self) -> &EventBus {
        &self.shared().events
    }

    /// Every connector, in the order of creation.
    pub fn list(&self) -> Vec<ConnectorStatus> {
        self.shared().cells.load().iter().map(|cell| self.shared().status_of(cell)).collect()
    }

    /// One connector.
    pub fn status(&self, slug: &Slug) -> Result<ConnectorStatus, ConnectorError> {
        Ok(self.shared().status_of(&*self.shared().cell(slug)?))
    }

    /// The tools of a connector's last catalogue, in the server's order. One that the server no longer calls fresh is read again
    /// behind this answer.
    pub fn tools(&self, slug: &Slug) -> Result<Vec<ToolView>, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        cell.freshen();
        Ok(self.shared().tools_of(&cell))
    }

    /// What is dispatchable now.
    pub fn routes(&self) -> Arc<RouteTable> {
        self.shared().routes.load_full()
    }

    /// Why the manifest could not be read when it was last tried.
    pub fn storage_problem(&self) -> Option<String> {
        self.shared().storage_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores a new connector, dials it, and returns its status once the first dial has an outcome, or after ten seconds.
    ///
    /// A server that cannot be reached is added all the same; the status says what happened.
    pub async fn add(&self, new: NewConnector) -> Result<ConnectorStatus, ConnectorError> {
        let cell = to_the_end(Arc::clone(self.shared()).create(new)).await?;
        Ok(self.outcome(&cell).await)
    }

    /// Changes a connector; its slug and selection stay. Dials again where the change asks for it.
    ///
    /// Another URL ends the sign-in: tokens are bound to the server that they are for. At another origin nothing of it is used
    /// again, and the tokens are given back.
    pub async fn update(
        &self,
        slug: &Slug,
        update: ConnectorUpdate,
    ) -> Result<ConnectorStatus, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        to_the_end(Arc::clone(self.shared()).change(Arc::clone(&cell), update)).await?;
        Ok(self.outcome(&cell).await)
    }

    /// Removes a connector with its routes and secrets, and closes its connection. Its tokens are given back first, where that
    /// can be done within seconds. After an error it is as it was, but for those.
    pub async fn remove(&self, slug: &Slug) -> Result<(), ConnectorError> {
        let cell = self.shared().cell(slug)?;
        to_the_end(Arc::clone(self.shared()).delete(cell)).await
    }

    /// Enables tools, as they are defined now, and returns how many got a route that had none. Unknown names are ignored.
    pub async fn enable_tools(&self, slug: &Slug, tools: &[String]) -> Result<usize, ConnectorError> {
        self.shared().enable(&self.shared().cell(slug)?, tools).await
    }

    /// Disables tools and returns how many were enabled.
    pub async fn disable_tools(&self, slug: &Slug, tools: &[String]) -> Result<usize, ConnectorError> {
        self.shared().disable(&self.shared().cell(slug)?, tools).await
    }

    /// Accepts the present definitions of enabled tools whose definitions have changed; returns how many those were.
    pub async fn accept_changes(&self, slug: &Slug, tools: &[String]) -> Result<usize, ConnectorError> {
        self.shared().accept(&self.shared().cell(slug)?, tools).await
    }

    /// Reads the catalogue again, connecting first if need be. A failure shows in the status; the tools are then those of
    /// the last catalogue.
    pub async fn refresh(&self, slug: &Slug) -> Result<Vec<ToolView>, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        let connected = cell.client.load().is_some();
        if connected {
            let (done, finished) = oneshot::channel();
            cell.command(Command::Refresh(done)).await?;
            // Dropped unanswered when it is done, successful or not.
            let _ = finished.await;
        } else {
            self.reconnect(slug).await?;
        }
        Ok(self.shared().tools_of(&cell))
    }

    /// Closes the connection, if any, and dials at once; returns the status as [`add`](Self::add) does.
    pub async fn reconnect(&self, slug: &Slug) -> Result<ConnectorStatus, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        cell.redial().await?;
        Ok(self.outcome(&cell).await)
    }

    /// Begins a sign-in to a connector, or one that grants it more; says where to send the user. Where no user is needed, the
    /// connector is signed in to when this returns.
    ///
    /// To be completed by [`complete_sign_in`](Self::complete_sign_in) within
    /// [`SIGN_IN_LIFETIME`](crate::sign_in::SIGN_IN_LIFETIME); one on another device completes itself, and a failure of that is
    /// announced as [`EventKind::SignIn`](crate::EventKind::SignIn).
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Authorization`] for servers on which nobody can sign in, with what to do about it;
    /// [`ConnectorError::Invalid`] for a connector that has no sign-in.
    pub async fn sign_in(&self, slug: &Slug, request: SignInRequest) -> Result<SignInView, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        to_the_end(Arc::clone(self.shared()).begin_sign_in(cell, request)).await
    }

    /// Begins a sign-in to a server that is not a connector yet: it becomes one when the sign-in is completed, with a slug that
    /// is free then. Where there is a connector with this URL and a slug from this name, the sign-in is to that one.
    ///
    /// Otherwise as [`sign_in`](Self::sign_in).
    pub async fn authenticate(
        &self,
        new: NewConnector,
        request: SignInRequest,
    ) -> Result<SignInView, ConnectorError> {
        to_the_end(Arc::clone(self.shared()).begin_new(new, request)).await
    }

    /// Completes a sign-in with what came back with the browser; returns the status as [`add`](Self::add) does.
    ///
    /// A connection that works goes on with the new tokens; any other is made anew. Each state is good for one attempt.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Invalid`] with the field `state` for a sign-in that is not under way: the user has to begin again. After
    /// any error nothing was stored.
    pub async fn complete_sign_in(
        &self,
        callback: SignInCallback,
    ) -> Result<ConnectorStatus, ConnectorError> {
        let cell = to_the_end(Arc::clone(self.shared()).complete_sign_in(callback)).await?;
        Ok(self.outcome(&cell).await)
    }

    /// Gives the tokens of a connector back to the server that issued them, and forgets them in any case. The registration and
    /// the selection stay; sign-ins under way are given up.
    pub async fn sign_out(&self, slug: &Slug) -> Result<ConnectorStatus, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        to_the_end(Arc::clone(self.shared()).sign_out(Arc::clone(&cell))).await?;
        Ok(self.outcome(&cell).await)
    }

    /// How a connector came to its state, step by step. Free of secrets.
    pub fn explain(&self, slug: &Slug) -> Result<Vec<TraceStep>, ConnectorError> {
        Ok(self.shared().cell(slug)?.trace.read())
    }

    /// Calls an enabled tool, through gates and validation. Where the user has to grant more for it, that is announced as
    /// [`EventKind::SignIn`](crate::EventKind::SignIn), and the call waits for it and is sent again.
    pub async fn call_tool(&self, request: CallRequest) -> Result<CallResult, ConnectorError> {
        self.shared().call(request).await
    }

    /// The connection of a connector, for its resources, prompts and completions. Tools are called through
    /// [`call_tool`](Self::call_tool) only: a call through the connection passes no gate.
    pub fn connection(&self, slug: &Slug) -> Result<Arc<dyn Connector>, ConnectorError> {
        Ok(self.shared().connection(&*self.shared().cell(slug)?)?)
    }

    /// Cancels a call, at the server too; false if no call with this id is under way.
    pub fn cancel(&self, call_id: &str) -> bool {
        self.shared().calls.cancel(call_id)
    }

    /// Answers what a server asks of the user; false if the question is no longer open.
    pub fn answer(&self, request_id: &str, answer: ElicitationAnswer) -> bool {
        self.shared().questions.answer(request_id, answer)
    }

    /// Rebuilds the routes after the verdicts of a gate have changed.
    pub fn gates_changed(&self) {
        self.shared().rebuild_routes();
        for cell in self.shared().cells.load().iter() {
            self.shared().catalogue_changed(cell);
        }
    }

    /// Closes every connection and ends every child process, all at once; each is bounded in time. No connector is
    /// removed.
    pub async fn shutdown(&self) {
        self.shared().pending.clear();
        let cells = self.shared().cells.load_full();
        futures_util::future::join_all(cells.iter().map(|cell| cell.stop())).await;
    }

    /// The status once a dial has an outcome; a dial that takes long is reported as such.
    async fn outcome(&self, cell: &Arc<Cell>) -> ConnectorStatus {
        let mut state = cell.state.subscribe();
        let _ = tokio::time::timeout(FIRST_OUTCOME, state.wait_for(|state| !state.is_pending())).await;
        let mut status = self.shared().status_of(cell);
        if status.state == StateName::Connecting && status.last_error.is_none() {
            status.last_error = Some(format!("no answer within {} s; still trying", FIRST_OUTCOME.as_secs()));
        }
        status
    }
}

/// Runs a change in a task of its own, so that it is finished whatever becomes of the caller.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ConnectorError>> + Send + 'static,
) -> Result<T, ConnectorError> {
    tokio::spawn(change).await.unwrap_or(Err(ConnectorError::ShuttingDown))
}

#[cfg(test)]
mod tests;
