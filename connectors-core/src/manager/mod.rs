//! The connectors of one host: configured, connected, routed.
//!
//! One duty a module. What the user settles: `import` (what other clients have configured), `proposals` (what a file
//! proposes), `add`, `change` and `remove`, with `choice` (what is entered about signing in), `environment` (secret
//! variables of local servers) and `secrets`; `serial` (one change of the settings at a time), `reload` (what others
//! write). The life of a connection: `supervisor`, `dial` and `backoff`. Signing in: `sign_in`, with `opened` (which
//! one), `pending` (those under way), `grant` (storing what they bring), `consent` and `step_up` (calls that need more than
//! was granted). Tools: `selection` (what the user has enabled), `routes` (what is dispatchable), `calls` (dispatch)
//! and `claim` (their ids). What is shown: `status` and `explain`.

mod add;
mod backoff;
mod builder;
mod calls;
mod cell;
mod change;
mod choice;
mod claim;
mod consent;
mod dial;
mod environment;
mod explain;
mod grant;
mod import;
mod input;
mod opened;
mod pending;
mod proposals;
mod reload;
mod remove;
mod request;
mod routes;
mod secrets;
mod selection;
mod serial;
mod shared;
mod sign_in;
mod staging;
mod status;
mod step_up;
mod supervisor;
mod unfinished;
#[cfg(feature = "car-engine")]
pub(crate) mod weak;

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use self::add::is_set_by_connection;
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
use crate::observer::RouteObserver;
use crate::proposal::Mistake;
use crate::trace::TraceStep;
use crate::view::{ConnectorStatus, StateName, ToolView};

/// How long an answer waits for the outcome of a first dial before it says "still connecting".
const FIRST_OUTCOME: Duration = Duration::from_secs(10);

