//! Who lists the tools, and when.
//!
//! The order that keeps every list true: a tool that appears has its route before it is listed, and one that goes is off the
//! lists before its route is gone ([`RouteObserver`]). Between the two, an executor asks the list of its own runtime as well
//! ([`ConnectorExecutor`](super::ConnectorExecutor)), so that a tool is dispatched if, and only if, it is listed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::manager::{Route, RouteTable};
use crate::names::Slug;
use crate::observer::RouteObserver;

/// How long a change waits for one list. Withdrawing a tool outranks a list that its owner keeps locked: it follows when it can.
const PATIENCE: Duration = Duration::from_secs(1);

/// A list of tools. Called from one task, in order.
#[async_trait]
pub(super) trait List: Send + 'static {
    /// Takes tools off the list. False if the list is no more.
    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool;

    /// Puts tools on the list, in the place of those of the same name. False if the list is no more.
    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool;
}

/// What is listed now, and by whom.
#[derive(Default)]
pub(super) struct Listing {
    present: Mutex<Present>,
    /// Every name that has been listed, with its connector: what is withdrawn stays ours.
    owners: RwLock<HashMap<Arc<str>, Slug>>,
}

#[derive(Default)]
struct Present {
    listed: HashMap<Arc<str>, Arc<Route>>,
    followers: Vec<mpsc::UnboundedSender<Step>>,
}

/// One step of a list, and whom to tell when it is done.
struct Step {
    change: Change,
    done: oneshot::Sender<()>,
}

#[derive(Clone)]
enum Change {
    Withdraw(Arc<[Arc<Route>]>),
    Publish(Arc<[Arc<Route>]>),
}

impl Listing {
    /// Adds a list, beginning with what is listed now; no change comes between.
    pub(super) async fn follow(&self, list: impl List) {
        let mut present = self.present.lock().await;
        present.followers.retain(|follower| !follower.is_closed());
        // A list that is gone notices when it is to do something; nobody waits for that.
        for follower in &present.followers {
            let (done, _) = oneshot::channel();
            let _ = follower.send(Step { change: Change::Publish([].into()), done });
        }
        let (steps, to_do) = mpsc::unbounded_channel();
        tokio::spawn(work(list, to_do));
        present.followers.push(steps);
        let all = present.listed.values().cloned().collect();
        let newest = present.followers.len() - 1;
        tell(&present.followers[newest..], &Change::Publish(all)).await;
    }

    /// The connector that a name belongs to, or belonged to.
    pub(super) fn owner(&self, canonical: &str) -> Option<Slug> {
        self.owners.read().unwrap_or_else(PoisonError::into_inner).get(canonical).cloned()
    }
}

#[async_trait]
impl RouteObserver for Listing {
    async fn withdraw(&self, _: &RouteTable, after: &RouteTable) {
        let mut present = self.present.lock().await;
        present.followers.retain(|follower| !follower.is_closed());
        let stays =
            |route: &Arc<Route>| after.by_name(&route.canonical).is_some_and(|after| is_same(route, after));
        let gone: Arc<[_]> = present.listed.values().filter(|route| !stays(route)).cloned().collect();
        if gone.is_empty() {
            return;
        }
        present.listed.retain(|_, route| stays(route));
        tell(&present.followers, &Change::Withdraw(gone)).await;
    }

    async fn publish(&self, _: &RouteTable, after: &RouteTable) {
        let mut present = self.present.lock().await;
        let is_listed = |route: &&Arc<Route>| present.listed.contains_key(&route.canonical);
        let new: Arc<[_]> = after.iter().filter(|route| !is_listed(route)).cloned().collect();
        if new.is_empty() {
            return;
        }
        {
            let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
            owners.extend(new.iter().map(|route| (Arc::clone(&route.canonical), route.slug.clone())));
        }
        present.listed.extend(new.iter().map(|route| (Arc::clone(&route.canonical), Arc::clone(route))));
        tell(&present.followers, &Change::Publish(new)).await;
    }
}

/// True if two routes look the same to a model and lead to the same tool.
fn is_same(one: &Route, other: &Route) -> bool {
    one.slug == other.slug
        && one.tool.name == other.tool.name
        && (Arc::ptr_eq(&one.tool, &other.tool) || one.tool.fingerprint() == other.tool.fingerprint())
}

/// Has a step done by all at once.
async fn tell(followers: &[mpsc::UnboundedSender<Step>], change: &Change) {
    let told = followers.iter().filter_map(|follower| {
        let (done, is_done) = oneshot::channel();
        follower.send(Step { change: change.clone(), done }).ok().map(|()| is_done)
    });
    let all = futures_util::future::join_all(told);
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!("a list of tools is in use for long; it follows the connectors late");
    }
}

async fn work(mut list: impl List, mut to_do: mpsc::UnboundedReceiver<Step>) {
    while let Some(Step { change, done }) = to_do.recv().await {
        let goes_on = match change {
            Change::Withdraw(routes) => list.withdraw(&routes).await,
            Change::Publish(routes) => list.publish(&routes).await,
        };
        // Whoever waited may have lost patience.
        let _ = done.send(());
        if !goes_on {
            return;
        }
    }
}
