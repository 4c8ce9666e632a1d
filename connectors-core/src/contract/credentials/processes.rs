//! Processes that share a store: each [works](work), and when they have ended, somebody [checks](check) what they left.

use std::collections::BTreeSet;

use super::{EACH, get, increment, secret};
use crate::names::Slug;
use crate::store::{CredentialKey, CredentialStore};

/// What each process does on a store that all of them share: it counts by swaps, counts by taking turns, and writes and deletes
/// secrets of its own, again and again. Returns how often it did.
pub async fn work(store: &impl CredentialStore, process: usize) -> usize {
    for round in 0..EACH {
        ensure(store, &swapped()).await;
        increment(store, &swapped()).await;
        {
            let _turn = store.exclusive(turned().slug()).await.expect("the connector cannot be held");
            let present = get(store, &turned()).await.map_or(0, |number| number.parse::<usize>().unwrap());
            store.put(&turned(), &secret(&(present + 1).to_string())).await.unwrap();
        }
        let passing = CredentialKey::tokens(&slug(process));
        store.put(&passing, &secret("passing")).await.unwrap();
        store.put(&kept(process, round), &secret(&format!("{process} {round}"))).await.unwrap();
        store.delete(&passing).await.unwrap();
    }
    EACH
}

/// What holds once `processes` of them, numbered from zero, have ended.
pub async fn check(store: &impl CredentialStore, processes: usize) {
    let sum = Some((processes * EACH).to_string());
    assert_eq!(get(store, &swapped()).await, sum, "compare_and_swap has lost an update");
    assert_eq!(get(store, &turned()).await, sum, "two have held one connector");
    for process in 0..processes {
        for round in 0..EACH {
            let value = get(store, &kept(process, round)).await;
            assert_eq!(value, Some(format!("{process} {round}")), "a write was lost");
        }
        let listed: BTreeSet<_> = store.list(&slug(process)).await.unwrap().into_iter().collect();
        let expected: BTreeSet<_> = (0..EACH).map(|round| kept(process, round)).collect();
        assert_eq!(listed, expected, "a deletion was lost");
    }
}

/// Gives a number its first value, unless another process has.
async fn ensure(store: &impl CredentialStore, key: &CredentialKey) {
    store.compare_and_swap(key, None, &secret("0")).await.unwrap();
}

fn swapped() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("swapped"))
}

fn turned() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("turned"))
}

fn slug(process: usize) -> Slug {
    Slug::verbatim(format!("process_{process}"))
}

fn kept(process: usize, round: usize) -> CredentialKey {
    CredentialKey::header(&slug(process), &format!("X-{round}"))
}
