//! Signing in and out: what the user does, and how it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use super::add::Prepared;
use super::cell::{Cell, Refusal, State};
use super::pending::{Begun, Newcomer, Whose};
use super::request::{ConnectorUpdate, NewConnector, NewEndpoint};
use super::shared::Shared;
use super::{ConnectorManager, to_the_end};
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::events::EventKind;
use crate::memory::MemoryCredentialStore;
use crate::names::Slug;
use crate::sign_in::{Grant, SIGN_IN_LIFETIME, SignInCallback, SignInRequest, SignInStarted, SignInView};
use crate::store::{CredentialKey, CredentialStore};
use crate::trace::{Chapter, Trace};
use crate::transport::InvalidDefinition;
use crate::view::ConnectorStatus;

/// Longest time for giving tokens back where something else waits for it.
const REVOCATION: Duration = Duration::from_secs(10);

impl ConnectorManager {
    /// Begins a sign-in to a connector, or one that grants it more; says where to send the user. Where no user is needed, the
    /// connector is signed in to when this returns.
    ///
    /// To be completed by [`complete_sign_in`](Self::complete_sign_in) within
    /// [`SIGN_IN_LIFETIME`]; one on another device completes itself, and a failure of that is
    /// announced as [`EventKind::SignIn`].
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
}

impl Shared {
    /// Begins a sign-in to a connector.
    pub(super) async fn begin_sign_in(
        self: Arc<Self>,
        cell: Arc<Cell>,
        request: SignInRequest,
    ) -> Result<SignInView, ConnectorError> {
        let opened = self.sign_in_of(&cell)?;
        // It reads a client's secret, say, that was being replaced.
        self.settle_secrets(&opened.definition).await?;
        cell.trace.begin(Chapter::SignIn);
        let sign_in = Arc::clone(&opened.sign_in);
        let started = sign_in.begin(request).await.inspect_err(|error| self.show_refusal(&cell, error))?;
        let url = opened.definition.url.clone();
        self.follow(started, Begun { sign_in, whose: Whose::Known { cell, url } }).await
    }

    /// Begins a sign-in that brings a connector into being. One that is there already is signed in to.
    pub(super) async fn begin_new(
        self: Arc<Self>,
        new: NewConnector,
        request: SignInRequest,
    ) -> Result<SignInView, ConnectorError> {
        let mut prepared = self.prepare(new.clone())?;
        let provider = self.signs_in(&prepared.definition)?;
        if let Some(cell) = self.same_connector(&prepared.definition) {
            if let Some(update) = entered(new) {
                Arc::clone(&self).change(Arc::clone(&cell), update).await?;
            }
            return self.begin_sign_in(cell, request).await;
        }
        // A name for errors; the one that it will have is found when it comes into being.
        let cells = self.cells.load_full();
        let is_taken = |slug: &Slug| cells.iter().any(|cell| cell.slug == *slug);
        prepared.definition.slug = Slug::first_free(&prepared.definition.slug, is_taken);
        let staged = Arc::new(MemoryCredentialStore::default());
        prepared.stage(&staged).await?;
        let trace = Trace::default();
        let definition = Arc::new(prepared.definition.clone());
        let target = self.target(definition, Arc::clone(&staged) as _, trace.clone());
        let sign_in = provider.open(target);
        let started = sign_in.begin(request).await?;
        let whose = Whose::New(Box::new(Newcomer { prepared, staged, trace }));
        self.follow(started, Begun { sign_in, whose }).await
    }

