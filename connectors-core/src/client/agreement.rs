//! What the server has agreed to announce on the modern era's subscription (2026-07-28, patterns, subscriptions).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::protocol::RequestId;

/// The agreement of one client, renewed with each subscription that it opens.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    state: watch::Sender<State>,
    acknowledged: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// The features whose lists were read while nothing would have announced that they change.
    read_early: BTreeSet<&'static str>,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing has been asked for.
    #[default]
    None,
    /// Asked for with the request `id`, and not yet acknowledged. `covered`: the subscription before announces changes of
    /// lists until then.
    Asked { id: RequestId, resources: BTreeSet<String>, covered: bool },
    /// Acknowledged, but for what is in `refused`.
    Acknowledged { honoured: BTreeSet<String>, refused: BTreeSet<String> },
    /// The server has no subscriptions.
    Impossible,
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(rename = "_meta")]
    meta: Meta,
    #[serde(default)]
    notifications: Filter,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: RequestId,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    resource_subscriptions: BTreeSet<String>,
}

impl Agreement {
    /// A subscription that takes the place of the one before is being opened, which goes on meanwhile if `overlaps`.
    pub(super) fn ask(&self, id: RequestId, resources: BTreeSet<String>, overlaps: bool) {
        self.acknowledged.send_replace(false);
        self.state.send_modify(|state| {
            let was_covered =
                matches!(state.stage, Stage::Acknowledged { .. } | Stage::Asked { covered: true, .. });
            state.stage = Stage::Asked { id, resources, covered: overlaps && was_covered };
        });
    }

    /// There will be no subscription.
    pub(super) fn give_up(&self) {
        self.state.send_modify(|state| state.stage = Stage::Impossible);
    }

    /// The list of a feature is about to be read.
    pub(super) fn reading(&self, feature: &'static str) {
        self.state.send_if_modified(|state| {
            if matches!(state.stage, Stage::None | Stage::Asked { covered: false, .. }) {
                state.read_early.insert(feature);
            }
            // Nobody waits for this.
            false
        });
    }

    /// Takes the parameters of an acknowledgement; those for another subscription than the present one say nothing.
    ///
    /// Returns the features whose lists were read before: what changed since then was not announced.
    pub(super) fn acknowledge(&self, params: Option<&RawValue>) -> BTreeSet<&'static str> {
        let read = params.and_then(|params| serde_json::from_str::<Acknowledgement>(params.get()).ok());
        let Some(Acknowledgement { meta, notifications }) = read else { return BTreeSet::new() };
        let mut read_early = BTreeSet::new();
        let acknowledged = self.state.send_if_modified(|state| match &state.stage {
            Stage::Asked { id, resources, .. } if *id == meta.subscription => {
                let honoured = notifications.resource_subscriptions;
                let refused = resources.difference(&honoured).cloned().collect();
                state.stage = Stage::Acknowledged { honoured, refused };
                read_early = std::mem::take(&mut state.read_early);
                true
            }
            _ => false,
        });
        if acknowledged {
            self.acknowledged.send_replace(true);
        }
        read_early
    }

    /// Waits until a subscription is acknowledged, or known to be impossible.
    pub(super) async fn settled(&self) {
        let is_settled =
            |state: &State| matches!(state.stage, Stage::Acknowledged { .. } | Stage::Impossible);
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(is_settled).await;
    }

    /// Tells whether the present subscription is acknowledged.
    pub(super) fn acknowledged(&self) -> watch::Receiver<bool> {
        self.acknowledged.subscribe()
    }

    /// Forgets what the server has said of this resource, which is no longer asked for.
    pub(super) fn forget(&self, uri: &str) {
        self.state.send_if_modified(|state| {
            if let Stage::Acknowledged { honoured, refused } = &mut state.stage {
                honoured.remove(uri);
                refused.remove(uri);
            }
            // Nobody waits for this.
            false
        });
    }

    /// Waits until it is known whether the server announces changes of a resource that is being asked for.
    pub(super) async fn covers(&self, uri: &str) -> bool {
        let mut verdict = false;
        // The sender lives as long as `self`.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| match &state.stage {
                Stage::None | Stage::Asked { .. } => false,
                Stage::Acknowledged { honoured, refused } => {
                    verdict = honoured.contains(uri);
                    verdict || refused.contains(uri)
                }
                Stage::Impossible => true,
            })
            .await;
        verdict
    }
}
