//! What happens to connectors, for everyone who watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{broadcast, mpsc};

use crate::connector::Progress;
use crate::names::Slug;
use crate::view::StateName;

/// Events that a slow subscriber may fall behind before it loses the oldest.
const BACKLOG: usize = 1024;

/// One event, numbered in the order in which they happened.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConnectorEvent {
    /// Counts up by one, from 1.
    pub seq: u64,
    /// The connector concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<Slug>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. No variant carries a secret, an argument or a result.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A connector came, changed its state, or went (`removed`).
    State {
        /// The new state; `None` when it was removed.
        state: Option<StateName>,
        /// True when it was removed.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
        /// What went wrong, in one sentence.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The prompts or resources of a server changed: list them again.
    FeatureChanged {
        /// `prompts`, `resources` or `resource`.
        feature: &'static str,
        /// The resource that changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
    },
    /// The tools, the selection or what is routed changed.
    Catalogue {
        /// Usable tools.
        tool_count: usize,
        /// Tools with a route.
        enabled_count: usize,
    },
    /// The user has to sign in, or to grant more; see
    /// [`ConnectorManager::sign_in`](crate::ConnectorManager::sign_in).
    SignIn {
        /// True when it is wanted, false when it is done or no longer wanted.
        wanted: bool,
        /// Why, in one sentence.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The scopes that the user has to grant, where what was granted does not suffice.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
    },
    /// A call was let through.
    CallStarted {
        /// The caller's id of the call.
        call_id: Arc<str>,
        /// The server's name of the tool.
        tool: String,
    },
    /// A call of an enabled tool was refused before it began: a gate, a policy or a changed definition withholds the tool.
    CallRefused {
        /// The caller's id of the call, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        call_id: Option<Arc<str>>,
        /// The server's name of the tool.
        tool: String,
        /// The stable code of the error that the caller gets.
        code: &'static str,
        /// Why, in one sentence.
        reason: String,
    },
    /// A call made progress.
    CallProgress {
        /// The caller's id of the call.
        call_id: Arc<str>,
        /// How far.
        #[serde(flatten)]
        progress: Progress,
    },
    /// A call ended.
    CallFinished {
        /// The caller's id of the call.
        call_id: Arc<str>,
        /// The server's name of the tool.
        tool: String,
        /// How long it took.
        duration_ms: u64,
        /// `ok`, `tool_error`, or the stable code of the error.
        outcome: &'static str,
    },
    /// A server asks something of the user; see [`ConnectorManager::answer`](crate::ConnectorManager::answer).
    InputWanted {
        /// Names the question in the answer.
        request_id: String,
        /// `form` or `url`.
        mode: &'static str,
        /// Why, in the server's words, made fit for display. Untrusted.
        message: String,
        /// The form: a flat object schema.
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<serde_json::Value>,
        /// The page, to be shown in full and opened only by the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// The host of the page, to be shown first.
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A question is no longer open: answered, or its call is over.
    InputOver {
        /// The question.
        request_id: String,
    },
    /// A log message of the server's.
    Log {
        /// The server's level.
        level: String,
        /// The server's text, made fit for display. Untrusted.
        message: String,
    },
    /// A proposal waits for the user: a new one, or one that differs from what was accepted; see
    /// [`ConnectorManager::accept`](crate::ConnectorManager::accept).
    ApprovalWanted {
        /// The file that proposes it.
        file: String,
        /// Names what is proposed.
        hash: String,
    },
    /// The settings of a local server were written, and hold variables in plain text that look like secrets: ask the user whether
    /// to move them to the secret store; see [`ConnectorManager::protect_env`](crate::ConnectorManager::protect_env). Once for each
    /// connector and run.
    ProtectionWanted {
        /// The names of the variables.
        variables: Vec<String>,
    },
    /// The proposals, or the mistakes in their file, are no longer those that were listed.
    ProposalsChanged {},
    /// The manifest can no longer be used, or can again.
    Storage {
        /// What is wrong with it, in one sentence; `None` when nothing is any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// The user has decided about tools: by a method, or by hand in the manifest. No tool is in two of the lists.
    Selection {
        /// Tools that are enabled now, by the server's names.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        enabled: Vec<String>,
        /// Tools that are enabled no longer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        disabled: Vec<String>,
        /// Enabled tools whose changed definitions are accepted.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        accepted: Vec<String>,
    },
    /// Enabled tools are withheld because their definitions changed.
    DefinitionChanged {
        /// Their names.
        tools: Vec<String>,
    },
}

impl EventKind {
    /// True for what the user decides about tools, and for what waits for such a decision.
    fn is_decision(&self) -> bool {
        matches!(self, Self::Selection { .. } | Self::DefinitionChanged { .. })
    }
}

/// Where events are published and subscribed to. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct EventBus {
    sender: broadcast::Sender<Arc<ConnectorEvent>>,
    next: Arc<AtomicU64>,
    /// Who must not miss a decision.
    records: Arc<Mutex<Vec<mpsc::UnboundedSender<Arc<ConnectorEvent>>>>>,
}

impl Default for EventBus {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG),
            next: Arc::new(AtomicU64::new(1)),
            records: Arc::default(),
        }
    }
}

impl EventBus {
    /// Tells every subscriber. Never waits; costs next to nothing while nobody listens.
    pub fn publish(&self, slug: Option<&Slug>, kind: EventKind) {
        let seq = self.next.fetch_add(1, Ordering::Relaxed);
        let is_decision = kind.is_decision();
        if self.is_unwatched() && !is_decision {
            return;
        }
        let event = Arc::new(ConnectorEvent { seq, slug: slug.cloned(), kind });
        if is_decision {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            records.retain(|record| record.send(Arc::clone(&event)).is_ok());
        }
        // Fails only if the last subscriber has just gone.
        let _ = self.sender.send(event);
    }

    /// True while nobody receives events.
    pub fn is_unwatched(&self) -> bool {
        self.sender.receiver_count() == 0
    }

    /// Receives what is published from now on. A receiver that falls behind is told how many events it lost.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ConnectorEvent>> {
        self.sender.subscribe()
    }

    /// Receives, from now on and without loss, what the user decides about tools ([`EventKind::Selection`]) and what waits for
    /// such a decision ([`EventKind::DefinitionChanged`]): for records. What is not received is kept; there is little of it.
    pub fn decisions(&self) -> mpsc::UnboundedReceiver<Arc<ConnectorEvent>> {
        let (record, decisions) = mpsc::unbounded_channel();
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        decisions
    }
}
