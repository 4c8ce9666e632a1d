//! What a project's file proposes: known, shown, and nothing more until the user accepts it.
//!
//! A proposal is no cell: it has no supervisor that could dial, and no part of the manager that works on connectors can
//! reach it.

mod deciding;
mod diff;
mod reading;
mod succeeding;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::AbortHandle;

use super::cell::Cell;
use super::shared::Shared;
use crate::definition::{AcceptedProposal, ConnectorDefinition};
use crate::error::ConnectorError;
use crate::names::Slug;
use crate::proposal::{Mistake, Proposal, ProposalSource};
use crate::queues::Queues;
use crate::view::{ConnectorStatus, ProposalChange, ProposalView, StateName};

/// The proposals of one manager.
pub(super) struct Desk {
    source: Option<Arc<dyn ProposalSource>>,
    /// True where nobody is asked.
    is_trusting: bool,
    /// Replaced by jobs of [`Serial`](super::serial::Serial) alone.
    known: ArcSwap<Known>,
    /// Held from a reading of the file, or of what is rejected, until it is in force: nothing older is put over what is newer.
    /// Never waited for by a job of the serial.
    reading: Arc<AsyncMutex<()>>,
    /// Who makes connectors of proposals.
    adding: Queues,
    watch: Mutex<Option<AbortHandle>>,
}

/// What was last read.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    entries: Vec<Arc<Proposal>>,
    mistakes: Vec<Mistake>,
    rejected: HashSet<String>,
}

impl Known {
    fn entry(&self, slug: &Slug) -> Option<&Arc<Proposal>> {
        self.entries.iter().find(|proposal| proposal.definition.slug == *slug)
    }

    /// The proposal for this slug, unless the user does not want it.
    fn wanted(&self, slug: &Slug) -> Option<&Arc<Proposal>> {
        self.entry(slug).filter(|proposal| !self.rejected.contains(&proposal.hash))
    }

    /// What waits for the user: proposals for slugs that no connector has.
    fn open(&self, cells: &[Arc<Cell>]) -> Vec<Arc<Proposal>> {
        let is_open = |proposal: &&Arc<Proposal>| {
            !self.rejected.contains(&proposal.hash)
                && !cells.iter().any(|cell| cell.slug == proposal.definition.slug)
        };
        self.entries.iter().filter(is_open).cloned().collect()
    }

    /// What is proposed now by the file that this connector was accepted from.
    fn followed(&self, definition: &ConnectorDefinition) -> Option<&Arc<Proposal>> {
        self.wanted(&definition.slug).filter(|proposal| is_followed(proposal, definition))
    }

    /// The proposal that differs from the one that this connector was accepted as.
    fn successor(&self, definition: &ConnectorDefinition) -> Option<&Arc<Proposal>> {
        let accepted = definition.proposal.as_ref()?;
        self.followed(definition).filter(|proposal| proposal.hash != accepted.hash)
    }
}

impl Desk {
    pub(super) fn new(source: Option<Arc<dyn ProposalSource>>, is_trusting: bool) -> Self {
        Self {
            source,
            is_trusting,
            known: ArcSwap::default(),
            reading: Arc::default(),
            adding: Queues::default(),
            watch: Mutex::default(),
        }
    }

    /// What would change if the user accepted what is proposed now for a connector that was once accepted.
    pub(super) fn change_of(&self, definition: &ConnectorDefinition) -> Option<ProposalChange> {
        // Asked of every connector of every list; most come from no file.
        definition.proposal.as_ref()?;
        let known = self.known.load();
        let proposal = known.successor(definition)?;
        let changes = diff::between(definition, &proposal.definition);
        (!changes.is_empty()).then(|| ProposalChange {
            file: proposal.file.clone(),
            hash: proposal.hash.clone(),
            changes,
        })
    }

    /// True for a connector that need not be in the user's file: its project's file is enough.
    pub(super) fn stands_for(&self, definition: &ConnectorDefinition) -> bool {
        self.is_trusting && self.known.load().followed(definition).is_some()
    }

    /// Stops following the file.
    pub(super) fn stop(&self) {
        if let Some(watch) = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watch.abort();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Why there is no connector with this slug.
    pub(super) fn no_cell(&self, slug: &Slug) -> ConnectorError {
        match self.proposals.known.load().wanted(slug) {
            Some(_) => ConnectorError::NotAccepted(slug.clone()),
            None => ConnectorError::NotFound(slug.clone()),
        }
    }

    /// The status of every proposal that waits for the user, in the order of the file.
    pub(super) fn proposed(&self) -> Vec<ConnectorStatus> {
        let open = self.proposals.known.load().open(&self.cells.load());
        open.iter().map(|proposal| status_of(proposal)).collect()
    }

    /// The status of the proposal for this slug, if it waits for the user.
    pub(super) fn proposed_as(&self, slug: &Slug) -> Option<ConnectorStatus> {
        let open = self.proposals.known.load().open(&self.cells.load());
        open.iter().find(|proposal| proposal.definition.slug == *slug).map(|proposal| status_of(proposal))
    }

    /// What is wrong with the file.
    pub(super) fn proposal_problems(&self) -> Vec<Mistake> {
        self.proposals.known.load().mistakes.clone()
    }
}

/// False for what another file proposes: whatever names it uses, a project has no say in what was accepted from another one.
fn is_followed(proposal: &Proposal, definition: &ConnectorDefinition) -> bool {
    let is_it =
        |accepted: &AcceptedProposal| accepted.file == proposal.file || accepted.hash == proposal.hash;
    definition.proposal.as_ref().is_some_and(is_it)
}

pub(super) fn accepted_view(accepted: &AcceptedProposal) -> ProposalView {
    let AcceptedProposal { file, hash } = accepted.clone();
    ProposalView { file, hash, env: Default::default() }
}

fn status_of(proposal: &Proposal) -> ConnectorStatus {
    let definition = &proposal.definition;
    ConnectorStatus {
        slug: definition.slug.clone(),
        name: definition.name.clone(),
        url: definition.url.clone(),
        connected: false,
        tool_count: 0,
        enabled_count: 0,
        last_error: None,
        state: StateName::Proposed,
        transport: if definition.stdio.is_some() { "stdio" } else { "http" },
        command: super::status::command(definition),
        retry_at: None,
        failed_attempts: 0,
        era: None,
        protocol_version: None,
        server_info: None,
        tools_fetched_at: None,
        stale: false,
        quarantined: Vec::new(),
        secret_headers: definition.secret_headers.clone(),
        // The file that proposes it holds no secrets.
        plaintext_secrets: Vec::new(),
        detail: None,
        oauth: None,
        sign_in_scopes: Vec::new(),
        network: definition.network.clone(),
        engine: definition.engine,
        limitations: &[],
        proposal: Some(ProposalView {
            file: proposal.file.clone(),
            hash: proposal.hash.clone(),
            env: definition.stdio.as_ref().map(|stdio| stdio.env.clone()).unwrap_or_default(),
        }),
        proposal_changed: None,
    }
}
