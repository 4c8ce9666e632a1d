//! Who may decide that a tool is not for the model.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::names::Slug;
use crate::tool::ToolDefinition;

/// Decides whether an enabled tool gets a route. Pure and cheap: called for every enabled tool on every rebuild of the
/// route table, never on the call path.
///
/// What a gate withholds is unknown to dispatch. A gate whose verdicts change tells the manager
/// ([`ConnectorManager::gates_changed`](crate::manager::ConnectorManager::gates_changed)).
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait EnablementGate: Send + Sync + 'static {
    /// The verdict on one tool.
    fn admit(&self, connector: &Slug, tool: &ToolDefinition) -> Admission;
}

/// A gate's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The tool may be routed, as far as this gate is concerned.
    Admit,
    /// It may not; the reason is for the user.
    Withhold {
        /// One sentence.
        reason: String,
    },
}

/// The `deny_connector` policy: withholds every tool of the named connectors, whatever their canonical names look like.
#[derive(Debug, Default)]
pub struct DenyConnectors {
    rules: RwLock<BTreeMap<Arc<str>, Slug>>,
}

impl DenyConnectors {
    /// Registers a rule; one with the same name is replaced.
    pub fn register(&self, rule: &str, target: Slug) {
        self.rules.write().unwrap_or_else(PoisonError::into_inner).insert(rule.into(), target);
    }

    /// Lifts a rule; false if there is none of this name.
    pub fn lift(&self, rule: &str) -> bool {
        self.rules.write().unwrap_or_else(PoisonError::into_inner).remove(rule).is_some()
    }
}

impl EnablementGate for DenyConnectors {
    fn admit(&self, connector: &Slug, _: &ToolDefinition) -> Admission {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        match rules.iter().find(|(_, target)| *target == connector) {
            Some((rule, _)) => Admission::Withhold { reason: format!("denied by the policy rule `{rule}`") },
            None => Admission::Admit,
        }
    }
}
