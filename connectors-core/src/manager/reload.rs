//! Taking over what somebody else writes to the manifest: the user with an editor, or another process.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::cell::Cell;
use super::shared::Shared;
use crate::definition::{ConnectorDefinition, OAuthSettings};
use crate::error::{ConnectorError, StorageError};
use crate::events::EventKind;
use crate::names::Slug;
use crate::trace::Trace;

/// How long a manifest without connectors is taken for one that an editor is about to write.
const GONE: Duration = Duration::from_secs(1);

impl Shared {
    /// Takes over every change that the store tells of, until [`unfollow_manifest`](Self::unfollow_manifest).
    pub(super) fn follow_manifest(self: &Arc<Self>, mut changes: BoxStream<'static, ()>) {
        // It must not keep alive what it serves.
        let shared = Arc::downgrade(self);
        let following = tokio::spawn(async move {
            while changes.next().await.is_some() {
                let Some(shared) = shared.upgrade() else { return };
                // A failure is noted and announced; the next change may mend it.
                let _ = shared.reload().await;
            }
        });
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = Some(following.abort_handle());
    }

    pub(super) fn unfollow_manifest(&self) {
        if let Some(following) = self.following.lock().unwrap_or_else(PoisonError::into_inner).take() {
            following.abort();
        }
    }

    /// Reads the manifest and takes over what is different in it.
    pub(super) async fn reload(self: &Arc<Self>) -> Result<(), ConnectorError> {
        let shared = Arc::clone(self);
        self.serial.run(async move { shared.reload_in_turn().await }).await
    }

    /// The same, for a job that has its turn: as nobody of this process writes meanwhile, what is read is not older than what is
    /// in memory.
    pub(super) async fn reload_in_turn(self: &Arc<Self>) -> Result<(), StorageError> {
        let loaded = self.config.load().await;
        self.note_storage(&loaded);
        self.merge(self.without_unfinished(loaded?)).await;
        Ok(())
    }

    /// The same, for a change that has not found its connector as it was; says whether the manifest holds it.
    ///
    /// Some editors delete a file before they write it: where nothing is left of what was there, it is read once more after a
    /// while, as those who watch it do.
    pub(super) async fn reload_to_change(self: &Arc<Self>, slug: &Slug) -> Result<bool, StorageError> {
        let mut loaded = self.config.load().await;
        if loaded.as_ref().is_ok_and(Vec::is_empty) && self.has_own() {
            tokio::time::sleep(GONE).await;
            loaded = self.config.load().await;
        }
        self.note_storage(&loaded);
        let definitions = self.without_unfinished(loaded?);
        let is_there = definitions.iter().any(|definition| definition.slug == *slug);
        self.merge(definitions).await;
        Ok(is_there)
    }

    /// True if there is a connector that only the manifest can hold.
    fn has_own(&self) -> bool {
        self.cells.load().iter().any(|cell| !self.proposals.stands_for(&cell.definition.load()))
    }

