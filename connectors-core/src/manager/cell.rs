//! One incarnation of one connector.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::consent::Consent;
use super::opened::OpenSignIn;
use crate::client::McpClient;
use crate::connector::SessionInfo;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::names::Slug;
use crate::tool::ToolCatalog;
use crate::trace::Trace;
use crate::view::StateName;

/// Everything known of a connector between its creation and its removal.
///
/// A connector that is removed and added again under the same slug is another cell: what a late dial, call or write
/// of the old one brings ends in the old cell, which nothing refers to any more.
pub(super) struct Cell {
    pub(super) slug: Slug,
    /// What was last written to the manifest.
    pub(super) definition: ArcSwap<ConnectorDefinition>,
    pub(super) state: watch::Sender<State>,
    /// The connection, exactly while the state is [`State::Ready`].
    pub(super) client: ArcSwapOption<McpClient>,
    /// The last catalogue, also while there is no connection.
    pub(super) catalog: ArcSwapOption<ToolCatalog>,
    /// How it came to its state.
    pub(super) trace: Trace,
    /// The sign-in of the last dial, where it has one: what the user does about it is done to this one.
    pub(super) sign_in: ArcSwapOption<OpenSignIn>,
    /// The calls that wait for the user to grant more.
    pub(super) consent: Consent,
    /// How often its tokens were replaced by a sign-in.
    renewals: AtomicU64,
    /// True once this manager has removed it, which is more than that it is gone from the manifest.
    is_removed: AtomicBool,
    /// True once the user was asked about variables in plain text.
    is_asked_about: AtomicBool,
    commands: mpsc::Sender<Command>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// Where a connector is in its life.
#[derive(Debug, Clone)]
pub(super) enum State {
    Disconnected,
    Connecting {
        failed_attempts: u32,
    },
    /// `problem`: what a later read of the catalogue ran into.
    Ready {
        session: Arc<SessionInfo>,
        problem: Option<String>,
    },
    NeedsSignIn(Refusal),
    /// `code`: of the error.
    Backoff {
        error: String,
        code: &'static str,
        retry_at: SystemTime,
        failed_attempts: u32,
    },
    Disabled,
}

/// Why only the user can help.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// One sentence.
    pub(super) error: String,
    /// [`ConnectorError::detail`].
    pub(super) detail: Option<&'static str>,
    /// What has to be granted, where that is what is missing.
    pub(super) scopes: Vec<String>,
    /// What the user can do, where it is something other than signing in.
    remedy: Option<Cow<'static, str>>,
}

impl Refusal {
    /// `None` for an error that time may cure.
    pub(super) fn of(error: &ConnectorError) -> Option<Self> {
        let (scopes, remedy) = match error {
            ConnectorError::SignInRequired { .. } => (Vec::new(), None),
            ConnectorError::InsufficientScope { scopes, .. } => (scopes.clone(), None),
            ConnectorError::Authorization { remedy, .. } => (Vec::new(), Some(remedy.clone())),
            _ => return None,
        };
        Some(Self { error: super::status::sentence(error), detail: error.detail(), scopes, remedy })
    }

    /// The error that it was, for whoever runs into it later.
    pub(super) fn error(&self, slug: &Slug) -> ConnectorError {
        let slug = slug.clone();
        match (self.detail, &self.remedy) {
            (Some(detail), Some(remedy)) => ConnectorError::Authorization {
                slug,
                detail,
                problem: self.error.clone(),
                remedy: remedy.clone(),
            },
            (Some(_), None) => ConnectorError::InsufficientScope { slug, scopes: self.scopes.clone() },
            (None, _) => ConnectorError::SignInRequired { slug, reason: Some(self.error.clone()) },
        }
    }
}

impl State {
    pub(super) fn name(&self) -> StateName {
        match self {
            Self::Disconnected => StateName::Disconnected,
            Self::Connecting { .. } => StateName::Connecting,
            Self::Ready { .. } => StateName::Ready,
            Self::NeedsSignIn(_) => StateName::NeedsSignIn,
            Self::Backoff { .. } => StateName::Backoff,
            Self::Disabled => StateName::Disabled,
        }
    }

    /// What went wrong.
    pub(super) fn error(&self) -> Option<&str> {
        match self {
            Self::NeedsSignIn(Refusal { error, .. }) | Self::Backoff { error, .. } => Some(error),
            Self::Ready { problem, .. } => problem.as_deref(),
            Self::Disconnected | Self::Connecting { .. } | Self::Disabled => None,
        }
    }