/// How long a shutdown waits for changes that are under way.
const LAST_CHANGES: Duration = Duration::from_secs(5);

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
        self.0.end();
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

    /// Every connector, in the order of creation, and after them what is proposed.
    pub fn list(&self) -> Vec<ConnectorStatus> {
        let shared = self.shared();
        let connectors = shared.cells.load();
        connectors.iter().map(|cell| shared.status_of(cell)).chain(shared.proposed()).collect()
    }

    /// One connector, or one proposal.
    pub fn status(&self, slug: &Slug) -> Result<ConnectorStatus, ConnectorError> {
        match self.shared().cell(slug) {
            Ok(cell) => Ok(self.shared().status_of(&cell)),
            Err(error) => self.shared().proposed_as(slug).ok_or(error),
        }
    }

    /// The tools of a connector's last catalogue, in the server's order. One that the server no longer calls fresh is read again
    /// behind this answer.
    pub fn tools(&self, slug: &Slug) -> Result<Vec<ToolView>, ConnectorError> {
        let cell = match self.shared().cell(slug) {
            Ok(cell) => cell,
            // Nobody has asked its server.
            Err(ConnectorError::NotAccepted(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
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

    /// Reads the definitions and takes over what others have changed. Where the store tells of changes, this happens by itself.
    ///
    /// A connector that is new is dialled; one that is gone is forgotten, its secrets are not; one that is changed goes on, and is
    /// dialled again where it is reached or signed in to in another way.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Storage`] if they cannot be read: everything goes on as it was.
    pub async fn reload(&self) -> Result<(), ConnectorError> {
        self.shared().reload().await
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

    /// Moves the values of a local server's variables from its definition to the secret store, with only their names left behind:
    /// those of `names`, or all of [`ConnectorStatus::plaintext_secrets`]. The connection goes on. What is there already stays.
    ///
    /// The value is written to the store and read back before the definition loses it; a [`ConfigStore`](crate::ConfigStore) that
    /// keeps previous versions keeps none that still has it.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Invalid`] with the field `names` for one that there is not, and with the field `slug` for a connector
    /// that is no local server, or whose variables change meanwhile. After any error everything is as it was.
    pub async fn protect_env(
        &self,
        slug: &Slug,
        names: Option<Vec<String>>,
    ) -> Result<ConnectorStatus, ConnectorError> {
        let cell = self.shared().cell(slug)?;
        to_the_end(Arc::clone(self.shared()).protect(Arc::clone(&cell), names)).await?;
        Ok(self.shared().status_of(&cell))
    }

    /// Removes a connector with its routes and secrets, and closes its connection. Its tokens are given back first, where that
    /// can be done within seconds. After an error it is as it was, but for those.
    ///
    /// Of one that is proposed, and of one that was, the proposal is [rejected](Self::reject).
    pub async fn remove(&self, slug: &Slug) -> Result<(), ConnectorError> {
        match self.shared().cell(slug) {
            Ok(cell) => to_the_end(Arc::clone(self.shared()).delete(cell)).await,
            Err(ConnectorError::NotAccepted(_)) => self.reject(slug).await,
            Err(error) => Err(error),
        }
    }

    /// Accepts what is proposed: makes it one of the user's connectors, dials it, and returns its status as [`add`](Self::add)
    /// does. Where the user has accepted an earlier content, puts the new one in its place; the selection stays, and another
    /// address ends the sign-in. Accepting again what was accepted changes nothing. A proposal that was rejected can be
    /// accepted all the same.
    ///
    /// `hash` names what the user has seen: [`ProposalView::hash`](crate::view::ProposalView::hash), or that of
    /// [`ConnectorStatus::proposal_changed`]. Without it nothing is accepted that was not accepted before.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Invalid`] with the field `hash` if the file proposes something else by now, or where there is no `hash`, and
    /// with the field `slug` where nothing is proposed or the file cannot be read within five seconds.
    /// After any error it is still proposed, and nothing was dialled.
    pub async fn accept(&self, slug: &Slug, hash: Option<&str>) -> Result<ConnectorStatus, ConnectorError> {
        let accepting = Arc::clone(self.shared()).accept_proposal(slug.clone(), hash.map(ToOwned::to_owned));
        let cell = to_the_end(accepting).await?;
        Ok(self.outcome(&cell).await)
    }

    /// Rejects what is proposed: it is not listed any more, now and after restarts, until its content is another. A connector
    /// that was accepted earlier stays as it is.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Invalid`] with the field `slug` where nothing is proposed. After any error it is still proposed.
    pub async fn reject(&self, slug: &Slug) -> Result<(), ConnectorError> {
        to_the_end(Arc::clone(self.shared()).reject_proposal(slug.clone())).await
    }

    /// What is wrong with the file that proposes connectors, and what became of it.
    pub fn proposal_problems(&self) -> Vec<Mistake> {
        self.shared().proposal_problems()
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

    /// Dials every connector that is down because the secret store could not be used: for hosts to call once it can. Returns when
    /// the attempts have begun.
    pub async fn secrets_available(&self) {
        let cells = self.shared().cells.load_full();
        let waiting = cells.iter().filter(|cell| cell.waits_for_secrets());
        // One that is removed meanwhile is not dialled.
        futures_util::future::join_all(waiting.map(|cell| cell.redial())).await;
        self.shared().start_trusted();
        self.shared().clear_away_again();
    }

    /// Which kind of store the secrets are in; see [`CredentialStore::kind`](crate::CredentialStore::kind).
    pub fn secret_store(&self) -> &'static str {
        self.shared().credentials.kind()
    }

    /// How a connector came to its state, step by step. Free of secrets.
    pub fn explain(&self, slug: &Slug) -> Result<Vec<TraceStep>, ConnectorError> {
        Ok(self.shared().cell(slug)?.trace.read())
    }

    /// Returns once no change of the routes is under way: observers agree with [`routes`](Self::routes) then.
    pub async fn routes_settled(&self) {
        self.shared().observers.settled().await;
    }

    /// The connection of a connector, for its resources, prompts and completions. Tools are called through
    /// [`call_tool`](Self::call_tool) only: a call through the connection passes no gate.
    pub fn connection(&self, slug: &Slug) -> Result<Arc<dyn Connector>, ConnectorError> {
        Ok(self.shared().connection(&*self.shared().cell(slug)?)?)
    }

    /// Answers what a server asks of the user; false if the question is no longer open.
    pub fn answer(&self, request_id: &str, answer: ElicitationAnswer) -> bool {
        self.shared().questions.answer(request_id, answer)
    }

    /// Keeps `observer` in step with the routes for as long as it lives, beginning with those of now. Other changes of the
    /// routes wait for it; see [`RouteObserver`].
    pub async fn observe_routes(&self, observer: &Arc<dyn RouteObserver>) {
        self.shared().observers.add(observer, || self.routes()).await;
    }

    /// Rebuilds the routes after the verdicts of a gate have changed, and returns once the new ones are in force.
    pub async fn gates_changed(&self) {
        self.shared().rebuild_routes().await;
        for cell in self.shared().cells.load().iter() {
            self.shared().catalogue_changed(cell);
        }
    }

    /// Closes every connection and ends every child process, all at once; each is bounded in time. No connector is
    /// removed.
    pub async fn shutdown(&self) {
        self.shared().end();
        // A change that is being taken over may still bring connectors. One that hangs is left to the end of the process.
        let changes = self.shared().serial.run(async { Ok::<_, ConnectorError>(()) });
        if tokio::time::timeout(LAST_CHANGES, changes).await.is_err() {
            tracing::warn!("a change of the settings is still under way at the shutdown");
        }
        self.shared().pending.clear();
        let cells = self.shared().cells.load_full();
        futures_util::future::join_all(cells.iter().map(|cell| cell.stop())).await;
    }

    /// The status once a dial has an outcome; a dial that takes long is reported as such.
    async fn outcome(&self, cell: &Arc<Cell>) -> ConnectorStatus {
        let mut state = cell.state.subscribe();
        if !self.shared().is_over() {
            let _ = tokio::time::timeout(FIRST_OUTCOME, state.wait_for(|state| !state.is_pending())).await;
        }
        let mut status = self.shared().status_of(cell);
        if status.state == StateName::Connecting && status.last_error.is_none() {
            status.last_error = Some(format!("no answer within {} s; still trying", FIRST_OUTCOME.as_secs()));
        }
        status
    }
}

/// Runs a change in a task of its own, so that it is finished whatever becomes of the caller, whose future does not hold it.
fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ConnectorError>> + Send + 'static,
) -> impl Future<Output = Result<T, ConnectorError>> {
    let task = tokio::spawn(change);
    async { task.await.unwrap_or(Err(ConnectorError::ShuttingDown)) }
}

#[cfg(test)]
mod tests;