    /// A connector with this URL, and a slug that was made from this name.
    pub(super) fn same_connector(&self, definition: &ConnectorDefinition) -> Option<Arc<Cell>> {
        let base = Slug::from_name(&definition.name);
        let is_made_from_it = |slug: &Slug| {
            let rest = slug.as_str().strip_prefix(base.as_str());
            let is_number = |n: &str| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('_').is_some_and(is_number))
        };
        let is_same =
            |cell: &&Arc<Cell>| is_made_from_it(&cell.slug) && cell.definition.load().url == definition.url;
        self.cells.load().iter().find(is_same).cloned()
    }

    /// Sees to it that what was begun comes to an end, wherever that is.
    async fn follow(
        self: &Arc<Self>,
        started: SignInStarted,
        begun: Begun,
    ) -> Result<SignInView, ConnectorError> {
        let SignInStarted { mut view, outcome } = started;
        if view.authorize_url.is_none() {
            // Nobody is needed for it.
            let grant = match outcome {
                Some(outcome) => Some(in_time(outcome, begun.whose.slug()).await?),
                None => None,
            };
            self.conclude(begun, grant).await?;
            return Ok(view);
        }
        let latest = SystemTime::now() + SIGN_IN_LIFETIME;
        view.expires_at = Some(view.expires_at.map_or(latest, |at| at.min(latest)));
        let known = match &begun.whose {
            Whose::Known { cell, .. } => Some(Arc::clone(cell)),
            Whose::New(_) => None,
        };
        match outcome {
            Some(outcome) => self.await_elsewhere(view.state.clone(), begun, outcome),
            None => self.pending.insert(view.state.clone(), begun),
        }
        // It may have been removed while the servers were asked.
        if let Some(cell) = known.filter(|cell| !self.is_current(cell)) {
            self.pending.forget(&cell);
            return Err(ConnectorError::NotFound(cell.slug.clone()));
        }
        Ok(view)
    }

    /// Waits, in a task of its own, for the end of a sign-in that no redirect completes.
    fn await_elsewhere(
        self: &Arc<Self>,
        state: String,
        begun: Begun,
        outcome: BoxFuture<'static, Result<Grant, ConnectorError>>,
    ) {
        let slug = begun.whose.slug().clone();
        let given_up = self.pending.insert_elsewhere(state.clone(), begun);
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = tokio::select! {
                biased;
                _ = given_up => return,
                outcome = in_time(outcome, &slug) => outcome,
            };
            let Some(begun) = shared.pending.take_elsewhere(&state) else { return };
            let known = match &begun.whose {
                Whose::Known { cell, .. } => Some(Arc::clone(cell)),
                Whose::New(_) => None,
            };
            let concluded = match outcome {
                Ok(grant) => shared.conclude(begun, Some(grant)).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = concluded {
                shared.announce_failure(known.as_ref(), &error);
            }
        });
    }

    /// Completes a sign-in with what came back with the browser, and says whose it was.
    pub(super) async fn complete_sign_in(
        self: Arc<Self>,
        callback: SignInCallback,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let begun = self.pending.take(&callback.state).ok_or_else(|| {
            let minutes = SIGN_IN_LIFETIME.as_secs() / 60;
            let problem = format!(
                "this sign-in is unknown, was used already, or was begun more than {minutes} minutes ago; begin again"
            );
            InvalidDefinition { field: "state", problem }
        })?;
        let grant = begun.sign_in.complete(callback).await.inspect_err(|error| {
            if let Whose::Known { cell, .. } = &begun.whose {
                self.show_refusal(cell, error);
            }
        })?;
        self.conclude(begun, Some(grant)).await
    }

    /// Puts into force what a sign-in has brought. Without a grant, it has stored that itself.
    async fn conclude(
        self: &Arc<Self>,
        begun: Begun,
        grant: Option<Grant>,
    ) -> Result<Arc<Cell>, ConnectorError> {
        match begun.whose {
            Whose::Known { cell, url } => {
                if let Some(grant) = grant {
                    self.store_grant(&cell, url, grant).await?;
                }
                self.signed_in(&cell).await?;
                Ok(cell)
            }
            Whose::New(newcomer) => self.bring_into_being(*newcomer, grant).await,
        }
    }

    /// Takes new tokens into use: a connection that works goes on with them, any other is made anew.
    pub(super) async fn signed_in(&self, cell: &Cell) -> Result<(), ConnectorError> {
        if let Some(opened) = cell.sign_in.load_full() {
            opened.sign_in.reload().await;
        }
        cell.renewed();
        let is_ready = matches!(*cell.state.borrow(), State::Ready { .. });
        let redialled = if is_ready { Ok(()) } else { cell.redial().await };
        // Last: who waits for it needs the connection.
        self.consented(cell);
        redialled
    }

    /// Gives the tokens back and forgets them. Ends with the connector in want of a sign-in.
    pub(super) async fn sign_out(self: Arc<Self>, cell: Arc<Cell>) -> Result<(), ConnectorError> {
        let opened = self.sign_in_of(&cell)?;
        self.settle_secrets(&opened.definition).await?;
        // One that is completed later would undo this.
        self.pending.forget(&cell);
        let signed_out = opened.sign_in.sign_out().await;
        cell.redial().await?;
        signed_out
    }

    /// Gives the tokens back where the servers let us, before they are deleted in any case.
    pub(super) async fn revoke(&self, cell: &Cell) {
        let Ok(opened) = self.sign_in_of(cell) else { return };
        match tokio::time::timeout(REVOCATION, opened.sign_in.sign_out()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(slug = %cell.slug, code = error.code(), "tokens could not be given back");
            }
            Err(_) => tracing::warn!(slug = %cell.slug, "tokens could not be given back in time"),
        }
    }

    /// Shows why a sign-in does not come about, while the connector is in want of one.
    fn show_refusal(&self, cell: &Cell, error: &ConnectorError) {
        let Some(refusal) = Refusal::of(error) else { return };
        let sentence = refusal.error.clone();
        let is_shown = cell.state.send_if_modified(|state| match state {
            State::NeedsSignIn(present) => {
                *present = refusal;
                true
            }
            _ => false,
        });
        if is_shown {
            let state = Some(cell.state.borrow().name());
            let kind = EventKind::State { state, removed: false, error: Some(sentence) };
            self.tell(cell, kind);
        }
    }

    /// Tells the world of a failure that nobody waits for.
    fn announce_failure(&self, cell: Option<&Arc<Cell>>, error: &ConnectorError) {
        if cell.is_some_and(|cell| !self.is_current(cell)) {
            return;
        }
        tracing::info!(slug = ?cell.map(|cell| &cell.slug), code = error.code(), "a sign-in has failed");
        let (mut wanted, mut scopes) = (true, Vec::new());
        if let Some(cell) = cell {
            self.show_refusal(cell, error);
            scopes = cell.consent.scopes();
            wanted = cell.consent.is_wanted() || cell.state.borrow().refusal().is_some();
        }
        let kind = EventKind::SignIn { wanted, reason: Some(super::status::sentence(error)), scopes };
        self.events.publish(cell.map(|cell| &cell.slug), kind);
    }
}

