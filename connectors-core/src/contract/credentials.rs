//! The contract of `CredentialStore`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use connectors_core::{CredentialStore, MemoryCredentialStore, contract};
//! # async fn test() {
//! contract::credentials::run(|| Arc::new(MemoryCredentialStore::default())).await;
//! # }
//! ```

mod exclusive;
pub mod outage;
pub mod processes;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::parallel::{TASKS, in_tasks, on_threads};
use crate::names::Slug;
use crate::store::{CredentialKey, CredentialStore};

/// Runs every check, each on a store of its own that `fresh` makes, which has to be empty.
pub async fn run<S: CredentialStore>(fresh: impl Fn() -> Arc<S>) {
    what_was_never_written_is_not_there(&*fresh()).await;
    values_come_back_as_they_were_written(&*fresh()).await;
    a_later_value_replaces_an_earlier_one(&*fresh()).await;
    deleting_takes_one_value_and_none_twice(&*fresh()).await;
    keys_that_are_prefixes_of_one_another_are_kept_apart(&*fresh()).await;
    listing_shows_the_keys_of_one_connector(&*fresh()).await;
    deleting_what_is_listed_leaves_nothing_of_one_connector_and_everything_of_others(&*fresh()).await;
    a_swap_happens_only_on_the_expected_value(&*fresh()).await;
    concurrent_writers_lose_nothing(&fresh(), &fresh()).await;
    one_of_many_swaps_wins(&fresh()).await;
    swaps_never_lose_an_update(&fresh(), &fresh()).await;
    exclusive::run(&fresh).await;
}

/// Runs the checks of a store that several processes can share: `open` gives two handles on one new, empty store, which
/// share nothing in memory.
pub async fn run_shared<S: CredentialStore>(open: impl Fn() -> (Arc<S>, Arc<S>)) {
    let (a, b) = open();
    let key = CredentialKey::tokens(&Slug::verbatim("shared"));
    a.put(&key, &secret("one")).await.unwrap();
    assert_eq!(
        get(&*b, &key).await.as_deref(),
        Some("one"),
        "a handle does not see what another has written"
    );
    b.delete(&key).await.unwrap();
    assert_eq!(get(&*a, &key).await, None, "a handle still sees what another has deleted");

    let (a, b) = open();
    let handles = [a.clone(), b.clone()];
    in_tasks(TASKS, move |n| {
        let store = handles[n % 2].clone();
        async move { store.put(&header(n), &secret(&n.to_string())).await.unwrap() }
    })
    .await;
    for n in 0..TASKS {
        assert_eq!(
            get(&*a, &header(n)).await,
            Some(n.to_string()),
            "two handles have undone each other's writes"
        );
    }

    let work = counting(&[a.clone(), b]).await;
    in_tasks(TASKS, work).await;
    assert_counted(&*a).await;

    exclusive::run_shared(&open).await;
}

async fn what_was_never_written_is_not_there(store: &dyn CredentialStore) {
    let slug = Slug::verbatim("a");
    for key in [CredentialKey::tokens(&slug), CredentialKey::header(&slug, "X-Api-Key")] {
        assert_eq!(get(store, &key).await, None);
        store.delete(&key).await.expect("deleting what is not there is not an error");
    }
    assert_eq!(store.list(&slug).await.unwrap(), []);
}

async fn values_come_back_as_they_were_written(store: &dyn CredentialStore) {
    let slug = Slug::verbatim("a");
    let values = [
        String::new(),
        " ".to_owned(),
        "Bearer abc.def-ghi".to_owned(),
        r#"{"access_token":"a","token_type":"Bearer","expires_at":1}"#.to_owned(),
        "zwölf 東京 \u{1f980} \"\\\n\r\t\u{0} end".to_owned(),
        "__car_secrets_chunked_v1__:2".to_owned(),
        "__car_secrets_chunked_v3__:a:1:2".to_owned(),
        "é".repeat(1_300),
        "0123456789abcdef".repeat(100 * 1024 / 16),
    ];
    for value in &values {
        let key = CredentialKey::header(&slug, "X-Api-Key");
        store.put(&key, &secret(value)).await.unwrap();
        let read = get(store, &key).await;
        assert!(read.as_ref() == Some(value), "a value of {} bytes did not come back", value.len());
        assert_eq!(
            store.list(&slug).await.unwrap(),
            [key],
            "a value of {} bytes is not listed once",
            value.len()
        );
    }
}

async fn a_later_value_replaces_an_earlier_one(store: &dyn CredentialStore) {
    let key = CredentialKey::tokens(&Slug::verbatim("a"));
    for value in ["first", "second, which is longer", "3"] {
        store.put(&key, &secret(value)).await.unwrap();
        assert_eq!(get(store, &key).await.as_deref(), Some(value));
    }
}