    /// Why only the user can help, while that is so.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::NeedsSignIn(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// True while an attempt is under way or about to be.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Disconnected | Self::Connecting { .. })
    }
}

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Dial again, with the definition as it is now. The sender is dropped once the state says so.
    Redial(oneshot::Sender<()>),
    /// Read the catalogue again, and say when it is done.
    Refresh(oneshot::Sender<()>),
    /// A call has failed in a way that may mean the connection is gone: find out.
    Suspect,
    /// Read the catalogue again, which the server no longer calls fresh.
    Stale,
    /// Close the connection and end.
    Stop,
}

impl Cell {
    pub(super) fn new(definition: ConnectorDefinition, trace: Trace) -> (Arc<Self>, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(16);
        let cell = Self {
            slug: definition.slug.clone(),
            definition: ArcSwap::from_pointee(definition),
            state: watch::Sender::new(State::Disconnected),
            client: ArcSwapOption::empty(),
            catalog: ArcSwapOption::empty(),
            trace,
            sign_in: ArcSwapOption::empty(),
            consent: Consent::default(),
            renewals: AtomicU64::new(0),
            is_removed: AtomicBool::new(false),
            is_asked_about: AtomicBool::new(false),
            commands,
            supervisor: Mutex::new(None),
        };
        (Arc::new(cell), receiver)
    }

    pub(super) fn supervised_by(&self, supervisor: JoinHandle<()>) {
        *self.supervisor.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor);
    }

    /// How often its tokens were replaced by a sign-in. Whoever replaces them says so before looking at the state; the supervisor
    /// looks here after it has set the state: one of the two sees that a refusal was of the tokens before.
    pub(super) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::SeqCst)
    }

    pub(super) fn renewed(&self) {
        self.renewals.fetch_add(1, Ordering::SeqCst);
    }

    /// True for the first who asks the user about variables in plain text.
    pub(super) fn is_first_to_ask(&self) -> bool {
        !self.is_asked_about.swap(true, Ordering::Relaxed)
    }

    /// True if this manager has removed it: its secrets are not for whoever has the slug next.
    pub(super) fn was_removed(&self) -> bool {
        self.is_removed.load(Ordering::SeqCst)
    }

    pub(super) fn removed(&self) {
        self.is_removed.store(true, Ordering::SeqCst);
    }

    /// Tells the supervisor; it always reads on, so this waits for nobody else.
    pub(super) async fn command(&self, command: Command) -> Result<(), ConnectorError> {
        self.commands.send(command).await.map_err(|_| ConnectorError::NotFound(self.slug.clone()))
    }

    /// Has the supervisor dial again, and returns once the state shows that it does.
    pub(super) async fn redial(&self) -> Result<(), ConnectorError> {
        let (begun, beginning) = oneshot::channel();
        self.command(Command::Redial(begun)).await?;
        // Resolved by being dropped.
        let _ = beginning.await;
        Ok(())
    }

    /// True while the last failure was that of the secret store.
    pub(super) fn waits_for_secrets(&self) -> bool {
        matches!(&*self.state.borrow(), State::Backoff { code: "secret_store_unavailable", .. })
    }

    /// Tells the supervisor, unless it has enough to read already.
    pub(super) fn hint(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }

    /// Has the catalogue read again if the server no longer calls it fresh (2026-07-28, server, utilities, caching). Whoever
    /// asked gets the one that there is.
    pub(super) fn freshen(&self) {
        let catalog = self.catalog.load();
        let is_stale = |catalog: &Arc<ToolCatalog>| {
            catalog.ttl.is_some_and(|ttl| catalog.fetched_at.elapsed().is_ok_and(|age| age > ttl))
        };
        if catalog.as_ref().is_some_and(is_stale) {
            self.hint(Command::Stale);
        }
    }

    /// Closes the connection and ends the supervisor. Idempotent.
    pub(super) async fn stop(&self) {
        self.consent.end();
        let _ = self.commands.send(Command::Stop).await;
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(supervisor) = supervisor {
            let _ = supervisor.await;
        }
    }

    /// Ends the supervisor without an orderly close.
    pub(super) fn abort(&self) {
        self.consent.end();
        if let Some(supervisor) = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take() {
            supervisor.abort();
        }
    }
}
