//! What `CredentialStore::exclusive` promises.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::super::parallel::{TASKS, in_tasks, on_threads};
use super::{get, secret};
use crate::names::Slug;
use crate::store::{CredentialKey, CredentialStore, Exclusive};

/// How often each worker takes its turn.
const EACH: usize = 4;

pub(super) async fn run<S: CredentialStore>(fresh: &impl Fn() -> Arc<S>) {
    holders_exclude_one_another(&fresh(), &fresh()).await;
    different_connectors_do_not_wait_for_one_another(&*fresh()).await;
    secrets_can_be_changed_while_they_are_held(&fresh()).await;
    what_is_dropped_is_free(&fresh()).await;
    a_holder_that_is_aborted_lets_the_next_one_in(&fresh()).await;
    let store = fresh();
    a_waiter_that_is_dropped_leaves_nothing_locked(&store, &store).await;
}

/// `open` gives two handles on one store, which share nothing in memory.
pub(super) async fn run_shared<S: CredentialStore>(open: &impl Fn() -> (Arc<S>, Arc<S>)) {
    let (a, b) = open();
    in_tasks(TASKS, turns(&[a.clone(), b]).await).await;
    assert_all_counted(&*a).await;

    let (a, b) = open();
    on_threads(TASKS, turns(&[a.clone(), b]).await).await;
    assert_all_counted(&*a).await;

    let (a, b) = open();
    a_waiter_that_is_dropped_leaves_nothing_locked(&a, &b).await;
}

async fn holders_exclude_one_another<S: CredentialStore>(tasks: &Arc<S>, threads: &Arc<S>) {
    in_tasks(TASKS, turns(std::slice::from_ref(tasks)).await).await;
    assert_all_counted(&**tasks).await;
    on_threads(TASKS, turns(std::slice::from_ref(threads)).await).await;
    assert_all_counted(&**threads).await;
}

/// Sets a number to zero and gives the work that increments it over one of the handles: by a plain read and a plain write,
/// which only their order keeps from losing an update.
async fn turns<S: CredentialStore>(
    handles: &[Arc<S>],
) -> impl Fn(usize) -> BoxFuture<'static, ()> + Clone + Send + 'static {
    handles[0].put(&number(), &secret("0")).await.unwrap();
    let handles = handles.to_vec();
    let inside = Arc::new(AtomicUsize::new(0));
    move |n| {
        let (store, inside) = (handles[n % handles.len()].clone(), inside.clone());
        Box::pin(async move {
            for _ in 0..EACH {
                let held = hold(&*store, number().slug()).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold one connector");
                let present = get(&*store, &number()).await.expect("the number is gone");
                tokio::task::yield_now().await;
                let next = present.parse::<usize>().unwrap() + 1;
                store.put(&number(), &secret(&next.to_string())).await.unwrap();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(held);
            }
        })
    }
}

async fn assert_all_counted(store: &dyn CredentialStore) {
    let sum = get(store, &number()).await;
    assert_eq!(sum, Some((TASKS * EACH).to_string()), "holders have lost an update");
}

async fn different_connectors_do_not_wait_for_one_another(store: &dyn CredentialStore) {
    // A slug is what a manifest says, which need not be one that this program would have made.
    let long = "l".repeat(300);
    let slugs = ["a", "a_b", "b", "A", "a b", "a/b", "a\\b", "../a", "..", "con", "é", "", "a\0", &long];
    let mut held = Vec::new();
    for slug in slugs {
        held.push(hold(store, &Slug::verbatim(slug)).await);
    }
    drop(held);
}

async fn secrets_can_be_changed_while_they_are_held<S: CredentialStore>(store: &Arc<S>) {
    let change = async |store: &S, value: &str| {
        let key = CredentialKey::tokens(&Slug::verbatim("a"));
        store.put(&key, &secret(value)).await.unwrap();
        assert_eq!(get(store, &key).await.as_deref(), Some(value));
        assert!(store.compare_and_swap(&key, Some(&secret(value)), &secret("swapped")).await.unwrap());
        assert_eq!(store.list(key.slug()).await.unwrap(), std::slice::from_ref(&key));
        store.delete(&key).await.unwrap();
    };
    let held = hold(&**store, &Slug::verbatim("a")).await;
    change(store, "by the holder").await;
    let other = store.clone();
    on_threads(1, move |_| {
        let store = other.clone();
        async move { change(&store, "by another").await }
    })
    .await;
    drop(held);
}

async fn what_is_dropped_is_free<S: CredentialStore>(store: &Arc<S>) {
    let slug = Slug::verbatim("a");
    for _ in 0..TASKS {
        drop(hold(&**store, &slug).await);
    }
    let held = hold(&**store, &slug).await;
    let waiter = waiter(store, &slug);
    give_way(TASKS).await;
    assert!(!waiter.is_finished(), "two hold one connector");
    // Another thread than the one that took it.
    let elsewhere = std::thread::spawn(move || drop(held));
    waiter.await.unwrap();
    elsewhere.join().unwrap();
}

async fn a_holder_that_is_aborted_lets_the_next_one_in<S: CredentialStore>(store: &Arc<S>) {
    let slug = Slug::verbatim("a");
    let (said, holds) = oneshot::channel();
    let (theirs, held) = (store.clone(), slug.clone());
    let holder = tokio::spawn(async move {
        let _held = hold(&*theirs, &held).await;
        said.send(()).unwrap();
        pending::<()>().await;
    });
    holds.await.unwrap();
    let waiter = waiter(store, &slug);
    holder.abort();
    waiter.await.unwrap();
}

async fn a_waiter_that_is_dropped_leaves_nothing_locked<S: CredentialStore>(one: &Arc<S>, other: &Arc<S>) {
    let slug = Slug::verbatim("a");
    // While somebody holds it, at every step of waiting; those who wait behind the one that has gone get their turn.
    let held = hold(&**one, &slug).await;
    for steps in 0..TASKS {
        tokio::select! {
            biased;
            _ = hold(&**one, &slug) => panic!("two hold one connector"),
            () = give_way(steps) => {}
        }
    }
    let waiters: Vec<_> = [one, one, other, one, other].map(|store| waiter(store, &slug)).into();
    give_way(TASKS).await;
    for gone in waiters.iter().step_by(2) {
        gone.abort();
    }
    drop(held);
    for waiter in waiters.into_iter().skip(1).step_by(2) {
        waiter.await.unwrap();
    }
    // While nobody does, at every step of taking it.
    for steps in 0..TASKS * TASKS {
        let store = if steps % 2 == 0 { one } else { other };
        tokio::select! {
            biased;
            _ = hold(&**store, &slug) => {}
            () = give_way(steps) => {}
        }
    }
    for store in [one, other] {
        drop(hold(&**store, &slug).await);
    }
}

/// Waits for its turn and lets go of it at once.
fn waiter<S: CredentialStore>(store: &Arc<S>, slug: &Slug) -> tokio::task::JoinHandle<()> {
    let (store, slug) = (store.clone(), slug.clone());
    tokio::spawn(async move { drop(hold(&*store, &slug).await) })
}

async fn hold(store: &dyn CredentialStore, slug: &Slug) -> Exclusive {
    store.exclusive(slug).await.unwrap_or_else(|error| panic!("`{slug}` cannot be held: {error}"))
}

async fn give_way(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

fn number() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("number"))
}
