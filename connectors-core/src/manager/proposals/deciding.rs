//! What the user decides about a proposal.

use std::sync::Arc;

use super::super::cell::Cell;
use super::super::environment;
use super::super::secrets::SecretChange;
use super::super::shared::Shared;
use super::{Known, is_followed};
use crate::definition::ConnectorDefinition;
use crate::error::{ConnectorError, StorageError};
use crate::names::Slug;
use crate::proposal::{Proposal, ProposalSource};
use crate::trace::Trace;
use crate::transport::InvalidDefinition;

impl Shared {
    /// Makes a proposal the user's own, or what it says now what the user's own says.
    pub(in super::super) async fn accept_proposal(
        self: Arc<Self>,
        slug: Slug,
        hash: Option<String>,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let is_read = self.read_proposals().await?;
        let known = self.proposals.known.load_full();
        let cell = self.cells.load().iter().find(|cell| cell.slug == slug).cloned();
        let proposal = known.entry(&slug);
        if let Some(cell) = &cell {
            let definition = cell.definition.load();
            let meant = hash.as_deref().or_else(|| Some(proposal?.hash.as_str()));
            if meant.is_some() && accepted_hash(&definition) == meant {
                return Ok(Arc::clone(cell));
            }
            let is_another = proposal.is_some_and(|proposal| !is_followed(proposal, &definition));
            if definition.proposal.is_none() || is_another {
                return Err(nothing_proposed(&slug));
            }
        }
        if !is_read {
            return Err(cannot_be_read(&slug));
        }
        let proposal = proposal.ok_or_else(|| nothing_proposed(&slug))?;
        let hash = hash.ok_or_else(|| not_shown(&slug))?;
        if proposal.hash != hash {
            return Err(has_changed(&slug));
        }
        let cell = match cell {
            None => self.add_proposal(Arc::clone(proposal)).await?,
            Some(cell) => {
                Arc::clone(&self).succeed(Arc::clone(&cell), Arc::clone(proposal)).await?;
                cell
            }
        };
        if known.rejected.contains(&hash)
            && let Err(error) = self.remember(Arc::clone(proposal), false).await
        {
            // The connector is there, and so is never shown as proposed: only its removal would show a difference.
            tracing::warn!(%slug, %error, "that a proposal was once rejected could not be forgotten");
        }
        Ok(cell)
    }

    /// Stores a proposal as a connector of the user's and starts it. After an error it is still proposed.
    async fn add_proposal(self: &Arc<Self>, proposal: Arc<Proposal>) -> Result<Arc<Cell>, ConnectorError> {
        let definition = proposal.definition.clone();
        let slug = definition.slug.clone();
        // The same one accepted twice at once is one connector; anybody else who is about to have the slug comes first.
        let _turn = self.proposals.adding.turn(&slug).await;
        let _reservation =
            self.reserve_exactly(&slug).ok_or_else(|| StorageError::SlugTaken(slug.clone()))?;
        let _exclusive = match may_have_secrets(&definition) {
            true => Some(self.credentials.exclusive(&slug).await?),
            false => None,
        };
        // What an earlier connector of that name may have left is not for whoever wrote the file. The secrets of one that
        // another process has just added are its own.
        let change = match self.is_in_manifest(&slug).await? {
            false if may_have_secrets(&definition) => self.without_secrets(&definition).await?,
            _ => SecretChange::default(),
        };
        let replaced = self.change_secrets(&slug, &change).await?;
        let shared = Arc::clone(self);
        let added = self.serial.run(async move { shared.insert_proposal(definition).await }).await;
        if added.is_err() {
            self.put_back(replaced).await;
        }
        added
    }

