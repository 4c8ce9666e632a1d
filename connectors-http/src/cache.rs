//! What is made once and then shared.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// Values kept at most: those used last. Each is what some connectors have in common, so there are few.
const KEPT: usize = 64;

/// Values by key, each made once, however many ask for it at the same time. Nobody waits for the making of another value.
pub(crate) struct Cache<K, V> {
    /// The one used last at the end.
    entries: Mutex<VecDeque<(K, Arc<OnceCell<V>>)>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<K: Clone + PartialEq, V: Clone> Cache<K, V> {
    /// The value of a key; where there is none, what `make` makes. A failure is not kept.
    pub(crate) async fn get<E>(&self, key: &K, make: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        self.cell(key).get_or_try_init(|| make).await.cloned()
    }

    fn cell(&self, key: &K) -> Arc<OnceCell<V>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let found = entries.iter().position(|(known, _)| known == key).and_then(|at| entries.remove(at));
        let entry = found.unwrap_or_else(|| (key.clone(), Arc::default()));
        let cell = Arc::clone(&entry.1);
        if entries.len() >= KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
        cell
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> Vec<K> {
        self.entries.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_value_is_made_once_for_all_who_ask_at_the_same_time() {
        let (cache, made) = (Cache::<u8, usize>::default(), AtomicUsize::new(0));
        let make = || {
            cache.get(&1, async {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(made.fetch_add(1, Ordering::Relaxed))
            })
        };
        assert_eq!(tokio::join!(make(), make(), make()), (Ok(0), Ok(0), Ok(0)));
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = Cache::<u8, u8>::default();
        assert_eq!(cache.get(&1, async { Err("no") }).await, Err("no"));
        assert_eq!(cache.get(&1, async { Ok::<_, &str>(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_goes_first() {
        let cache = Cache::<usize, usize>::default();
        for key in (0..KEPT).chain([0, KEPT]) {
            cache.get(&key, async { Ok::<_, Infallible>(key) }).await.unwrap();
        }
        let keys = cache.keys();
        assert_eq!((keys.len(), keys.contains(&0), keys.contains(&1)), (KEPT, true, false));
    }
}