impl Prepared {
    /// Writes what was entered about signing in to where a sign-in finds it.
    async fn stage(&self, staged: &MemoryCredentialStore) -> Result<(), ConnectorError> {
        for (name, value) in self.secrets.of_sign_in() {
            staged.put(&CredentialKey::of_sign_in(&self.definition.slug, name), &value).await?;
        }
        Ok(())
    }
}

/// What of a new connector's entries is to be changed in one that is there already.
fn entered(new: NewConnector) -> Option<ConnectorUpdate> {
    let headers = match new.endpoint {
        NewEndpoint::Http { headers, .. } if !headers.is_empty() => Some(headers),
        _ => None,
    };
    let is_something = headers.is_some() || new.sign_in.is_some() || new.network.is_some();
    is_something.then(|| ConnectorUpdate {
        headers,
        sign_in: new.sign_in,
        network: new.network,
        ..ConnectorUpdate::default()
    })
}

async fn in_time(
    outcome: BoxFuture<'static, Result<Grant, ConnectorError>>,
    slug: &Slug,
) -> Result<Grant, ConnectorError> {
    let late = |_| ConnectorError::TimedOut {
        slug: slug.clone(),
        what: "the sign-in".to_owned(),
        limit: SIGN_IN_LIFETIME,
    };
    tokio::time::timeout(SIGN_IN_LIFETIME, outcome).await.map_err(late)?
}
