//! Who lists the tools, and when.
//!
//! The order that keeps every list true: a tool that appears has its route before it is listed, and one that goes is off the
//! lists before its route is gone ([`RouteObserver`]). Between the two, an executor asks the list of its own runtime as well
//! ([`ConnectorExecutor`](super::ConnectorExecutor)), so that a tool is dispatched if, and only if, it is listed. Where the engine's own
//! executor dispatches, its routes are such a list as well: set before the tool is shown anywhere, and taken back after.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::manager::{Route, RouteTable};
use crate::names::Slug;
use crate::observer::RouteObserver;

/// How long a change waits for one list. Withdrawing a tool outranks a list that its owner keeps locked: it follows when it can.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a list is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Actions find their way by it: the first to get a tool, and the last to lose it.
    Dispatch,
    /// Tools are shown by it, to models or to readers of a log.
    Show,
}

/// A list of tools. Called from one task, in order. When nothing is left to follow, it is told to withdraw all that it has.
#[async_trait]
pub(super) trait List: Send + 'static {
    fn purpose(&self) -> Purpose;

    /// Takes tools off the list. False if the list is no more.
    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool;

    /// Puts tools on the list, in the place of those of the same name. False if the list is no more.
    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool;
}

/// What is listed now, and by whom.
#[derive(Default)]
pub(super) struct Listing {
    present: Mutex<Present>,
    pub(super) owned: Owned,
}

/// Every name that has been listed, with its connector: what is withdrawn stays ours. It may outlive the listing.
#[derive(Clone, Default)]
pub(super) struct Owned(Arc<RwLock<HashMap<Arc<str>, Slug>>>);

impl Owned {
    /// The connector that a name belongs to, or belonged to.
    pub(super) fn owner(&self, canonical: &str) -> Option<Slug> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(canonical).cloned()
    }

    fn add(&self, routes: &[Arc<Route>]) {
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        owners.extend(routes.iter().map(|route| (Arc::clone(&route.canonical), route.slug.clone())));
    }
}

#[derive(Default)]
struct Present {
    listed: HashMap<Arc<str>, Arc<Route>>,
    followers: Vec<Follower>,
    /// Has a receiver for every list that shows tools.
    shown: Arc<watch::Sender<()>>,
}

struct Follower {
    purpose: Purpose,
    steps: mpsc::UnboundedSender<Step>,
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
        present.forget_closed();
        // A list that is gone notices when it is to do something. Nobody waits for that, but for those by which actions find their
        // way: the new one may bring tools of its own that are not to be led elsewhere.
        let nothing = Change::Publish([].into());
        present.begin(Purpose::Show, &nothing);
        wait(present.begin(Purpose::Dispatch, &nothing)).await;
        let (steps, to_do) = mpsc::unbounded_channel();
        let purpose = list.purpose();
        let end = match purpose {
            Purpose::Dispatch => End::AfterShown(Arc::clone(&present.shown)),
            Purpose::Show => End::Shown(present.shown.subscribe()),
        };
        tokio::spawn(work(list, to_do, end));
        let follower = Follower { purpose, steps };
        let is_done = follower.begin(Change::Publish(present.listed.values().cloned().collect()));
        present.followers.push(follower);
        wait(is_done).await;
    }
}

#[async_trait]
impl RouteObserver for Listing {
    async fn withdraw(&self, _: &RouteTable, after: &RouteTable) {
        let mut present = self.present.lock().await;
        present.forget_closed();
        let stays =
            |route: &Arc<Route>| after.by_name(&route.canonical).is_some_and(|after| is_same(route, after));
        let gone: Arc<[_]> = present.listed.values().filter(|route| !stays(route)).cloned().collect();
        if gone.is_empty() {
            return;
        }
        present.listed.retain(|_, route| stays(route));
        let withdrawn = Change::Withdraw(gone);
        wait(present.begin(Purpose::Show, &withdrawn)).await;
        wait(present.begin(Purpose::Dispatch, &withdrawn)).await;
    }

    async fn publish(&self, _: &RouteTable, after: &RouteTable) {
        let mut present = self.present.lock().await;
        let is_listed = |route: &&Arc<Route>| present.listed.contains_key(&route.canonical);
        let new: Arc<[_]> = after.iter().filter(|route| !is_listed(route)).cloned().collect();
        if new.is_empty() {
            return;
        }
        self.owned.add(&new);
        present.listed.extend(new.iter().map(|route| (Arc::clone(&route.canonical), Arc::clone(route))));
        let published = Change::Publish(new);
        wait(present.begin(Purpose::Dispatch, &published)).await;
        wait(present.begin(Purpose::Show, &published)).await;
    }
}

impl Present {
    fn forget_closed(&mut self) {
        self.followers.retain(|follower| !follower.steps.is_closed());
    }

    /// Begins a step of all lists of one purpose at once; yields for each of them when it is done.
    fn begin(&self, purpose: Purpose, change: &Change) -> Vec<oneshot::Receiver<()>> {
        let followers = self.followers.iter().filter(|follower| follower.purpose == purpose);
        followers.filter_map(|follower| follower.begin(change.clone())).collect()
    }
}

impl Follower {
    /// `None` where the list is no more.
    fn begin(&self, change: Change) -> Option<oneshot::Receiver<()>> {
        let (done, is_done) = oneshot::channel();
        self.steps.send(Step { change, done }).ok().map(|()| is_done)
    }
}

/// True if two routes look the same to a model and lead to the same tool.
fn is_same(one: &Route, other: &Route) -> bool {
    one.slug == other.slug
        && one.tool.name == other.tool.name
        && (Arc::ptr_eq(&one.tool, &other.tool) || one.tool.fingerprint() == other.tool.fingerprint())
}

/// Waits until steps are done, within bounds.
async fn wait(steps: impl IntoIterator<Item = oneshot::Receiver<()>>) {
    let all = futures_util::future::join_all(steps);
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!("a list of tools is in use for long; it follows the connectors late");
    }
}

/// In which order lists are emptied in the end.
enum End {
    /// One that shows tools; dropped when it is empty.
    Shown(watch::Receiver<()>),
    /// One by which actions find their way, after all of those.
    AfterShown(Arc<watch::Sender<()>>),
}

async fn work(mut list: impl List, mut to_do: mpsc::UnboundedReceiver<Step>, end: End) {
    let mut listed: HashMap<Arc<str>, Arc<Route>> = HashMap::new();
    while let Some(Step { change, done }) = to_do.recv().await {
        let goes_on = match change {
            Change::Withdraw(routes) => {
                routes.iter().for_each(|route| drop(listed.remove(&route.canonical)));
                list.withdraw(&routes).await
            }
            Change::Publish(routes) => {
                listed.extend(routes.iter().map(|route| (Arc::clone(&route.canonical), Arc::clone(route))));
                list.publish(&routes).await
            }
        };
        // Whoever waited may have lost patience.
        let _ = done.send(());
        if !goes_on {
            return;
        }
    }
    // Nobody keeps the list true any more.
    if let End::AfterShown(shown) = &end
        && tokio::time::timeout(PATIENCE, shown.closed()).await.is_err()
    {
        tracing::warn!("a list of tools is in use for long; it still shows what cannot be called any more");
    }
    let all: Vec<Arc<Route>> = listed.into_values().collect();
    list.withdraw(&all).await;
    if let End::Shown(held) = end {
        drop(held);
    }
}

#[cfg(test)]
mod tests;
