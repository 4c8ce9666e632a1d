//! One after the other, connector by connector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::names::Slug;

/// A queue for each connector: those that wait for the same one take turns, in order; nobody waits for another's.
#[derive(Debug, Default)]
pub struct Queues {
    queues: Mutex<HashMap<Slug, Arc<tokio::sync::Mutex<()>>>>,
}

/// Somebody's turn, until dropped.
#[derive(Debug)]
pub struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Queues {
    /// Waits for everyone before.
    ///
    /// *Cancellation.* A dropped future leaves the queue.
    pub async fn turn(&self, slug: &Slug) -> Turn {
        Turn { _held: self.queue(slug).lock_owned().await }
    }

    fn queue(&self, slug: &Slug) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Those in which nobody is.
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        Arc::clone(queues.entry(slug.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_waiting(turn: std::pin::Pin<&mut impl Future>) -> bool {
        turn.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    #[tokio::test]
    async fn turns_are_taken_in_order_and_for_one_connector_each() {
        let queues = Queues::default();
        let (a, b) = (Slug::verbatim("a"), Slug::verbatim("b"));
        let first = queues.turn(&a).await;
        let (mut second, mut third) = (pin!(queues.turn(&a)), pin!(queues.turn(&a)));
        assert!(is_waiting(second.as_mut()) && is_waiting(third.as_mut()));
        drop(queues.turn(&b).await);
        drop(first);
        assert!(is_waiting(third.as_mut()), "the second comes first");
        drop(second.await);
        drop(third.await);
        drop(queues.turn(&b).await);
        assert_eq!(queues.queues.lock().unwrap().len(), 1, "queues in which nobody is are forgotten");
    }

    #[tokio::test]
    async fn who_gives_up_holds_nobody_up() {
        let queues = Queues::default();
        let slug = Slug::verbatim("a");
        let first = queues.turn(&slug).await;
        {
            let mut second = pin!(queues.turn(&slug));
            assert!(is_waiting(second.as_mut()));
        }
        drop(first);
        drop(queues.turn(&slug).await);
    }
}
