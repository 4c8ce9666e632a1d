//! The requests that wait for their responses.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use crate::error::TransportError;
use crate::protocol::{Incoming, RequestId};

/// Notifications of one exchange that may wait to be read; of more, the oldest are dropped.
const BACKLOG: usize = 64;
/// Bytes that they may take together.
const BACKLOG_BYTES: usize = 1 << 20;

/// What an exchange ends with.
type Answer = Result<Incoming, TransportError>;

/// The open exchanges of one conversation, by id. The lock is held for a look-up at most.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<RequestId, Arc<Mailbox>>,
    /// Why nothing can be asked any more.
    ended: Option<Arc<str>>,
}

/// What has arrived for one exchange, shared by who reads the channel and who waits for the answer.
#[derive(Debug, Default)]
struct Mailbox(Mutex<Mail>);

#[derive(Debug, Default)]
struct Mail {
    /// Each with its size.
    notifications: VecDeque<(Incoming, usize)>,
    /// The sum of the sizes.
    bytes: usize,
    answer: Option<Answer>,
    reader: Option<Waker>,
}

impl Mail {
    fn add(&mut self, notification: Incoming, bytes: usize) {
        if bytes > BACKLOG_BYTES {
            tracing::debug!(bytes, "a notification that is too large to be kept was dropped");
            return;
        }
        while self.notifications.len() >= BACKLOG || self.bytes + bytes > BACKLOG_BYTES {
            if self.take().is_none() {
                break;
            }
        }
        self.bytes += bytes;
        self.notifications.push_back((notification, bytes));
    }

    fn take(&mut self) -> Option<Incoming> {
        let (notification, bytes) = self.notifications.pop_front()?;
        self.bytes -= bytes;
        Some(notification)
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, put: impl FnOnce(&mut Mail)) {
        let mut mail = self.lock();
        put(&mut mail);
        let reader = mail.reader.take();
        drop(mail);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
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
                let mailbox = Arc::clone(entry.insert(Arc::default()));
                drop(state);
                Ok(Reply { id, exchanges: Arc::clone(self), mailbox: Some(mailbox) })
            }
        }
    }

    /// Ends the exchange `id`; false if nobody waits for it.
    pub(super) fn settle(&self, id: &RequestId, answer: Answer) -> bool {
        let waiting = self.lock().open.remove(id);
        waiting.inspect(|mailbox| mailbox.deliver(|mail| mail.answer = Some(answer))).is_some()
    }

    /// Hands a notification that takes `bytes` to the exchange `id`, ahead of its answer; gives it back if there is no such
    /// exchange.
    pub(super) fn notify(
        &self,
        id: &RequestId,
        notification: Incoming,
        bytes: usize,
    ) -> Result<(), Incoming> {
        let waiting = self.lock().open.get(id).cloned();
        let Some(mailbox) = waiting else { return Err(notification) };
        mailbox.deliver(|mail| mail.add(notification, bytes));
        Ok(())
    }

    /// Ends every exchange, and refuses new ones. The first reason stays.
    pub(super) fn end(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        let reason = Arc::clone(state.ended.get_or_insert_with(|| Arc::clone(reason)));
        let open = std::mem::take(&mut state.open);
        drop(state);
        for mailbox in open.into_values() {
            mailbox.deliver(|mail| mail.answer = Some(Err(closed(&reason))));
        }
    }

    /// The error of everything that is asked for after the end.
    pub(super) fn ended(&self) -> Option<TransportError> {
        self.lock().ended.as_deref().map(closed)
    }

    fn forget(&self, id: &RequestId, mailbox: &Arc<Mailbox>) {
        let mut state = self.lock();
        // An id that has been answered and used again belongs to someone else.
        if state.open.get(id).is_some_and(|open| Arc::ptr_eq(open, mailbox)) {
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

/// The stream of one exchange: its notifications, then its response or the error that ended it. Dropping it gives the
/// exchange up.
#[derive(Debug)]
pub struct Reply {
    id: RequestId,
    exchanges: Arc<Exchanges>,
    /// `None` once the answer has been read.
    mailbox: Option<Arc<Mailbox>>,
}

impl Stream for Reply {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(mailbox) = &self.mailbox else { return Poll::Ready(None) };
        let mut mail = mailbox.lock();
        if let Some(notification) = mail.take() {
            return Poll::Ready(Some(Ok(notification)));
        }
        let Some(answer) = mail.answer.take() else {
            mail.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(mail);
        self.mailbox = None;
        Poll::Ready(Some(answer))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            self.exchanges.forget(&self.id, &mailbox);
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

    fn numbered(n: usize) -> Incoming {
        Incoming::Notification { method: n.to_string(), params: None }
    }

    /// The methods of the notifications that a reply holds, and its answer.
    async fn methods(reply: Reply) -> Vec<String> {
        let seen: Vec<_> = reply.collect().await;
        seen.into_iter()
            .map(|message| match message {
                Ok(Incoming::Notification { method, .. }) => method,
                Ok(Incoming::Response { .. }) => "answer".to_owned(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn notifications_come_before_the_answer_and_the_oldest_are_dropped_when_nobody_reads() {
        let exchanges = Arc::new(Exchanges::default());
        let id = RequestId::Number(1);
        assert!(exchanges.notify(&id, numbered(0), 1).is_err());
        let reply = exchanges.open(id.clone()).unwrap();
        for n in 0..BACKLOG + 2 {
            exchanges.notify(&id, numbered(n), 1).unwrap();
        }
        assert!(exchanges.settle(&id, Ok(response(1))));
        assert!(exchanges.notify(&id, numbered(99), 1).is_err());
        let expected: Vec<_> = (2..BACKLOG + 2).map(|n| n.to_string()).chain(["answer".to_owned()]).collect();
        assert_eq!(methods(reply).await, expected);
    }

    #[tokio::test]
    async fn large_notifications_push_out_the_oldest_and_what_cannot_fit_costs_no_other() {
        let exchanges = Arc::new(Exchanges::default());
        let id = RequestId::Number(1);
        let mut reply = exchanges.open(id.clone()).unwrap();
        for n in 0..5 {
            exchanges.notify(&id, numbered(n), BACKLOG_BYTES / 4).unwrap();
        }
        exchanges.notify(&id, numbered(5), BACKLOG_BYTES + 1).unwrap();
        assert!(
            matches!(reply.next().await, Some(Ok(Incoming::Notification { method, .. })) if method == "1")
        );
        // What has been read makes room.
        exchanges.notify(&id, numbered(6), BACKLOG_BYTES / 4).unwrap();
        exchanges.notify(&id, numbered(7), BACKLOG_BYTES / 2).unwrap();
        assert!(exchanges.settle(&id, Ok(response(1))));
        assert_eq!(methods(reply).await, ["4", "6", "7", "answer"]);
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