async fn deleting_takes_one_value_and_none_twice(store: &dyn CredentialStore) {
    let slug = Slug::verbatim("a");
    let (tokens, client_secret) = (CredentialKey::tokens(&slug), CredentialKey::client_secret(&slug));
    store.put(&tokens, &secret(&"long ".repeat(2_000))).await.unwrap();
    store.put(&client_secret, &secret("kept")).await.unwrap();
    for _ in 0..2 {
        store.delete(&tokens).await.expect("deleting what is gone is not an error");
        assert_eq!(get(store, &tokens).await, None);
    }
    assert_eq!(get(store, &client_secret).await.as_deref(), Some("kept"));
    assert_eq!(store.list(&slug).await.unwrap(), [client_secret]);
}

async fn keys_that_are_prefixes_of_one_another_are_kept_apart(store: &dyn CredentialStore) {
    let slug = |text: &str| Slug::verbatim(text);
    let keys = [
        CredentialKey::header(&slug("a"), "b"),
        CredentialKey::header(&slug("a"), "b:c"),
        CredentialKey::header(&slug("a_b"), "b"),
        CredentialKey::header(&slug("a_b"), "c"),
        CredentialKey::tokens(&slug("a")),
        CredentialKey::tokens(&slug("a_2")),
    ];
    for key in &keys {
        store.put(key, &secret(&key.account())).await.unwrap();
    }
    for key in &keys {
        assert_eq!(get(store, key).await, Some(key.account()));
    }
    store.delete(&keys[0]).await.unwrap();
    for key in &keys[1..] {
        assert_eq!(get(store, key).await, Some(key.account()), "deleting `{}` took `{key}` along", keys[0]);
    }
}

async fn listing_shows_the_keys_of_one_connector(store: &dyn CredentialStore) {
    let (a, a_b) = (Slug::verbatim("a"), Slug::verbatim("a_b"));
    let mut keys = CredentialKey::SIGN_IN_NAMES.map(|name| CredentialKey::of_sign_in(&a, name)).to_vec();
    keys.extend(["X:Odd", "Authorization"].map(|name| CredentialKey::header(&a, name)));
    for key in &keys {
        store.put(key, &secret("v")).await.unwrap();
    }
    store.put(&CredentialKey::tokens(&a_b), &secret("v")).await.unwrap();
    let listed: Vec<_> = store.list(&a).await.unwrap();
    assert_eq!(listed.len(), keys.len(), "a key is listed more than once, or missing: {listed:?}");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), keys.into_iter().collect());
    assert_eq!(store.list(&a_b).await.unwrap(), [CredentialKey::tokens(&a_b)]);
    assert_eq!(store.list(&Slug::verbatim("a_b_c")).await.unwrap(), []);
}

async fn deleting_what_is_listed_leaves_nothing_of_one_connector_and_everything_of_others(
    store: &dyn CredentialStore,
) {
    let (gone, stays) = (Slug::verbatim("a"), Slug::verbatim("a_b"));
    let names = ["tokens", "client_secret", "X-Api-Key", "X:Odd", "tokens:a"];
    for slug in [&gone, &stays] {
        for name in names {
            let value = format!("{slug} {name} {}", "long ".repeat(1_000));
            store.put(&CredentialKey::header(slug, name), &secret(&value)).await.unwrap();
        }
    }
    for key in store.list(&gone).await.unwrap() {
        store.delete(&key).await.unwrap();
    }
    assert_eq!(store.list(&gone).await.unwrap(), []);
    for name in names {
        assert_eq!(get(store, &CredentialKey::header(&gone, name)).await, None, "{name} is still there");
        let kept = get(store, &CredentialKey::header(&stays, name)).await;
        assert!(kept.is_some_and(|kept| kept.starts_with(&format!("{stays} {name} "))), "{name} is gone");
    }
}

async fn a_swap_happens_only_on_the_expected_value(store: &dyn CredentialStore) {
    let key = CredentialKey::tokens(&Slug::verbatim("a"));
    let (one, two) = (secret("one"), secret("two"));
    let swap = async |expected: Option<&SecretString>, new: &SecretString| {
        store.compare_and_swap(&key, expected, new).await.unwrap()
    };
    assert!(!swap(Some(&one), &two).await, "swapped a value that is not there");
    assert_eq!(get(store, &key).await, None);
    assert!(swap(None, &one).await);
    assert!(!swap(None, &two).await, "an existing value was taken for none");
    assert!(!swap(Some(&two), &two).await);
    assert_eq!(get(store, &key).await.as_deref(), Some("one"));
    assert!(swap(Some(&one), &two).await);
    assert_eq!(get(store, &key).await.as_deref(), Some("two"));
    store.put(&key, &secret("")).await.unwrap();
    assert!(!swap(None, &one).await, "an empty value was taken for none");
    assert!(swap(Some(&secret("")), &one).await);
}

