//! Reading the file, at the start and whenever it changes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use secrecy::SecretString;

use super::super::add::{check_headers, checked_name};
use super::super::cell::Cell;
use super::super::environment;
use super::super::secrets::SecretChange;
use super::super::shared::Shared;
use super::Known;
use crate::authorizer::SecretHeader;
use crate::error::{ConnectorError, StorageError};
use crate::events::EventKind;
use crate::proposal::{Mistake, Proposal, ProposalSource, Proposals};
use crate::store::CredentialKey;
use crate::trace::Trace;
use crate::view::StateName;

/// What is left to do about a file that the host trusts, and takes its time.
#[derive(Default)]
struct Due {
    /// Connectors that are the user's own by now, with what they are to be.
    succeeded: Vec<(Arc<Cell>, Arc<Proposal>)>,
    /// What has secrets, and is started once the store holds none that were entered for something else.
    emptied: Vec<Arc<Proposal>>,
}

/// How long a reading may take. A file that others can replace may be one that never ends.
const READING: Duration = Duration::from_secs(5);

impl Shared {
    /// Reads what is proposed, and goes on doing so whenever it changes.
    pub(in super::super) async fn follow_proposals(self: &Arc<Self>) {
        let Some(source) = self.proposals.source.clone() else { return };
        // Before it is read, so that no change is missed.
        let changes = source.changes();
        let (_, due) = self.read_known().await.unwrap_or_else(|error| {
            tracing::error!(%error, "what is proposed could not be read");
            (false, Due::default())
        });
        let shared = Arc::downgrade(self);
        let watch = tokio::spawn(async move {
            // Nobody who starts waits for tokens to be given back, or for the secret store.
            if let Some(shared) = shared.upgrade() {
                shared.finish(due).await;
            }
            let Some(mut changes) = changes else { return };
            while changes.next().await.is_some() {
                let Some(shared) = shared.upgrade() else { return };
                if shared.read_proposals().await.is_err() {
                    return;
                }
            }
        });
        *self.proposals.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch.abort_handle());
    }

    /// Reads what is proposed now, and what the user does not want of it. False if that takes too long: it is as it was then,
    /// and the mistake is shown.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::ShuttingDown`] alone: what cannot be read is a mistake that is shown.
    pub(in super::super) async fn read_proposals(self: &Arc<Self>) -> Result<bool, ConnectorError> {
        let (is_read, due) = self.read_known().await?;
        self.finish(due).await;
        Ok(is_read)
    }

    /// The same, but for what takes its time: that is returned.
    async fn read_known(self: &Arc<Self>) -> Result<(bool, Due), ConnectorError> {
        let Some(source) = self.proposals.source.clone() else { return Ok((true, Due::default())) };
        let reading = Arc::clone(&self.proposals.reading).lock_owned().await;
        // Not in a job of the serial: whatever the file does, nobody else is kept waiting.
        let read = tokio::time::timeout(READING, self.read_from(&*source)).await;
        let is_read = read.is_ok();
        let known = read.unwrap_or_else(|_| self.unread());
        let shared = Arc::clone(self);
        let due = self
            .serial
            .run(async move {
                shared.put_known(known);
                drop(reading);
                Ok::<_, ConnectorError>(shared.follow_trusted().await)
            })
            .await?;
        Ok((is_read, due))
    }

    /// Has connectors become what a file that the host trusts proposes by now, and starts what was left to be started.
    async fn finish(self: &Arc<Self>, due: Due) {
        for (cell, proposal) in due.succeeded {
            if let Err(error) = Arc::clone(self).succeed(Arc::clone(&cell), proposal).await {
                tracing::warn!(slug = %cell.slug, %error, "a changed proposal could not be applied");
            }
        }
        for proposal in due.emptied {
            let slug = proposal.definition.slug.clone();
            if let Err(error) = self.start_emptied(proposal).await {
                tracing::warn!(%slug, %error, "not started: secrets of something else may be there under its name");
            }
        }
    }

    /// Starts what a file that the host trusts proposes, without any secret: whoever enters one makes the connector the user's
    /// own, so that what is there was entered for something else.
    async fn start_emptied(self: &Arc<Self>, proposal: Arc<Proposal>) -> Result<(), ConnectorError> {
        let slug = &proposal.definition.slug;
        let _turn = self.proposals.adding.turn(slug).await;
        // Somebody else who is about to have the slug comes first.
        let Some(_reservation) = self.reserve_exactly(slug) else { return Ok(()) };
        let _exclusive = self.credentials.exclusive(slug).await?;
        if !self.is_open(&proposal) || self.is_in_manifest(slug).await? {
            return Ok(());
        }
        let mut left = SecretChange::default();
        proposal.definition.secret_headers.iter().for_each(|name| left.delete(name));
        let variables = environment::secret_names(&proposal.definition).iter();
        variables.for_each(|name| left.delete(CredentialKey::env_name(name)));
        // Not to be put back.
        let _ = self.change_secrets(slug, &left).await?;
        let shared = Arc::clone(self);
        let starting = async move {
            // The file may say something else by now, and the user may have another one.
            if shared.is_open(&proposal) {
                shared.adopt(proposal.definition.clone(), Trace::default());
            }
            Ok::<_, ConnectorError>(())
        };
        self.serial.run(starting).await
    }

    /// Tries again, in a task of its own, what a file that the host trusts proposes and has waited for the secret store.
    pub(in super::super) fn start_trusted(self: &Arc<Self>) {
        if self.proposals.is_trusting {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                // Fails once everything ends.
                let _ = shared.read_proposals().await;
            });
        }
    }

    /// True while this is proposed, and no connector has its slug.
    fn is_open(&self, proposal: &Arc<Proposal>) -> bool {
        self.proposals.known.load().open(&self.cells.load()).contains(proposal)
    }

    /// What was known, with the mistake that nothing newer is.
    fn unread(&self) -> Known {
        let mut known = Known::clone(&self.proposals.known.load());
        let file = known.entries.first().map(|proposal| proposal.file.clone()).unwrap_or_default();
        let problem = format!(
            "what is proposed could not be read within {} s; nothing that is new in it is known",
            READING.as_secs()
        );
        known.mistakes = vec![Mistake { file, line: None, column: None, problem }];
        known
    }

    async fn read_from(&self, source: &dyn ProposalSource) -> Known {
        let Proposals { entries, mut mistakes } = source.read().await;
        let mut known = Known::default();
        for proposal in entries {
            match self.check_proposal(&proposal) {
                Ok(()) => known.entries.push(Arc::new(proposal)),
                Err(error) => mistakes.push(Mistake {
                    file: proposal.file,
                    line: Some(proposal.line),
                    column: None,
                    problem: format!("`{}` is not proposed: {error}", proposal.definition.name),
                }),
            }
        }
        known.mistakes = mistakes;
        match source.rejected().await {
            Ok(rejected) => known.rejected = rejected,
            Err(error) => {
                known.rejected = self.proposals.known.load().rejected.clone();
                known.mistakes.push(unreadable(&error));
            }
        }
        known
    }

    /// Everything that is asked of what a user enters.
    fn check_proposal(&self, proposal: &Proposal) -> Result<(), ConnectorError> {
        let definition = &proposal.definition;
        checked_name(&definition.name)?;
        let header = |name: &String| SecretHeader { name: name.clone(), value: SecretString::default() };
        check_headers(&definition.secret_headers.iter().map(header).collect::<Vec<_>>())?;
        Ok(self.dialer(definition)?.check(definition)?)
    }

    /// Puts in force what was read, and tells the world what is different. In a job of the serial only.
    pub(super) fn put_known(&self, known: Known) {
        let before = self.proposals.known.load_full();
        if *before == known {
            return;
        }
        let cells = self.cells.load_full();
        for mistake in known.mistakes.iter().filter(|mistake| !before.mistakes.contains(mistake)) {
            let Mistake { file, line, column, problem } = mistake;
            tracing::warn!(file, line, column, "{problem}");
        }
        let (was_open, open) = (before.open(&cells), known.open(&cells));
        let successors = |known: &Known| -> Vec<Arc<Proposal>> {
            cells.iter().filter_map(|cell| known.successor(&cell.definition.load()).cloned()).collect()
        };
        let (had_changed, changed) = (successors(&before), successors(&known));
        self.proposals.known.store(Arc::new(known));
        let slugs = |proposals: &[Arc<Proposal>]| -> Vec<_> {
            proposals.iter().map(|proposal| proposal.definition.slug.clone()).collect()
        };
        let still = slugs(&open);
        for slug in slugs(&was_open).iter().filter(|slug| !still.contains(slug)) {
            self.events.publish(Some(slug), EventKind::State { state: None, removed: true, error: None });
        }
        if !self.proposals.is_trusting {
            for proposal in open.iter().filter(|proposal| !was_open.contains(proposal)) {
                self.announce(proposal, Some(StateName::Proposed));
            }
            for proposal in changed.iter().filter(|proposal| !had_changed.contains(proposal)) {
                self.announce(proposal, None);
            }
        }
        self.events.publish(None, EventKind::ProposalsChanged {});
    }

    fn announce(&self, proposal: &Proposal, state: Option<StateName>) {
        let slug = Some(&proposal.definition.slug);
        if let Some(state) = state {
            self.events.publish(slug, EventKind::State { state: Some(state), removed: false, error: None });
        }
        let (file, hash) = (proposal.file.clone(), proposal.hash.clone());
        self.events.publish(slug, EventKind::ApprovalWanted { file, hash });
    }

    /// For a host that trusts the file: starts what is proposed, ends what no longer is, and returns what is left to do. In a job
    /// of the serial only.
    async fn follow_trusted(self: &Arc<Self>) -> Due {
        let mut due = Due::default();
        if !self.proposals.is_trusting {
            return due;
        }
        let known = self.proposals.known.load_full();
        let on_disk = self.config.load().await;
        self.note_storage(&on_disk);
        // Without knowing what the user has, nothing can be taken for the file's alone.
        let Ok(on_disk) = on_disk else { return due };
        for cell in self.cells.load_full().iter() {
            let definition = cell.definition.load_full();
            let Some(accepted) = &definition.proposal else { continue };
            let followed = known.followed(&definition);
            if followed.is_some_and(|proposal| proposal.hash == accepted.hash) {
                continue;
            }
            if !on_disk.iter().any(|other| other.slug == cell.slug) {
                self.let_go(cell).await;
            } else if let Some(proposal) = followed {
                due.succeeded.push((Arc::clone(cell), Arc::clone(proposal)));
            }
        }
        for proposal in known.open(&self.cells.load()) {
            let definition = &proposal.definition;
            // Somebody else's addition, which this process is about to see, comes first.
            if on_disk.iter().any(|other| other.slug == definition.slug) {
                continue;
            }
            match definition.secret_headers.is_empty() && environment::secret_names(definition).is_empty() {
                true => drop(self.adopt(definition.clone(), Trace::default())),
                false => due.emptied.push(proposal),
            }
        }
        due
    }
}

fn unreadable(error: &StorageError) -> Mistake {
    let (file, line, column) = match error {
        StorageError::Unparsable { file, line, column, .. }
        | StorageError::Newer { file, line, column, .. } => (file.clone(), Some(*line), Some(*column)),
        StorageError::Io { file, .. } => (file.clone(), None, None),
        StorageError::SlugTaken(_) => (String::new(), None, None),
    };
    let problem = format!("the proposals that were rejected are not known: {error}");
    Mistake { file, line, column, problem }
}
