//! `deny_connector` as a policy of a runtime.

use car_engine::{PolicyCheck, Runtime};
use futures_util::FutureExt;
use tokio::task::unconstrained;

use super::bridge::CarBridge;
use super::runtime::Holder;
use crate::names::Slug;

/// Keeps the names of these rules apart from those of a host's own policies.
const PREFIX: &str = "deny_connector:";

impl CarBridge {
    /// Registers a rule that denies every action on a tool of `target`, whatever the tool's model-visible name looks like, and
    /// records that the rule is in force, and each denial. In force when this returns, for retries and for actions that wait as
    /// well; a rule of the same name is replaced. Only [`allow_connector`](Self::allow_connector) lifts it whole.
    ///
    /// The tools stay listed: [`DenyConnectors`](crate::gate::DenyConnectors) as a gate of the manager takes them off as well.
    pub async fn deny_connector(&self, runtime: &Runtime, rule: &str, target: Slug) {
        let name = format!("{PREFIX}{rule}");
        let description = format!("denies every tool of the connector `{target}`");
        let check = self.denial(runtime, rule, target.clone());
        let (attached, recorder) = (self.attached(runtime), self.recorder(&runtime.log));
        let mut policies = runtime.policies.write().await;
        policies.unregister(&name);
        policies.register(&name, check, &description);
        // While they are locked, so that none of the three ever differs from the others.
        let replaced = attached.deny(rule, target.clone());
        if replaced.as_ref() != Some(&target) {
            if let Some(other) = replaced {
                recorder.rule(&other, rule, "allow");
            }
            recorder.rule(&target, rule, "reject");
        }
    }

    /// Lifts such a rule, and records that; false if there is none of this name.
    pub async fn allow_connector(&self, runtime: &Runtime, rule: &str) -> bool {
        let (attached, recorder) = (self.attached(runtime), self.recorder(&runtime.log));
        let mut policies = runtime.policies.write().await;
        if let Some(target) = attached.allow(rule) {
            recorder.rule(&target, rule, "allow");
        }
        policies.unregister(&format!("{PREFIX}{rule}")) > 0
    }

    /// The check of such a rule alone, for a host that registers it elsewhere: for one session, say. The runtime asks it once for each
    /// action, not again before a retry.
    pub fn denial(&self, runtime: &Runtime, rule: &str, target: Slug) -> PolicyCheck {
        let (owners, recorder, rule) = (self.owners(), self.recorder(&runtime.log), rule.to_owned());
        let attached = self.attached(runtime);
        Box::new(move |action, _| {
            let tool = action.tool.as_deref()?;
            if owners.of(tool)? != target {
                return None;
            }
            // While the tools are being changed the name counts as the connector's.
            let holder = unconstrained(attached.holder(&target, tool)).now_or_never();
            if matches!(holder, Some(Holder::Somebody)) {
                return None;
            }
            recorder.denied(&target, &action.id, tool, &rule);
            Some(denial(&target, &rule))
        })
    }
}

/// What whoever is denied is told.
pub(super) fn denial(target: &Slug, rule: &str) -> String {
    format!("the connector `{target}` is denied by the rule `{rule}`")
}