async fn concurrent_writers_lose_nothing<S: CredentialStore>(tasks: &Arc<S>, threads: &Arc<S>) {
    let churn = |store: Arc<S>, n: usize| async move {
        let own = CredentialKey::tokens(&Slug::verbatim(format!("s{n}")));
        store.put(&own, &secret("first")).await.unwrap();
        store.put(&header(n), &secret(&n.to_string())).await.unwrap();
        store.delete(&own).await.unwrap();
    };
    let store = tasks.clone();
    in_tasks(TASKS, move |n| churn(store.clone(), n)).await;
    let store = threads.clone();
    on_threads(TASKS, move |n| churn(store.clone(), n)).await;
    for store in [tasks, threads] {
        for n in 0..TASKS {
            let own = CredentialKey::tokens(&Slug::verbatim(format!("s{n}")));
            assert_eq!(get(&**store, &header(n)).await, Some(n.to_string()), "a write was lost");
            assert_eq!(get(&**store, &own).await, None, "a deletion was lost");
        }
    }
}

async fn one_of_many_swaps_wins<S: CredentialStore>(store: &Arc<S>) {
    let key = CredentialKey::tokens(&Slug::verbatim("race"));
    for expected in [None, Some("old")] {
        if let Some(expected) = expected {
            store.put(&key, &secret(expected)).await.unwrap();
        }
        let (shared, raced) = (store.clone(), key.clone());
        let results = in_tasks(TASKS, move |n| {
            let (store, key) = (shared.clone(), raced.clone());
            async move {
                let expected = expected.map(secret);
                let swapped =
                    store.compare_and_swap(&key, expected.as_ref(), &secret(&n.to_string())).await.unwrap();
                (n, swapped)
            }
        })
        .await;
        let winners: Vec<_> = results.iter().filter(|(_, won)| *won).map(|(n, _)| n.to_string()).collect();
        assert_eq!(winners.len(), 1, "{} swaps of one value have succeeded", winners.len());
        assert_eq!(get(&**store, &key).await, winners.first().cloned());
    }
}

async fn swaps_never_lose_an_update<S: CredentialStore>(tasks: &Arc<S>, threads: &Arc<S>) {
    let work = counting(std::slice::from_ref(tasks)).await;
    in_tasks(TASKS, work).await;
    assert_counted(&**tasks).await;

    let work = counting(std::slice::from_ref(threads)).await;
    on_threads(TASKS, work).await;
    assert_counted(&**threads).await;
}

/// How often each worker increments the number.
const EACH: usize = 4;

fn counter() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("counter"))
}

/// Sets a number to zero and gives the work that increments it by swaps, over one of the handles.
async fn counting<S: CredentialStore>(
    handles: &[Arc<S>],
) -> impl Fn(usize) -> BoxFuture<'static, ()> + Clone + Send + 'static {
    handles[0].put(&counter(), &secret("0")).await.unwrap();
    let handles = handles.to_vec();
    move |n| {
        let store = handles[n % handles.len()].clone();
        Box::pin(async move {
            for _ in 0..EACH {
                increment(&*store, &counter()).await;
            }
        })
    }
}

async fn assert_counted(store: &dyn CredentialStore) {
    let sum = get(store, &counter()).await;
    assert_eq!(sum, Some((TASKS * EACH).to_string()), "compare_and_swap has lost an update");
}

async fn increment(store: &dyn CredentialStore, key: &CredentialKey) {
    loop {
        let old = store.get(key).await.unwrap().expect("the counter is gone");
        let next = old.expose_secret().parse::<usize>().unwrap() + 1;
        if store.compare_and_swap(key, Some(&old), &secret(&next.to_string())).await.unwrap() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn header(n: usize) -> CredentialKey {
    CredentialKey::header(&Slug::verbatim("many"), &format!("X-{n}"))
}

fn secret(value: &str) -> SecretString {
    SecretString::from(value.to_owned())
}

async fn get(store: &dyn CredentialStore, key: &CredentialKey) -> Option<String> {
    let value = store.get(key).await.expect("the store cannot be read");
    value.map(|value| value.expose_secret().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryCredentialStore;

    #[tokio::test]
    async fn what_several_do_at_once_on_memory_is_what_processes_are_checked_for() {
        let store = MemoryCredentialStore::default();
        tokio::join!(processes::work(&store, 0), processes::work(&store, 1));
        processes::check(&store, 2).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_memory_store_keeps_the_contract() {
        run(|| Arc::new(MemoryCredentialStore::default())).await;
    }
}
