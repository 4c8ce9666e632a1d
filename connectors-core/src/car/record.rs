//! What the connectors add to an event log.
//!
//! Everything is an `AdmissionGateDecision`, which no statistics of the engine's count, with the connector as `origin`
//! (`connector:<slug>`): `connector_tools` (tools became callable or ceased to be), `connector_definition` (tools that wait for the
//! user because their definitions changed), `connector_call` (an action was let through to a connector) and `deny_connector` (it was
//! not). No entry holds an argument or a result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{EventKind, EventLog};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use super::listing::List;
use crate::events::{self, ConnectorEvent};
use crate::manager::Route;
use crate::names::Slug;

/// Writes entries to one log, in order, without keeping anybody waiting.
#[derive(Clone)]
pub(super) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
}

enum Note {
    Entry { action: Option<String>, data: HashMap<String, Value> },
    Written(oneshot::Sender<()>),
}

impl Recorder {
    /// Records what happens from now on, for as long as the log lives.
    pub(super) fn on(log: &Arc<Mutex<EventLog>>, events: broadcast::Receiver<Arc<ConnectorEvent>>) -> Self {
        let (notes, to_do) = mpsc::unbounded_channel();
        tokio::spawn(write(Arc::downgrade(log), to_do, events));
        Self { notes }
    }

    /// An action is let through to a connector.
    pub(super) fn call(&self, route: &Route, action: &str) {
        let mut data = decision("connector_call", "allow", &route.slug);
        data.insert("tool".to_owned(), json!(&*route.canonical));
        data.insert("server_tool".to_owned(), json!(route.tool.name));
        self.note(Some(action), data);
    }

    /// An action is refused by a rule.
    pub(super) fn denied(&self, slug: &Slug, action: &str, tool: &str, rule: &str) {
        let mut data = decision("deny_connector", "reject", slug);
        data.insert("tool".to_owned(), json!(tool));
        data.insert("blocked".to_owned(), json!([action]));
        data.insert("reason".to_owned(), json!(format!("denied by the policy rule `{rule}`")));
        self.note(Some(action), data);
    }

    fn note(&self, action: Option<&str>, data: HashMap<String, Value>) {
        // A log that is gone records nothing.
        let _ = self.notes.send(Note::Entry { action: action.map(str::to_owned), data });
    }

    /// Returns once everything so far is in the log.
    pub(super) async fn written(&self) {
        let (done, is_done) = oneshot::channel();
        if self.notes.send(Note::Written(done)).is_ok() {
            let _ = is_done.await;
        }
    }

    fn is_gone(&self) -> bool {
        self.notes.is_closed()
    }

    fn tools(&self, routes: &[Arc<Route>], verdict: &'static str, reason: &'static str) {
        let mut by_connector: BTreeMap<&Slug, Vec<&str>> = BTreeMap::new();
        for route in routes {
            by_connector.entry(&route.slug).or_default().push(&route.canonical);
        }
        for (slug, mut tools) in by_connector {
            tools.sort_unstable();
            let mut data = decision("connector_tools", verdict, slug);
            data.insert("tools".to_owned(), json!(tools));
            data.insert("reason".to_owned(), json!(reason));
            self.note(None, data);
        }
    }
}

/// A log that follows the listing like a registry does.
#[async_trait]
impl List for Recorder {
    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        self.tools(routes, "reject", "not, or no longer, enabled, admitted and on offer");
        !self.is_gone()
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        self.tools(routes, "allow", "enabled by the user and admitted");
        !self.is_gone()
    }
}

fn decision(gate: &str, verdict: &str, slug: &Slug) -> HashMap<String, Value> {
    [
        ("gate".to_owned(), json!(gate)),
        ("decision".to_owned(), json!(verdict)),
        ("origin".to_owned(), json!(format!("connector:{slug}"))),
        ("connector".to_owned(), json!(slug.as_str())),
    ]
    .into()
}

async fn write(
    log: Weak<Mutex<EventLog>>,
    mut notes: mpsc::UnboundedReceiver<Note>,
    mut events: broadcast::Receiver<Arc<ConnectorEvent>>,
) {
    let mut has_events = true;
    loop {
        let note = tokio::select! {
            note = notes.recv() => match note {
                Some(note) => note,
                None => return,
            },
            event = events.recv(), if has_events => match event {
                Ok(event) => match changed(&event) {
                    Some(note) => note,
                    None => continue,
                },
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "the event log may lack changes of definitions");
                    continue;
                }
                Err(RecvError::Closed) => {
                    has_events = false;
                    continue;
                }
            },
        };
        let Some(log) = log.upgrade() else { return };
        match note {
            Note::Entry { action, data } => {
                log.lock().await.append(EventKind::AdmissionGateDecision, action.as_deref(), None, data);
            }
            Note::Written(done) => {
                let _ = done.send(());
            }
        }
    }
}

fn changed(event: &ConnectorEvent) -> Option<Note> {
    let (Some(slug), events::EventKind::DefinitionChanged { tools }) = (&event.slug, &event.kind) else {
        return None;
    };
    let mut data = decision("connector_definition", "needs_approval", slug);
    data.insert("server_tools".to_owned(), json!(tools));
    data.insert("reason".to_owned(), json!("the definitions have changed since the user enabled the tools"));
    Some(Note::Entry { action: None, data })
}
