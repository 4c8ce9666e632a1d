//! Who keeps something else in step with what is dispatchable.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::Mutex;

use crate::manager::RouteTable;

/// Keeps a list of tools outside the manager (a registry, another dispatcher) in step with its routes.
///
/// One change is told at a time, in order, around the moment in which the route table is replaced. An observer that takes tools
/// off its list in [`withdraw`](Self::withdraw) and puts them on it in [`publish`](Self::publish) never lists one that cannot be
/// dispatched: what is listed had its route before, and loses it after.
///
/// *Errors.* There are none to return: an observer that cannot follow says so where its own users look.
///
/// *Cancellation.* Both futures are run to their end, a panic aside. Until they end, no other change of the routes begins, and whoever
/// asked for this one waits: an observer is quick, and bounds whatever it waits for.
#[async_trait]
pub trait RouteObserver: Send + Sync + 'static {
    /// `after` is about to take the place of `before`.
    async fn withdraw(&self, before: &RouteTable, after: &RouteTable);

    /// `after` has taken the place of `before`.
    async fn publish(&self, before: &RouteTable, after: &RouteTable);
}

/// The observers of one manager, and the order of changes.
#[derive(Default)]
pub(crate) struct RouteObservers {
    /// Held while the routes are replaced.
    observers: Mutex<Vec<Weak<dyn RouteObserver>>>,
}

impl RouteObservers {
    /// Adds an observer that already knows what is dispatchable now.
    pub(crate) async fn add(
        &self,
        observer: &Arc<dyn RouteObserver>,
        present: impl FnOnce() -> Arc<RouteTable>,
    ) {
        let mut observers = self.observers.lock().await;
        to_its_end(observer.publish(&RouteTable::default(), &present())).await;
        observers.push(Arc::downgrade(observer));
    }

    /// Returns once no change is under way.
    pub(crate) async fn settled(&self) {
        drop(self.observers.lock().await);
    }

    /// Replaces the routes. `build` and `replace` run one after the other under the lock, without another change between them.
    pub(crate) async fn change<T>(
        &self,
        build: impl FnOnce() -> (Arc<RouteTable>, Arc<RouteTable>),
        replace: impl FnOnce(Arc<RouteTable>) -> T,
    ) -> T {
        let mut observers = self.observers.lock().await;
        observers.retain(|observer| observer.strong_count() > 0);
        let (before, after) = build();
        let present: Vec<_> = observers.iter().filter_map(Weak::upgrade).collect();
        for observer in &present {
            to_its_end(observer.withdraw(&before, &after)).await;
        }
        let replaced = replace(Arc::clone(&after));
        for observer in &present {
            to_its_end(observer.publish(&before, &after)).await;
        }
        replaced
    }
}

/// An observer that panics neither stops a change nor keeps others from hearing of it.
async fn to_its_end(told: impl Future<Output = ()>) {
    if AssertUnwindSafe(told).catch_unwind().await.is_err() {
        tracing::error!("an observer of the routes panicked; what it lists may differ from them from now on");
    }
}
