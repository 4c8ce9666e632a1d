//! What the connectors add to an event log.
//!
//! Everything is an `AdmissionGateDecision`, which no statistics of the engine's count, with the connector as `origin`
//! (`connector:<slug>`): `connector_tools` (tools became callable or ceased to be), `connector_definition` (tools that wait for the
//! user because their definitions changed), `connector_call` (an action was let through to a connector, or a call refused before
//! there was an action), `deny_connector` (an action was not let through) and `connector_rule` (a rule that does this came or went).
//! Where events were lost on the way, an entry of the origin `connectors` says how many. No entry holds an argument or a
//! result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{EventKind, EventLog};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use super::listing::{List, Purpose};
use crate::events::{self, ConnectorEvent};
use crate::manager::Route;
use crate::names::Slug;

/// Writes entries to one log, in order, without keeping anybody waiting.
#[derive(Clone)]
pub(super) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
    log: Weak<Mutex<EventLog>>,
}

enum Note {
    Entry { action: Option<String>, data: HashMap<String, Value> },
    Written(oneshot::Sender<()>),
}

impl Recorder {
    /// Records what happens from now on, for as long as the log lives.
    pub(super) fn on(log: &Arc<Mutex<EventLog>>, events: broadcast::Receiver<Arc<ConnectorEvent>>) -> Self {
        let (notes, to_do) = mpsc::unbounded_channel();
        let log = Arc::downgrade(log);
        tokio::spawn(write(Weak::clone(&log), to_do, events));
        Self { notes, log }
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
        self.log.strong_count() == 0
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
    fn purpose(&self) -> Purpose {
        Purpose::Show
    }

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

/// What a writer waits for.
enum Next {
    Noted(Note),
    Happened(Result<Arc<ConnectorEvent>, RecvError>),
}

/// Ends with the log, or with the last recorder.
async fn write(
    log: Weak<Mutex<EventLog>>,
    mut notes: mpsc::UnboundedReceiver<Note>,
    mut events: broadcast::Receiver<Arc<ConnectorEvent>>,
) {
    let mut has_events = true;
    loop {
        let next = tokio::select! {
            biased;
            event = events.recv(), if has_events => Next::Happened(event),
            note = notes.recv() => match note {
                Some(note) => Next::Noted(note),
                None => return,
            },
        };
        let Some(log) = log.upgrade() else { return };
        match next {
            Next::Noted(Note::Entry { action, data }) => append(&log, action, data).await,
            Next::Noted(Note::Written(done)) => {
                // Whoever asks has seen them happen.
                for data in waiting(&mut events) {
                    append(&log, None, data).await;
                }
                let _ = done.send(());
            }
            Next::Happened(Ok(event)) => {
                if let Some(data) = changed(&event) {
                    append(&log, None, data).await;
                }
            }
            Next::Happened(Err(RecvError::Lagged(events))) => append(&log, None, lost(events)).await,
            Next::Happened(Err(RecvError::Closed)) => has_events = false,
        }
    }
}

async fn append(log: &Mutex<EventLog>, action: Option<String>, data: HashMap<String, Value>) {
    log.lock().await.append(EventKind::AdmissionGateDecision, action.as_deref(), None, data);
}

/// What the events that are there already come to.
fn waiting(events: &mut broadcast::Receiver<Arc<ConnectorEvent>>) -> Vec<HashMap<String, Value>> {
    let mut entries = Vec::new();
    loop {
        match events.try_recv() {
            Ok(event) => entries.extend(changed(&event)),
            Err(TryRecvError::Lagged(events)) => entries.push(lost(events)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return entries,
        }
    }
}

/// Events that came faster than they were written.
fn lost(events: u64) -> HashMap<String, Value> {
    tracing::warn!(events, "the event log may lack changes of definitions");
    [
        ("gate".to_owned(), json!("connector_definition")),
        ("decision".to_owned(), json!("unknown")),
        ("origin".to_owned(), json!("connectors")),
        ("lost_events".to_owned(), json!(events)),
        (
            "reason".to_owned(),
            json!("events came faster than they were recorded: changes of definitions may be missing"),
        ),
    ]
    .into()
}

fn changed(event: &ConnectorEvent) -> Option<HashMap<String, Value>> {
    let (Some(slug), events::EventKind::DefinitionChanged { tools }) = (&event.slug, &event.kind) else {
        return None;
    };
    let mut data = decision("connector_definition", "needs_approval", slug);
    data.insert("server_tools".to_owned(), json!(tools));
    data.insert("reason".to_owned(), json!("the definitions have changed since the user enabled the tools"));
    Some(data)
}

/// What happens beside the actions of a runtime.
impl Recorder {
    /// A call is refused before there is an action: a gate of the manager's, or a changed definition, withholds the tool.
    pub(super) fn refused(&self, slug: &Slug, server_tool: &str, reason: &str) {
        let mut data = decision("connector_call", "reject", slug);
        data.insert("server_tool".to_owned(), json!(server_tool));
        data.insert("reason".to_owned(), json!(reason));
        self.note(None, data);
    }

    /// A rule against a connector is in force from now on (`reject`), or no longer (`allow`).
    pub(super) fn rule(&self, slug: &Slug, rule: &str, verdict: &str) {
        let mut data = decision("connector_rule", verdict, slug);
        data.insert("rule".to_owned(), json!(rule));
        self.note(None, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(seq: u64) -> Arc<ConnectorEvent> {
        let kind = events::EventKind::DefinitionChanged { tools: vec![seq.to_string()] };
        Arc::new(ConnectorEvent { seq, slug: Some(Slug::verbatim("s")), kind })
    }

    #[tokio::test]
    async fn what_has_happened_is_written_when_that_is_said_and_what_was_lost_is_named() {
        let (bus, events) = broadcast::channel(2);
        let log = Arc::new(Mutex::new(EventLog::new()));
        let recorder = Recorder::on(&log, events);
        for round in [0, 10] {
            // Nothing else runs before `written`.
            for seq in round..round + 5 {
                bus.send(changed(seq)).unwrap();
            }
            recorder.written().await;
        }
        let log = log.lock().await;
        let told = log.events().iter().map(|event| json!([event.data["decision"], event.data["origin"]]));
        let round = || {
            let change = json!(["needs_approval", "connector:s"]);
            [json!(["unknown", "connectors"]), change.clone(), change]
        };
        assert_eq!(told.collect::<Vec<_>>(), [round(), round()].concat());
        let lost: Vec<_> = log.events().iter().filter_map(|event| event.data.get("lost_events")).collect();
        assert_eq!(lost, [&json!(3), &json!(3)]);
    }

    #[tokio::test]
    async fn nothing_is_left_running_for_a_log_that_is_gone() {
        let (bus, events) = broadcast::channel(2);
        let log = Arc::new(Mutex::new(EventLog::new()));
        let mut recorder = Recorder::on(&log, events);
        assert!(recorder.publish(&[]).await);
        drop(log);
        assert!(!recorder.publish(&[]).await);
        bus.send(changed(1)).unwrap();
        recorder.notes.closed().await;
    }
}
