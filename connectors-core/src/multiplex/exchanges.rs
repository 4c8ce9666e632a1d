//! The requests that wait for their responses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::oneshot;

use crate::error::TransportError;
use crate::protocol::{Incoming, RequestId};

/// What an exchange ends with.
type Answer = Result<Incoming, TransportError>;

/// The open exchanges of one conversation, by id. The lock is held for a look-up at most.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// Why nothing can be asked any more.
    ended: Option<Arc<str>>,
}

impl Exchanges {
    /// Begins an exchange. The reply gives it up when it is dropped.
    pub(super) fn open(self: &Arc<Self>, id: RequestId) -> Result<Reply, TransportError> {
        let mut state = self.lock();
        if let Some(reason) = &state.ended {
            return Err(closed(reason));
        }
        match state.open.entry(id.clone()) {
            Entry::Occupied(_) => {
                Err(TransportError::Refused(format!("the id {id} belongs to a request that is still open")))
            }
            Entry::Vacant(entry) => {
                let (sender, answer) = oneshot::channel();
                entry.insert(sender);
                drop(state);
                Ok(Reply { id, exchanges: Arc::clone(self), answer: Some(answer) })
            }
        }
    }

    /// Ends the exchange `id`; false if nobody waits for it.
    pub(super) fn settle(&self, id: &RequestId, answer: Answer) -> bool {
        let waiting = self.lock().open.remove(id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }

    /// Ends every exchange, and refuses new ones. The first reason stays.
    pub(super) fn end(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        let reason = Arc::clone(state.ended.get_or_insert_with(|| Arc::clone(reason)));
        let open = std::mem::take(&mut state.open);
        drop(state);
        for waiting in open.into_values() {
            // Fails for a reply that is being dropped, which is as good.
            let _ = waiting.send(Err(closed(&reason)));
        }
    }

    /// The error of everything that is asked for after the end.
    pub(super) fn ended(&self) -> Option<TransportError> {
        self.lock().ended.as_deref().map(closed)
    }

    fn forget(&self, id: &RequestId) {
        let mut state = self.lock();
        // An id that has been answered and used again belongs to someone else.
        if state.open.get(id).is_some_and(oneshot::Sender::is_closed) {
            state.open.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with the reason for the end.
pub(super) fn closed(reason: &str) -> TransportError {
    TransportError::Closed { reason: reason.to_owned() }
}

/// The stream of one exchange: its response, or the error that ended it. Dropping it gives the exchange up.
#[derive(Debug)]
pub struct Reply {
    id: RequestId,
    exchanges: Arc<Exchanges>,
    answer: Option<oneshot::Receiver<Answer>>,
}

impl Stream for Reply {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
        let answer = std::task::ready!(Pin::new(answer).poll(cx));
        self.answer = None;
        Poll::Ready(Some(answer.unwrap_or_else(|_| {
            Err(self.exchanges.ended().unwrap_or_else(|| closed("the connection is closed")))
        })))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.answer.take().is_some() {
            self.exchanges.forget(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn response(id: i64) -> Incoming {
        let outcome = Ok(serde_json::value::to_raw_value("done").unwrap());
        Incoming::Response { id: Some(RequestId::Number(id)), outcome }
    }

    #[tokio::test]
    async fn a_reply_is_one_answer_and_frees_its_id() {
        let exchanges = Arc::new(Exchanges::default());
        let mut reply = exchanges.open(RequestId::Number(1)).unwrap();
        assert!(exchanges.settle(&RequestId::Number(1), Ok(response(1))));
        assert!(!exchanges.settle(&RequestId::Number(1), Ok(response(1))));
        assert!(matches!(reply.next().await, Some(Ok(Incoming::Response { .. }))));
        assert!(reply.next().await.is_none());
        assert!(exchanges.lock().open.is_empty());
    }

    #[tokio::test]
    async fn a_dropped_reply_is_forgotten_and_its_late_answer_dropped() {
        let exchanges = Arc::new(Exchanges::default());
        drop(exchanges.open(RequestId::Number(1)).unwrap());
        assert!(exchanges.lock().open.is_empty());
        assert!(!exchanges.settle(&RequestId::Number(1), Ok(response(1))));
    }

    #[tokio::test]
    async fn dropping_an_answered_reply_leaves_the_next_user_of_its_id_alone() {
        let exchanges = Arc::new(Exchanges::default());
        let first = exchanges.open(RequestId::Number(1)).unwrap();
        assert!(exchanges.settle(&RequestId::Number(1), Ok(response(1))));
        let _second = exchanges.open(RequestId::Number(1)).unwrap();
        drop(first);
        assert!(exchanges.settle(&RequestId::Number(1), Ok(response(1))));
    }

    #[test]
    fn an_id_in_use_is_refused() {
        let exchanges = Arc::new(Exchanges::default());
        let _reply = exchanges.open(RequestId::Number(1)).unwrap();
        let error = exchanges.open(RequestId::Number(1)).unwrap_err();
        assert_eq!(error.to_string(), "the id 1 belongs to a request that is still open");
    }

    #[tokio::test]
    async fn the_end_reaches_what_is_open_and_what_comes_later_with_the_first_reason() {
        let exchanges = Arc::new(Exchanges::default());
        let mut reply = exchanges.open(RequestId::Number(1)).unwrap();
        exchanges.end(&Arc::from("it died"));
        exchanges.end(&Arc::from("it was closed"));
        assert_eq!(reply.next().await.unwrap().unwrap_err().to_string(), "it died");
        assert_eq!(exchanges.open(RequestId::Number(2)).unwrap_err().to_string(), "it died");
    }
}
