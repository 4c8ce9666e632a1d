//! What the parts of a manager share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::cell::{Cell, State};
use super::claim::Calls;
use super::input::Questions;
use super::pending::PendingSignIns;
use super::proposals::Desk;
use super::routes::RouteTable;
use super::serial::Serial;
use super::supervisor::Supervisor;
use crate::definition::ConnectorDefinition;
use crate::elicitation::ElicitationInput;
use crate::error::ConnectorError;
use crate::events::{EventBus, EventKind};
use crate::gate::EnablementGate;
use crate::host::InputHandler;
use crate::import::ImportSource;
use crate::limits::Limits;
use crate::names::Slug;
use crate::observer::RouteObservers;
use crate::protocol::Implementation;
use crate::sign_in::SignInProvider;
use crate::store::{ConfigStore, CredentialStore};
use crate::trace::Trace;
use crate::transport::Dialer;

pub(super) struct Shared {
    pub(super) config: Arc<dyn ConfigStore>,
    pub(super) credentials: Arc<dyn CredentialStore>,
    pub(super) dialers: Vec<Arc<dyn Dialer>>,
    pub(super) gates: Vec<Arc<dyn EnablementGate>>,
    pub(super) sign_in: Option<Arc<dyn SignInProvider>>,
    pub(super) pending: PendingSignIns,
    pub(super) proposals: Desk,
    pub(super) imports: Option<Arc<dyn ImportSource>>,
    pub(super) input: Arc<dyn InputHandler>,
    pub(super) limits: Arc<Limits>,
    pub(super) client_info: Implementation,
    pub(super) questions: Questions,
    pub(super) events: EventBus,
    pub(super) serial: Serial,
    pub(super) calls: Arc<Calls>,
    pub(super) dials: Semaphore,
    /// In the order of their creation.
    pub(super) cells: ArcSwap<Vec<Arc<Cell>>>,
    pub(super) routes: ArcSwap<RouteTable>,
    /// Slugs of connectors that are being added.
    pub(super) reserved: Mutex<HashSet<Slug>>,
    /// Those who follow the routes; they also keep changes of the routes in order.
    pub(super) observers: RouteObservers,
    pub(super) storage_problem: Mutex<Option<String>>,
    /// True where the rest of a connector waits for the secret store to be cleared away.
    pub(super) has_unfinished: AtomicBool,
    /// Who takes over what others write to the manifest.
    pub(super) following: Mutex<Option<AbortHandle>>,
    /// Keeps what is told of connectors in order with their removal.
    telling: Mutex<()>,
    /// True once nothing is to be started any more.
    is_over: AtomicBool,
}