    /// Notes whether the manifest can be used, and tells the world if that is news.
    pub(super) fn note_storage(&self, outcome: &Result<Vec<ConnectorDefinition>, StorageError>) {
        let problem = outcome.as_ref().err().map(ToString::to_string);
        let before = {
            let mut noted = self.storage_problem.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *noted, problem.clone())
        };
        if before == problem {
            return;
        }
        match &problem {
            Some(problem) => {
                tracing::error!(problem, "the manifest cannot be used; connectors stay as they are");
            }
            None => tracing::info!("the manifest can be used again"),
        }
        self.events.publish(None, EventKind::Storage { problem });
    }

    async fn merge(self: &Arc<Self>, definitions: Vec<ConnectorDefinition>) {
        let cells = self.cells.load_full();
        let mut known: HashMap<&Slug, &Arc<Cell>> = cells.iter().map(|cell| (&cell.slug, cell)).collect();
        let mut present = Vec::with_capacity(definitions.len());
        let mut changed = Vec::new();
        for definition in definitions {
            let cell = match known.remove(&definition.slug) {
                Some(cell) => {
                    if self.put_in_force(cell, definition) {
                        changed.push(Arc::clone(cell));
                    }
                    Arc::clone(cell)
                }
                None => {
                    tracing::info!(slug = %definition.slug, "a connector was added to the manifest");
                    self.adopt(definition, Trace::default())
                }
            };
            present.push(cell);
        }
        let is_gone = |cell: &&Arc<Cell>| {
            known.contains_key(&cell.slug) && !self.proposals.stands_for(&cell.definition.load())
        };
        for cell in cells.iter().filter(is_gone) {
            tracing::info!(slug = %cell.slug, "a connector was removed from the manifest");
            self.let_go(cell).await;
        }
        let moved = self.arrange(&present);
        if moved || !changed.is_empty() {
            self.rebuild_routes().await;
        }
        for cell in changed {
            self.catalogue_changed(&cell);
            self.pin_enabled(&cell);
        }
    }

    /// Puts a definition into force that somebody else has written; false if it says nothing new.
    fn put_in_force(self: &Arc<Self>, cell: &Arc<Cell>, after: ConnectorDefinition) -> bool {
        let before = cell.definition.load_full();
        if *before == after {
            return false;
        }
        tracing::info!(slug = %cell.slug, "a connector was changed in the manifest");
        let wants_sign_in = cell.state.borrow().refusal().is_some();
        let is_redialled = Connection::of(&before) != Connection::of(&after)
            // It may have been signed in to elsewhere.
            || (wants_sign_in && before.oauth != after.oauth);
        let void = (&before.url, &before.network) != (&after.url, &after.network);
        cell.definition.store(Arc::new(after));
        self.selection_changed(cell, &before);
        if void {
            // What sign-ins under way would bring is for how it was.
            self.pending.forget(cell);
        }
        if is_redialled {
            cell.sign_in.store(None);
            let cell = Arc::clone(cell);
            tokio::spawn(async move {
                // Fails for one that was removed meanwhile.
                let _ = cell.redial().await;
            });
        }
        true
    }

    /// Forgets a connector that is gone from the manifest, or from a file that is trusted. Its secrets stay: whoever removed it has deleted them, or is an editor
    /// that is about to put it back.
    pub(super) async fn let_go(self: &Arc<Self>, cell: &Arc<Cell>) {
        self.pending.forget(cell);
        self.forget(cell).await;
        let cell = Arc::clone(cell);
        // Closing takes its time, and nobody waits for it.
        tokio::spawn(async move { cell.stop().await });
    }

    /// Gives the connectors the order that they have in the manifest; false if they have it. Those that it does not hold stay
    /// behind them.
    fn arrange(&self, present: &[Arc<Cell>]) -> bool {
        let place: HashMap<&Slug, usize> = present.iter().map(|cell| &cell.slug).zip(0..).collect();
        let place = |cell: &Arc<Cell>| place.get(&cell.slug).copied().unwrap_or(usize::MAX);
        if self.cells.load().is_sorted_by_key(place) {
            return false;
        }
        self.cells.rcu(|cells| {
            let mut cells = Vec::clone(cells);
            cells.sort_by_key(place);
            cells
        });
        true
    }
}

/// What of a definition decides how the server is reached and signed in to.
#[derive(PartialEq)]
pub(super) struct Connection {
    definition: ConnectorDefinition,
}

impl Connection {
    pub(super) fn of(definition: &ConnectorDefinition) -> Self {
        let mut definition = definition.clone();
        definition.name = String::new();
        definition.enabled_tools = Vec::new();
        definition.tool_pins.clear();
        definition.output_check = Default::default();
        definition.proposal = None;
        definition.unfinished = false;
        if let Some(oauth) = &mut definition.oauth {
            // What a sign-in has asked for, and by which way. The tokens of this connection go on.
            *oauth = OAuthSettings {
                scopes: Vec::new(),
                redirect_uri: None,
                registration: None,
                ..std::mem::take(oauth)
            };
        }
        Self { definition }
    }
}
