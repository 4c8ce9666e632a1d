//! A store that goes away and comes back: [`interrupted`] while it is written to, and [`refuses`] for as long as it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::parallel::{TASKS, in_tasks};
use super::{get, header, secret};
use crate::error::CredentialError;
use crate::names::Slug;
use crate::store::{CredentialKey, CredentialStore};

/// Makes every kind of call at once. Each has to fail within `limit`, with an error of which `is_documented` holds.
pub async fn refuses<S: CredentialStore>(
    store: &S,
    limit: Duration,
    is_documented: impl Fn(&CredentialError) -> bool,
) {
    let key = CredentialKey::tokens(&Slug::verbatim("refused"));
    let (old, new) = (secret("old"), secret("new"));
    let calls = async {
        let (get, put, delete, list, swap, swap_of_nothing) = tokio::join!(
            store.get(&key),
            store.put(&key, &new),
            store.delete(&key),
            store.list(key.slug()),
            store.compare_and_swap(&key, Some(&old), &new),
            store.compare_and_swap(&key, None, &new),
        );
        [
            ("get", get.err()),
            ("put", put.err()),
            ("delete", delete.err()),
            ("list", list.err()),
            ("compare_and_swap", swap.err()),
            ("compare_and_swap of nothing", swap_of_nothing.err()),
        ]
    };
    let outcomes = tokio::time::timeout(limit, calls).await.expect("a store that is gone holds up a call");
    for (call, error) in outcomes {
        let error = error.unwrap_or_else(|| panic!("`{call}` has succeeded on a store that is gone"));
        assert!(is_documented(&error), "`{call}`: {error}");
    }
}

/// What one writer of [`interrupted`] knows of its value.
struct Written {
    /// The last that is there for certain.
    acknowledged: usize,
    /// The last that was tried.
    tried: usize,
}

/// Writes without a pause, and calls `outage` once every writer has written, which has the store go away. Each writer ends with
/// its first error. Then `back` has the store come back, and each value has to be the last that was acknowledged, or the one whose
/// writing has failed. No call may take longer than `limit`.
pub async fn interrupted<S: CredentialStore>(
    store: &Arc<S>,
    limit: Duration,
    outage: impl Future<Output = ()>,
    back: impl Future<Output = ()>,
) {
    let wrote: Arc<[AtomicBool; TASKS]> = Arc::default();
    let (writing, written) = (store.clone(), wrote.clone());
    let writers = in_tasks(TASKS, move |n| {
        let (store, wrote) = (writing.clone(), written.clone());
        async move {
            let mut acknowledged = 0;
            loop {
                let tried = acknowledged + 1;
                let value = secret(&tried.to_string());
                let put = tokio::time::timeout(limit, store.put(&header(n), &value)).await;
                match put.expect("a call takes longer than its limit") {
                    Ok(()) => acknowledged = tried,
                    Err(_) => return Written { acknowledged, tried },
                }
                wrote[n].store(true, Ordering::Relaxed);
            }
        }
    });
    let outage = async {
        while !wrote.iter().all(|wrote| wrote.load(Ordering::Relaxed)) {
            tokio::task::yield_now().await;
        }
        outage.await;
    };
    let (writers, ()) = tokio::join!(writers, outage);
    back.await;
    for (n, Written { acknowledged, tried }) in writers.into_iter().enumerate() {
        let value = get(&**store, &header(n)).await.expect("a value is gone");
        let value: usize = value.parse().expect("a value is a mixture");
        assert!([acknowledged, tried].contains(&value), "{value}, where {acknowledged} was acknowledged");
    }
}
