//! `deny_connector` as a policy of a runtime.

use car_engine::{PolicyCheck, Runtime};

use super::bridge::CarBridge;
use crate::names::Slug;

/// Keeps the names of these rules apart from those of a host's own policies.
const PREFIX: &str = "deny_connector:";

impl CarBridge {
    /// Registers a rule that denies every action on a tool of `target`, whatever the tool's model-visible name looks like, and
    /// records each denial. In force when this returns; a rule of the same name is replaced.
    ///
    /// The tools stay listed: [`DenyConnectors`](crate::gate::DenyConnectors) as a gate of the manager takes them off as well.
    pub async fn deny_connector(&self, runtime: &Runtime, rule: &str, target: Slug) {
        let name = format!("{PREFIX}{rule}");
        let description = format!("denies every tool of the connector `{target}`");
        let check = self.denial(runtime, rule, target);
        let mut policies = runtime.policies.write().await;
        policies.unregister(&name);
        policies.register(&name, check, &description);
    }

    /// Lifts such a rule; false if there is none of this name.
    pub async fn allow_connector(&self, runtime: &Runtime, rule: &str) -> bool {
        runtime.policies.write().await.unregister(&format!("{PREFIX}{rule}")) > 0
    }

    /// The check of such a rule alone, for a host that registers it elsewhere: for one session, say.
    pub fn denial(&self, runtime: &Runtime, rule: &str, target: Slug) -> PolicyCheck {
        let (names, recorder, rule) = (self.names(), self.recorder(&runtime.log), rule.to_owned());
        Box::new(move |action, _| {
            let tool = action.tool.as_deref()?;
            if names.owner(tool)? != target {
                return None;
            }
            recorder.denied(&target, &action.id, tool, &rule);
            Some(format!("the connector `{target}` is denied by the rule `{rule}`"))
        })
    }
}
