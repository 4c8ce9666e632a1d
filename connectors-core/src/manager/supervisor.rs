//! The life of one connector: dial, serve, wait, again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::cell::{Cell, Command, Refusal, State};
use super::dial::Connected;
use super::shared::Shared;
use crate::client::{ClientSignal, EraChoice, McpClient};
use crate::connector::Connector;
use crate::error::ConnectorError;
use crate::events::EventKind;
use crate::tool::ToolCatalog;

/// A connection that has lasted this long was a good one: the next attempt after it is made at once.
const GOOD: Duration = Duration::from_secs(60);
/// How long it is remembered that a server was legacy, before the modern era is probed again.
const ERA_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// Wait before a catalogue that was announced as changed is read again; doubled while announcements keep coming.
const MIN_RELIST: Duration = Duration::from_millis(50);
/// Least time between a read of the catalogue and another because it is no longer fresh: no server has it read at every call.
const LEAST_TTL: Duration = Duration::from_secs(5);
/// Longest wait before a catalogue that was announced as changed is read again.
const MAX_RELIST: Duration = Duration::from_secs(60);

/// Owns one connector's connection. One task each; it ends when it is told to stop.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    commands: mpsc::Receiver<Command>,
    backoff: Backoff,
    era: EraChoice,
    era_known_at: Instant,
    /// Who wants to know when the next attempt has begun.
    redialers: Vec<oneshot::Sender<()>>,
}

/// Why a connection, or a wait, is over.
enum Next {
    Dial,
    Wait(ConnectorError),
    Stop,
}

