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
enum State {
    /// Nothing has been asked for.
    #[default]
    None,
    /// Asked for with the request `id`, and not yet acknowledged.
    Asked { id: RequestId, resources: BTreeSet<String> },
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
    /// A subscription that takes the place of the one before is being opened.
    pub(super) fn ask(&self, id: RequestId, resources: BTreeSet<String>) {
        self.acknowledged.send_replace(false);
        self.state.send_replace(State::Asked { id, resources });
    }

    /// There will be no subscription.
    pub(super) fn give_up(&self) {
        self.state.send_replace(State::Impossible);
    }

    /// Takes the parameters of an acknowledgement; those for another subscription than the present one say nothing.
    pub(super) fn acknowledge(&self, params: Option<&RawValue>) {
        let read = params.and_then(|params| serde_json::from_str::<Acknowledgement>(params.get()).ok());
        let Some(Acknowledgement { meta, notifications }) = read else { return };
        let acknowledged = self.state.send_if_modified(|state| match state {
            State::Asked { id, resources } if *id == meta.subscription => {
                let honoured = notifications.resource_subscriptions;
                let refused = resources.difference(&honoured).cloned().collect();
                *state = State::Acknowledged { honoured, refused };
                true
            }
            _ => false,
        });
        if acknowledged {
            self.acknowledged.send_replace(true);
        }
    }

    /// Tells whether the present subscription is acknowledged.
    pub(super) fn acknowledged(&self) -> watch::Receiver<bool> {
        self.acknowledged.subscribe()
    }

    /// Forgets that the server would not announce changes of this resource: it is asked again.
    pub(super) fn reconsider(&self, uri: &str) {
        self.state.send_if_modified(|state| {
            if let State::Acknowledged { refused, .. } = state {
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
            .wait_for(|state| match state {
                State::None | State::Asked { .. } => false,
                State::Acknowledged { honoured, refused } => {
                    verdict = honoured.contains(uri);
                    verdict || refused.contains(uri)
                }
                State::Impossible => true,
            })
            .await;
        verdict
    }
}