impl Shared {
    pub(super) fn new(builder: super::ManagerBuilder) -> Self {
        let client_info = builder.client_info.unwrap_or_else(|| Implementation {
            name: "connectors".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: None,
        });
        let events = EventBus::default();
        let questions = Questions::new(events.clone());
        let input: Arc<dyn InputHandler> = if builder.asks_by_event {
            Arc::new(ElicitationInput(questions.clone()))
        } else {
            builder.input.unwrap_or_else(|| Arc::new(crate::host::NoInput))
        };
        Self {
            config: builder.config.unwrap_or_else(|| Arc::new(crate::memory::MemoryConfigStore::default())),
            credentials: builder
                .credentials
                .unwrap_or_else(|| Arc::new(crate::memory::MemoryCredentialStore::default())),
            dialers: builder.dialers,
            gates: builder.gates,
            sign_in: builder.sign_in,
            pending: PendingSignIns::default(),
            proposals: Desk::new(builder.proposals, builder.trusts_proposals),
            imports: builder.imports,
            input,
            questions,
            limits: Arc::new(builder.limits),
            client_info,
            events,
            serial: Serial::start(),
            calls: Arc::default(),
            dials: Semaphore::new(crate::limits::CONCURRENT_DIALS),
            cells: ArcSwap::default(),
            routes: ArcSwap::default(),
            reserved: Mutex::default(),
            observers: RouteObservers::default(),
            storage_problem: Mutex::default(),
            has_unfinished: AtomicBool::new(false),
            following: Mutex::default(),
            telling: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    pub(super) fn cell(&self, slug: &Slug) -> Result<Arc<Cell>, ConnectorError> {
        let cells = self.cells.load();
        cells.iter().find(|cell| cell.slug == *slug).cloned().ok_or_else(|| self.no_cell(slug))
    }

    /// True until the cell's connector is removed.
    pub(super) fn is_current(&self, cell: &Arc<Cell>) -> bool {
        self.cells.load().iter().any(|other| Arc::ptr_eq(other, cell))
    }

    /// Makes a connector known and starts its supervisor. `trace` tells how it came about.
    pub(super) fn adopt(self: &Arc<Self>, definition: ConnectorDefinition, trace: Trace) -> Arc<Cell> {
        let (cell, commands) = Cell::new(definition, trace);
        // Without a catalogue it has no routes, nor does it change those of others.
        self.cells.rcu(|cells| cells.iter().chain([&cell]).cloned().collect::<Vec<_>>());
        let supervisor = Supervisor::new(Arc::clone(self), Arc::clone(&cell), commands);
        cell.supervised_by(tokio::spawn(supervisor.run()));
        // Looked at last: whoever ends everything says so first, and then ends the supervisors that there are.
        if self.is_over() {
            cell.abort();
        }
        cell
    }

    /// From now on no connector is started, whatever is still under way.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.unfollow_manifest();
        self.proposals.stop();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Tells the world what happens to a connector, but for one that is gone: what comes late of it would be taken for the one
    /// that has its slug by now.
    pub(super) fn tell(&self, cell: &Cell, kind: EventKind) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cells.load().iter().any(|other| std::ptr::eq(&**other, cell)) {
            self.events.publish(Some(&cell.slug), kind);
        }
    }

    /// Forgets a connector: from now on nothing leads to it.
    pub(super) async fn forget(self: &Arc<Self>, cell: &Arc<Cell>) {
        self.replace_routes(Some(Arc::clone(cell))).await;
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.events.publish(Some(&cell.slug), EventKind::State { state: None, removed: true, error: None });
    }

    /// Rebuilds the route table from catalogues, selections and gates, and returns once it is in force.
    pub(super) async fn rebuild_routes(self: &Arc<Self>) {
        self.replace_routes(None).await;
    }

    /// Replaces the routes, and the connectors where one is gone. Finished whatever becomes of the caller: observers are told
    /// both halves of a change.
    async fn replace_routes(self: &Arc<Self>, gone: Option<Arc<Cell>>) {
        let shared = Arc::clone(self);
        let replaced = tokio::spawn(async move {
            let is_gone = |cell: &Arc<Cell>| gone.as_ref().is_some_and(|gone| Arc::ptr_eq(gone, cell));
            let build = || {
                let mut cells = Vec::clone(&shared.cells.load());
                cells.retain(|cell| !is_gone(cell));
                (shared.routes.load_full(), Arc::new(RouteTable::build(&cells, &shared.gates)))
            };
            let replace = |after| {
                shared.routes.store(after);
                if gone.is_some() {
                    let kept = |cell: &&Arc<Cell>| !is_gone(cell);
                    shared.cells.rcu(|cells| cells.iter().filter(kept).cloned().collect::<Vec<_>>());
                }
            };
            shared.observers.change(build, replace).await;
        });
        if let Err(error) = replaced.await {
            tracing::error!(%error, "the routes were not replaced");
        }
    }

    /// Tells the world about a connector's tools.
    pub(super) fn catalogue_changed(&self, cell: &Cell) {
        let kind = EventKind::Catalogue {
            tool_count: cell.catalog.load().as_ref().map_or(0, |catalog| catalog.tools.len()),
            enabled_count: self.routes.load().count(&cell.slug),
        };
        self.tell(cell, kind);
    }

    /// Moves a connector to another state and tells the world.
    pub(super) fn set_state(&self, cell: &Cell, state: State) {
        let kind = EventKind::State {
            state: Some(state.name()),
            removed: false,
            error: state.error().map(ToOwned::to_owned),
        };
        let refusal = state.refusal().cloned();
        let was_waiting = cell.state.borrow().refusal().is_some();
        cell.state.send_replace(state);
        self.tell(cell, kind);
        match refusal {
            Some(refusal) if !was_waiting => {
                let (reason, scopes) = (Some(refusal.error), refusal.scopes);
                self.tell(cell, EventKind::SignIn { wanted: true, reason, scopes });
            }
            // Calls that wait for consent still want it.
            None if was_waiting && !cell.consent.is_wanted() => self.sign_in_over(cell),
            _ => {}
        }
    }

    /// Tells the world that the user need not sign in.
    pub(super) fn sign_in_over(&self, cell: &Cell) {
        self.tell(cell, EventKind::SignIn { wanted: false, reason: None, scopes: Vec::new() });
    }

    /// Applies a change to a connector's definition: written first, then in force.
    ///
    /// Returns what `change` returned; an error of the store leaves everything as it was. A connector that has been removed
    /// meanwhile stays removed. Where somebody else has changed it meanwhile, that is taken over, and `change` is called again on
    /// top of it.
    pub(super) async fn edit<T: Send + 'static>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        change: impl Fn(&mut ConnectorDefinition) -> T + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let (shared, cell) = (Arc::clone(self), Arc::clone(cell));
        self.serial
            .run(async move {
                loop {
                    if !shared.is_current(&cell) {
                        return Err(ConnectorError::NotFound(cell.slug.clone()));
                    }
                    let before = cell.definition.load_full();
                    let mut after = ConnectorDefinition::clone(&before);
                    let outcome = change(&mut after);
                    if after == *before {
                        return Ok(outcome);
                    }
                    if !shared.config.compare_and_swap(&before, &after).await? {
                        let is_there = shared.reload_to_change(&cell.slug).await?;
                        if is_there || !shared.is_current(&cell) || **cell.definition.load() != *before {
                            continue;
                        }
                        // It was not in the manifest so far: its project's file stood for it.
                        shared.config.insert(&after).await?;
                    }
                    let is_seen = of_the_user(&before) != of_the_user(&after);
                    cell.definition.store(Arc::new(after));
                    if is_seen {
                        shared.selection_changed(&cell, &before);
                        shared.rebuild_routes().await;
                        shared.catalogue_changed(&cell);
                        shared.want_protection(&cell);
                    }
                    return Ok(outcome);
                }
            })
            .await
    }

