//! A source of proposals that says what a test has it say.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::watch;

use crate::definition::{AcceptedProposal, ConnectorDefinition};
use crate::error::StorageError;
use crate::proposal::{Mistake, Proposal, ProposalSource, Proposals};

/// The file that everything is proposed by, unless it is said otherwise.
pub const FILE: &str = "/srv/project/.car/connectors.toml";

/// Proposals in memory.
#[derive(Default)]
pub struct ScriptedProposals {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    proposals: Proposals,
    rejected: HashSet<String>,
    is_broken: bool,
}

impl ScriptedProposals {
    /// A source that proposes these definitions.
    pub fn of(definitions: impl IntoIterator<Item = ConnectorDefinition>) -> Arc<Self> {
        let source = Self::default();
        source.write(definitions);
        Arc::new(source)
    }

    /// Proposes these from now on, and tells nobody.
    pub fn write(&self, definitions: impl IntoIterator<Item = ConnectorDefinition>) {
        self.write_in(FILE, definitions);
    }

    /// The same, in a file of another project.
    pub fn write_in(&self, file: &str, definitions: impl IntoIterator<Item = ConnectorDefinition>) {
        let proposals = definitions.into_iter().map(|definition| proposal_in(file, definition));
        self.state().proposals.entries = proposals.collect();
    }

    /// Has these mistakes from now on, and tells nobody.
    pub fn mistake(&self, mistakes: Vec<Mistake>) {
        self.state().proposals.mistakes = mistakes;
    }

    /// Tells whoever watches that something has changed.
    pub fn announce(&self) {
        self.changes.send_replace(());
    }

    /// Whether what is rejected can be neither read nor written.
    pub fn set_broken(&self, is_broken: bool) {
        self.state().is_broken = is_broken;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, StorageError> {
        let state = self.state();
        if state.is_broken {
            let (action, file) = ("write", "rejected_proposals.json".to_owned());
            return Err(StorageError::Io { action, file, source: std::io::ErrorKind::StorageFull.into() });
        }
        Ok(state)
    }
}

/// The proposal of a definition; another definition gives another hash.
pub fn proposal(definition: ConnectorDefinition) -> Proposal {
    proposal_in(FILE, definition)
}

fn proposal_in(file: &str, mut definition: ConnectorDefinition) -> Proposal {
    let hash = serde_json::to_string(&definition).unwrap();
    definition.proposal = Some(AcceptedProposal { file: file.to_owned(), hash: hash.clone() });
    Proposal { definition, hash, file: file.to_owned(), line: 1 }
}

#[async_trait]
impl ProposalSource for ScriptedProposals {
    async fn read(&self) -> Proposals {
        self.state().proposals.clone()
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let changes = self.changes.subscribe();
        let changes = futures_util::stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        Some(changes.boxed())
    }

    async fn rejected(&self) -> Result<HashSet<String>, StorageError> {
        Ok(self.usable()?.rejected.clone())
    }

    async fn remember(&self, proposal: &Proposal, rejected: bool) -> Result<(), StorageError> {
        let mut state = self.usable()?;
        match rejected {
            true => state.rejected.insert(proposal.hash.clone()),
            false => state.rejected.remove(&proposal.hash),
        };
        Ok(())
    }
}