type Listing = Pin<Box<dyn Future<Output = Result<ToolCatalog, ConnectorError>> + Send>>;

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, cell: Arc<Cell>, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            cell,
            commands,
            backoff: Backoff::default(),
            era: EraChoice::Probe,
            era_known_at: Instant::now(),
            redialers: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            let renewals = self.cell.renewals();
            let next = if self.cell.definition.load().disabled {
                self.shared.set_state(&self.cell, State::Disabled);
                self.redialers.clear();
                waiting.clear();
                self.idle(None).await
            } else {
                match self.dial(&mut waiting).await {
                    Ok(connected) => self.serve(connected, std::mem::take(&mut waiting)).await,
                    Err(next) => next,
                }
            };
            match next {
                Next::Dial => {}
                Next::Stop => break,
                Next::Wait(error) => {
                    let pause = self.failed(&error);
                    waiting.clear();
                    if pause.is_none() && self.cell.renewals() != renewals {
                        // The refusal may have been of the tokens before.
                        continue;
                    }
                    if let Next::Stop = self.idle(pause).await {
                        break;
                    }
                }
            }
        }
        self.shared.set_state(&self.cell, State::Disconnected);
    }

    /// One attempt, given up when another is wanted. Who asks for the catalogue meanwhile is remembered in `waiting`.
    async fn dial(&mut self, waiting: &mut Vec<oneshot::Sender<()>>) -> Result<Connected, Next> {
        self.shared.set_state(&self.cell, State::Connecting { failed_attempts: self.backoff.failures() });
        self.redialers.clear();
        if self.era_known_at.elapsed() > ERA_MEMORY {
            self.era = EraChoice::Probe;
        }
        let mut era = self.era;
        let outcome = {
            // Boxed: it is most of this task's size, and over for most of its life.
            let mut attempt = Box::pin(self.shared.connect(&self.cell, &mut era));
            loop {
                tokio::select! {
                    biased;
                    command = self.commands.recv() => match command {
                        Some(Command::Refresh(done)) => waiting.push(done),
                        Some(Command::Suspect | Command::Stale) => {}
                        Some(Command::Redial(begun)) => {
                            self.redialers.push(begun);
                            return Err(Next::Dial);
                        }
                        Some(Command::Stop) | None => return Err(Next::Stop),
                    },
                    outcome = &mut attempt => break outcome,
                }
            }
        };
        if era != self.era {
            self.era = era;
            self.era_known_at = Instant::now();
        }
        outcome.map_err(Next::Wait)
    }

    /// Keeps a connection until it is lost or no longer wanted.
    async fn serve(&mut self, connected: Connected, waiting: Vec<oneshot::Sender<()>>) -> Next {
        let Connected { client, signals, catalog } = connected;
        self.publish(catalog).await;
        self.cell.client.store(Some(Arc::clone(&client)));
        self.ready(&client, None);
        drop(waiting);
        let since = Instant::now();
        let next = self.watch(&client, signals).await;
        self.cell.client.store(None);
        if since.elapsed() >= GOOD {
            self.backoff.reset();
        }
        // Closing is bounded in time; a new dial need not wait for it, but a removal or a shutdown does.
        match &next {
            Next::Stop => client.close().await,
            Next::Dial | Next::Wait(_) => {
                tokio::spawn(async move { client.close().await });
            }
        }
        next
    }

    async fn watch(&mut self, client: &Arc<McpClient>, mut signals: mpsc::Receiver<ClientSignal>) -> Next {
        let mut listing: Option<Listing> = None;
        let mut again = false;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut spacing = MIN_RELIST;
        let mut listed_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Refresh(done)) => {
                        waiting.push(done);
                        listing.get_or_insert_with(|| relist(client, Duration::ZERO));
                    }
                    Some(Command::Suspect) => {
                        listing.get_or_insert_with(|| relist(client, Duration::ZERO));
                    }
                    Some(Command::Stale) => {
                        let left = LEAST_TTL.saturating_sub(listed_at.elapsed());
                        listing.get_or_insert_with(|| relist(client, left));
                    }
                    Some(Command::Redial(begun)) => {
                        self.redialers.push(begun);
                        return Next::Dial;
                    }
                    Some(Command::Stop) | None => return Next::Stop,
                },
                signal = signals.recv() => match signal {
                    Some(ClientSignal::ToolsChanged) if listing.is_some() => again = true,
                    Some(ClientSignal::ToolsChanged) => {
                        spacing = if listed_at.elapsed() < spacing * 4 { (spacing * 2).min(MAX_RELIST) } else { MIN_RELIST };
                        listing = Some(relist(client, spacing));
                    }
                    Some(ClientSignal::PromptsChanged) => self.feature_changed("prompts", None),
                    Some(ClientSignal::ResourcesChanged) => self.feature_changed("resources", None),
                    Some(ClientSignal::ResourceUpdated { uri }) => self.feature_changed("resource", Some(uri)),
                    Some(ClientSignal::Log { level, message }) => {
                        self.shared.tell(&self.cell, EventKind::Log { level, message });
                    }
                    Some(ClientSignal::Lost { reason, sign_in }) => return Next::Wait(self.lost(reason, sign_in)),
                    None => return Next::Wait(self.lost("the connection ended".to_owned(), false)),
                },
                outcome = async { match &mut listing { Some(listing) => listing.await, None => std::future::pending().await } } => {
                    listed_at = Instant::now();
                    listing = std::mem::take(&mut again).then(|| {
                        spacing = (spacing * 2).min(MAX_RELIST);
                        relist(client, spacing)
                    });
                    match outcome {
                        Ok(catalog) => {
                            self.publish(catalog).await;
                            self.ready(client, None);
                        }
                        Err(error) if is_about_the_answer(&error) => self.ready(client, Some(error.to_string())),
                        Err(error) => return Next::Wait(error),
                    }
                    waiting.clear();
                }
            }
        }
    }

    /// Puts a fresh catalogue in force. A tool that was enabled before fingerprints were kept is pinned as it is now.
    async fn publish(&self, catalog: ToolCatalog) {
        let definition = self.cell.definition.load_full();
        let changed: Vec<String> = catalog
            .tools
            .iter()
            .filter(|tool| {
                definition.enabled_tools.contains(&tool.name) && super::routes::is_changed(&definition, tool)
            })
            .map(|tool| tool.name.clone())
            .collect();
        self.cell.catalog.store(Some(Arc::new(catalog)));
        self.shared.rebuild_routes().await;
        self.shared.catalogue_changed(&self.cell);
        if !changed.is_empty() {
            self.shared.tell(&self.cell, EventKind::DefinitionChanged { tools: changed });
        }
        self.shared.pin_enabled(&self.cell);
    }

    fn feature_changed(&self, feature: &'static str, uri: Option<String>) {
        self.shared.tell(&self.cell, EventKind::FeatureChanged { feature, uri });
    }

    fn ready(&self, client: &McpClient, problem: Option<String>) {
        let session = client.session();
        self.shared.set_state(&self.cell, State::Ready { session, problem });
    }

    fn lost(&self, reason: String, sign_in: bool) -> ConnectorError {
        let slug = self.cell.slug.clone();
        if sign_in {
            ConnectorError::SignInRequired { slug, reason: Some(reason) }
        } else {
            ConnectorError::NotConnected { slug, reason: Some(reason), retry_at: None }
        }
    }

    /// Records a failure; returns how long to wait before the next attempt, or nothing if only the user can help.
    fn failed(&mut self, error: &ConnectorError) -> Option<Duration> {
        let sentence = super::status::sentence(error);
        tracing::info!(slug = %self.cell.slug, code = error.code(), "connector is down");
        if let Some(refusal) = Refusal::of(error) {
            self.shared.set_state(&self.cell, State::NeedsSignIn(refusal));
            return None;
        }
        let pause = self.backoff.next();
        let state = State::Backoff {
            error: sentence,
            code: error.code(),
            retry_at: SystemTime::now() + pause,
            failed_attempts: self.backoff.failures(),
        };
        self.shared.set_state(&self.cell, state);
        Some(pause)
    }

    /// Waits for the time of the next attempt, or for being told to make it.
    async fn idle(&mut self, pause: Option<Duration>) -> Next {
        let pause = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Stop) | None => return Next::Stop,
                    Some(Command::Redial(begun)) => {
                        self.redialers.push(begun);
                        self.backoff.reset();
                        return Next::Dial;
                    }
                    // Answered by being dropped: there is nothing to read a catalogue from.
                    Some(Command::Refresh(_) | Command::Suspect | Command::Stale) => {}
                },
                () = &mut pause => return Next::Dial,
            }
        }
    }
}

fn relist(client: &Arc<McpClient>, after: Duration) -> Listing {
    let client = Arc::clone(client);
    Box::pin(async move {
        tokio::time::sleep(after).await;
        client.list_tools().await
    })
}

/// True for a failed read of the catalogue that says nothing about the connection.
fn is_about_the_answer(error: &ConnectorError) -> bool {
    matches!(
        error,
        ConnectorError::Upstream { .. }
            | ConnectorError::Protocol { .. }
            | ConnectorError::LimitExceeded { .. }
    )
}