    /// In a job of the serial only.
    async fn insert_proposal(
        self: &Arc<Self>,
        definition: ConnectorDefinition,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let slug = definition.slug.clone();
        let hash = accepted_hash(&definition).map(ToOwned::to_owned);
        let is_same = |other: &ConnectorDefinition| accepted_hash(other) == hash.as_deref();
        let present = self.cells.load().iter().find(|cell| cell.slug == slug).cloned();
        if let Some(cell) = present {
            // Accepted twice at once, or added meanwhile.
            return if is_same(&cell.definition.load()) {
                Ok(cell)
            } else {
                Err(StorageError::SlugTaken(slug).into())
            };
        }
        match self.config.insert(&definition).await {
            Ok(()) => Ok(self.adopt(definition, Trace::default())),
            Err(StorageError::SlugTaken(slug)) => {
                // Another process may have accepted it, too.
                let found = self.config.load().await?.into_iter().find(|other| other.slug == slug);
                match found.filter(|other| !other.unfinished && is_same(other)) {
                    Some(accepted) => Ok(self.adopt(accepted, Trace::default())),
                    None => Err(StorageError::SlugTaken(slug).into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers that the user does not want what is proposed.
    pub(in super::super) async fn reject_proposal(self: Arc<Self>, slug: Slug) -> Result<(), ConnectorError> {
        let known = self.proposals.known.load_full();
        let proposal = match self.cells.load().iter().find(|cell| cell.slug == slug) {
            Some(cell) => known.successor(&cell.definition.load()).cloned(),
            None => known.entry(&slug).cloned(),
        };
        self.remember(proposal.ok_or_else(|| nothing_proposed(&slug))?, true).await
    }

    /// Sees to it that what is about to be removed does not come back as a proposal; returns what was done, for
    /// [`propose_again`](Self::propose_again) if it is not removed after all.
    pub(in super::super) async fn reject_removed(self: &Arc<Self>, cell: &Cell) -> Option<Arc<Proposal>> {
        let proposal = Arc::clone(self.proposals.known.load().followed(&cell.definition.load())?);
        match self.remember(Arc::clone(&proposal), true).await {
            Ok(()) => Some(proposal),
            Err(error) => {
                tracing::warn!(slug = %cell.slug, %error, "a connector that is removed will be proposed again");
                None
            }
        }
    }

    /// Undoes [`reject_removed`](Self::reject_removed).
    pub(in super::super) async fn propose_again(self: &Arc<Self>, rejected: Option<Arc<Proposal>>) {
        if let Some(proposal) = rejected
            && let Err(error) = self.remember(proposal, false).await
        {
            tracing::warn!(%error, "that a proposal was rejected could not be taken back");
        }
    }

    /// Remembers whether a proposal is rejected: written first, then in force.
    async fn remember(
        self: &Arc<Self>,
        proposal: Arc<Proposal>,
        rejected: bool,
    ) -> Result<(), ConnectorError> {
        let Some(source) = self.proposals.source.clone() else { return Ok(()) };
        let shared = Arc::clone(self);
        // What was read before is put in force before, and what is read from now on knows of this.
        let reading = Arc::clone(&self.proposals.reading).lock_owned().await;
        let remembering = async move {
            let _reading = reading;
            ProposalSource::remember(&*source, &proposal, rejected).await?;
            let mut known = Known::clone(&shared.proposals.known.load());
            match rejected {
                true => known.rejected.insert(proposal.hash.clone()),
                false => known.rejected.remove(&proposal.hash),
            };
            shared.put_known(known);
            Ok::<_, StorageError>(())
        };
        self.serial.run(remembering).await
    }
}

/// False where nothing of it is ever read in the secret store, which then need not be there.
fn may_have_secrets(definition: &ConnectorDefinition) -> bool {
    definition.stdio.is_none() || !environment::secret_names(definition).is_empty()
}

fn accepted_hash(definition: &ConnectorDefinition) -> Option<&str> {
    definition.proposal.as_ref().map(|accepted| accepted.hash.as_str())
}

fn nothing_proposed(slug: &Slug) -> ConnectorError {
    let problem = format!("nothing is proposed for `{slug}` that waits for a decision");
    InvalidDefinition { field: "slug", problem }.into()
}

fn not_shown(slug: &Slug) -> ConnectorError {
    let problem = format!("what is proposed for `{slug}` was not shown yet; look at it, then decide");
    InvalidDefinition { field: "hash", problem }.into()
}

fn cannot_be_read(slug: &Slug) -> ConnectorError {
    let problem = format!("what is proposed for `{slug}` cannot be read now; nothing was accepted");
    InvalidDefinition { field: "slug", problem }.into()
}

fn has_changed(slug: &Slug) -> ConnectorError {
    let problem =
        format!("what is proposed for `{slug}` is no longer what was shown; look at it again, then decide");
    InvalidDefinition { field: "hash", problem }.into()
}
