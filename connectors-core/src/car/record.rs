//! What the connectors add to an event log.
//!
//! Everything is an `AdmissionGateDecision`, which no statistics of the engine's count, with the connector as `origin`
//! (`connector:<slug>`): `connector_selection` (the user has enabled or disabled tools, or accepted changed definitions),
//! `connector_tools` (tools became callable or ceased to be, and why), `connector_definition` (tools that wait for the user because
//! their definitions changed), `connector_call` (an action was let through to a connector, or a call refused before there was an
//! action), `deny_connector` (an action was not let through) and `connector_rule` (a rule that does this came or went). No entry
//! holds an argument or a result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use car_engine::{EventKind, EventLog};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::listing::{List, Purpose};
use crate::events::{self, ConnectorEvent};
use crate::manager::Route;
use crate::manager::weak::WeakManager;
use crate::names::Slug;

/// Writes entries to one log, in order, without keeping anybody waiting.
#[derive(Clone)]
pub(super) struct Recorder {
    notes: mpsc::UnboundedSender<Note>,
    log: Weak<Mutex<EventLog>>,
    manager: WeakManager,
}

/// What the user has decided, or is to decide.
type Decisions = mpsc::UnboundedReceiver<Arc<ConnectorEvent>>;

enum Note {
    Entry { action: Option<String>, data: HashMap<String, Value> },
    Written(oneshot::Sender<()>),
}

impl Recorder {
    /// Records what happens from now on, for as long as the log lives.
    pub(super) fn on(log: &Arc<Mutex<EventLog>>, manager: WeakManager, decisions: Decisions) -> Self {
        let (notes, to_do) = mpsc::unbounded_channel();
        let log = Arc::downgrade(log);
        tokio::spawn(write(Weak::clone(&log), to_do, decisions));
        Self { notes, log, manager }
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

    fn tools(&self, routes: &[Arc<Route>], verdict: &'static str, reason: impl Fn(&Route) -> String) {
        let mut alike: BTreeMap<(&Slug, String), Vec<&str>> = BTreeMap::new();
        for route in routes {
            alike.entry((&route.slug, reason(route))).or_default().push(&route.canonical);
        }
        for ((slug, reason), mut tools) in alike {
            tools.sort_unstable();
            let mut data = decision("connector_tools", verdict, slug);
            data.insert("tools".to_owned(), json!(tools));
            data.insert("reason".to_owned(), json!(reason));
            self.note(None, data);
        }
    }

    fn why_withdrawn(&self, route: &Route) -> String {
        let Some(manager) = self.manager.upgrade() else {
            return "the host has given up its connectors".to_owned();
        };
        let why = manager.why_withdrawn(route);
        why.unwrap_or_else(|| "no longer led to this tool as it was".to_owned())
    }
}

/// A log that follows the listing like a registry does.
#[async_trait]
impl List for Recorder {
    fn purpose(&self) -> Purpose {
        Purpose::Show
    }

    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        self.tools(routes, "reject", |route| self.why_withdrawn(route));
        !self.is_gone()
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        self.tools(routes, "allow", |_| "on offer, enabled and admitted".to_owned());
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

/// Ends with the log, or with the last recorder.
async fn write(
    log: Weak<Mutex<EventLog>>,
    mut notes: mpsc::UnboundedReceiver<Note>,
    mut decisions: Decisions,
) {
    let mut has_decisions = true;
    loop {
        tokio::select! {
            // A decision before what it brings about.
            biased;
            event = decisions.recv(), if has_decisions => {
                let Some(event) = event else {
                    has_decisions = false;
                    continue;
                };
                let Some(log) = log.upgrade() else { return };
                for data in decided(&event) {
                    append(&log, None, data).await;
                }
            }
            note = notes.recv() => {
                let (Some(note), Some(log)) = (note, log.upgrade()) else { return };
                match note {
                    Note::Entry { action, data } => append(&log, action, data).await,
                    Note::Written(done) => {
                        // Whoever asks has seen them happen.
                        while let Ok(event) = decisions.try_recv() {
                            for data in decided(&event) {
                                append(&log, None, data).await;
                            }
                        }
                        let _ = done.send(());
                    }
                }
            }
        }
    }
}

async fn append(log: &Mutex<EventLog>, action: Option<String>, data: HashMap<String, Value>) {
    log.lock().await.append(EventKind::AdmissionGateDecision, action.as_deref(), None, data);
}

/// What an event comes to.
fn decided(event: &ConnectorEvent) -> Vec<HashMap<String, Value>> {
    let Some(slug) = &event.slug else { return Vec::new() };
    let all: &[(&str, &str, &Vec<String>, &str)] = match &event.kind {
        events::EventKind::Selection { enabled, disabled, accepted } => &[
            ("connector_selection", "allow", enabled, "enabled by the user"),
            ("connector_selection", "reject", disabled, "disabled by the user"),
            ("connector_selection", "allow", accepted, "the user has accepted the changed definitions"),
        ],
        events::EventKind::DefinitionChanged { tools } => &[(
            "connector_definition",
            "needs_approval",
            tools,
            "the definitions have changed since the user enabled the tools",
        )],
        _ => &[],
    };
    let some = all.iter().filter(|(_, _, tools, _)| !tools.is_empty());
    some.map(|(gate, verdict, tools, reason)| {
        let mut data = decision(gate, verdict, slug);
        data.insert("server_tools".to_owned(), json!(tools));
        data.insert("reason".to_owned(), json!(reason));
        data
    })
    .collect()
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
    use crate::events::EventBus;

    fn manager() -> WeakManager {
        WeakManager::default()
    }

    #[tokio::test]
    async fn every_decision_so_far_is_written_when_that_is_said() {
        let bus = EventBus::default();
        let log = Arc::new(Mutex::new(EventLog::new()));
        let recorder = Recorder::on(&log, manager(), bus.decisions());
        let (slug, tools) = (Slug::verbatim("s"), |tool: &str| vec![tool.to_owned()]);
        // More than a subscriber could fall behind.
        for _ in 0..2_000 {
            bus.publish(Some(&slug), events::EventKind::DefinitionChanged { tools: tools("a") });
        }
        let selection =
            events::EventKind::Selection { enabled: tools("b"), disabled: tools("c"), accepted: tools("a") };
        bus.publish(Some(&slug), selection);
        recorder.written().await;
        let log = log.lock().await;
        let told: Vec<_> = log
            .events()
            .iter()
            .map(|event| {
                let of = |name: &str| event.data[name].clone();
                json!([of("origin"), of("gate"), of("decision"), of("server_tools")])
            })
            .collect();
        let expected =
            |gate: &str, decision: &str, tool: &str| json!(["connector:s", gate, decision, [tool]]);
        assert_eq!(told[..2_000], vec![expected("connector_definition", "needs_approval", "a"); 2_000]);
        assert_eq!(
            told[2_000..],
            [
                expected("connector_selection", "allow", "b"),
                expected("connector_selection", "reject", "c"),
                expected("connector_selection", "allow", "a"),
            ]
        );
    }

    #[tokio::test]
    async fn nothing_is_left_running_for_a_log_that_is_gone() {
        let bus = EventBus::default();
        let log = Arc::new(Mutex::new(EventLog::new()));
        let mut recorder = Recorder::on(&log, manager(), bus.decisions());
        assert!(recorder.publish(&[]).await);
        drop(log);
        assert!(!recorder.publish(&[]).await);
        let changed = events::EventKind::DefinitionChanged { tools: Vec::new() };
        bus.publish(Some(&Slug::verbatim("s")), changed);
        recorder.notes.closed().await;
    }
}