    /// Claims a slug until the reservation is dropped.
    pub(super) fn reserve(self: &Arc<Self>, name: &str, on_disk: &[ConnectorDefinition]) -> Reservation {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = self.cells.load();
        let slug = Slug::first_free(&Slug::from_name(name), |slug| {
            reserved.contains(slug)
                || cells.iter().any(|cell| cell.slug == *slug)
                || on_disk.iter().any(|definition| definition.slug == *slug)
        });
        reserved.insert(slug.clone());
        Reservation { shared: Arc::clone(self), slug }
    }

    /// Claims this very slug until the reservation is dropped; `None` while somebody else has claimed it.
    pub(super) fn reserve_exactly(self: &Arc<Self>, slug: &Slug) -> Option<Reservation> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = reserved.insert(slug.clone());
        is_free.then(|| Reservation { shared: Arc::clone(self), slug: slug.clone() })
    }
}

/// What of a definition is the user's: all but how far changes of it have come.
fn of_the_user(definition: &ConnectorDefinition) -> ConnectorDefinition {
    ConnectorDefinition { secrets_revision: 0, unfinished: false, ..definition.clone() }
}

/// A slug that an add under way has claimed.
pub(super) struct Reservation {
    shared: Arc<Shared>,
    pub(super) slug: Slug,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.slug);
    }
}
