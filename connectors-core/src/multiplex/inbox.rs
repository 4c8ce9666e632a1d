//! What the server sends on its own, kept until it is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;

use super::exchanges::closed;
use crate::error::TransportError;
use crate::protocol::Incoming;

/// Most messages that are kept.
const MAX_MESSAGES: usize = 1024;

/// A bounded queue that never makes the reader of the wire wait, so that a chatty server cannot hold up its own replies.
///
/// When it is full, by number or by bytes, the oldest log message or progress notification goes; if there is none, the
/// oldest notification of another kind. What weighs more than the newcomer stays, and requests of the server's always
/// do: then the newcomer is dropped. What is dropped is counted and traced.
#[derive(Debug)]
pub(super) struct Inbox {
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Kept>,
    bytes: usize,
    dropped: u64,
    ended: Option<Arc<str>>,
    /// Number of the stream that may read; an older one has been taken over.
    reader: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Kept {
    message: Incoming,
    bytes: usize,
}

impl Inbox {
    /// An inbox that keeps messages of at most `max_bytes` in all.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, state: Mutex::default() }
    }

    /// Adds a message that took `bytes` on the wire.
    pub(super) fn push(&self, message: Incoming, bytes: usize) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        while state.queue.len() >= MAX_MESSAGES || state.bytes.saturating_add(bytes) > self.max_bytes {
            state.dropped += 1;
            let total = state.dropped;
            tracing::debug!(total, "a message of the server was dropped: nobody reads them fast enough");
            if bytes > self.max_bytes || !state.make_room(Weight::of(&message)) {
                return;
            }
        }
        state.bytes += bytes;
        state.queue.push_back(Kept { message, bytes });
        state.wake();
    }

    /// Ends the stream, after what it still holds. The first reason stays.
    pub(super) fn end(&self, reason: &Arc<str>) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| Arc::clone(reason));
        state.wake();
    }

    /// The stream that reads this inbox from now on; the one before it ends.
    pub(super) fn stream(self: &Arc<Self>) -> InboxStream {
        let mut state = self.lock();
        state.reader += 1;
        state.wake();
        InboxStream { inbox: Arc::clone(self), reader: state.reader, is_done: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the oldest of the lightest messages; false if all weigh more than the newcomer.
    fn make_room(&mut self, newcomer: Weight) -> bool {
        let oldest = |weight| self.queue.iter().position(|kept| Weight::of(&kept.message) == weight);
        let index = oldest(Weight::Chatter)
            .or_else(|| if newcomer >= Weight::Change { oldest(Weight::Change) } else { None });
        let Some(index) = index else { return false };
        if let Some(kept) = self.queue.remove(index) {
            self.bytes -= kept.bytes;
        }
        true
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// How much is lost with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Logs and progress: only less to show.
    Chatter,
    /// Something has changed: the client may show an old state for a while.
    Change,
    /// The server waits for an answer.
    Request,
}

impl Weight {
    fn of(message: &Incoming) -> Self {
        match message {
            Incoming::Notification { method, .. }
                if matches!(method.as_str(), "notifications/message" | "notifications/progress") =>
            {
                Self::Chatter
            }
            Incoming::Notification { .. } | Incoming::Response { .. } => Self::Change,
            Incoming::Request { .. } => Self::Request,
        }
    }
}

/// Reads an [`Inbox`]; ends with an error when the wire does, silently when another stream takes over.
#[derive(Debug)]
pub(super) struct InboxStream {
    inbox: Arc<Inbox>,
    reader: u64,
    is_done: bool,
}

impl Stream for InboxStream {
    type Item = Result<Incoming, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.inbox.lock();
        if self.is_done || state.reader != self.reader {
            return Poll::Ready(None);
        }
        if let Some(kept) = state.queue.pop_front() {
            state.bytes -= kept.bytes;
            return Poll::Ready(Some(Ok(kept.message)));
        }
        if let Some(reason) = state.ended.clone() {
            drop(state);
            self.is_done = true;
            return Poll::Ready(Some(Err(closed(&reason))));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::protocol::RequestId;

    fn note(method: &str) -> Incoming {
        Incoming::Notification { method: method.to_owned(), params: None }
    }

    fn request(id: i64) -> Incoming {
        Incoming::Request { id: RequestId::Number(id), method: "ping".to_owned(), params: None }
    }

    fn drain(inbox: &Arc<Inbox>) -> Vec<String> {
        let mut stream = inbox.stream();
        std::iter::from_fn(|| stream.next().now_or_never().flatten())
            .map(|message| match message {
                Ok(Incoming::Notification { method, .. }) => method,
                Ok(Incoming::Request { id, .. }) => format!("request {id}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_full_inbox_loses_chatter_first_then_changes_and_requests_never() {
        let inbox = Arc::new(Inbox::new(40));
        for message in
            [note("notifications/message"), request(1), note("changed"), note("notifications/progress")]
        {
            inbox.push(message, 10);
        }
        inbox.push(request(2), 10);
        inbox.push(request(3), 10);
        inbox.push(note("notifications/message"), 10);
        inbox.push(request(4), 10);
        inbox.push(request(5), 10);
        inbox.push(note("changed again"), 10);
        assert_eq!(inbox.lock().dropped, 6);
        assert_eq!(drain(&inbox), ["request 1", "request 2", "request 3", "request 4"]);
        assert_eq!(inbox.lock().bytes, 0);
    }

    #[test]
    fn a_message_that_cannot_fit_costs_no_other() {
        let inbox = Arc::new(Inbox::new(10));
        inbox.push(note("changed"), 10);
        inbox.push(request(1), 11);
        assert_eq!(drain(&inbox), ["changed"]);
    }

    #[test]
    fn the_newest_chatter_stays() {
        let inbox = Arc::new(Inbox::new(usize::MAX));
        for _ in 0..MAX_MESSAGES {
            inbox.push(note("notifications/progress"), 1);
        }
        inbox.push(note("changed"), 1);
        let kept = drain(&inbox);
        assert_eq!((kept.len(), kept.last().map(String::as_str)), (MAX_MESSAGES, Some("changed")));
    }

    #[tokio::test]
    async fn a_later_stream_takes_over_and_wakes_the_earlier_one() {
        let inbox = Arc::new(Inbox::new(100));
        let mut earlier = inbox.stream();
        let waiting = tokio::spawn(async move { earlier.next().await.is_none() });
        tokio::task::yield_now().await;
        let mut later = inbox.stream();
        assert!(waiting.await.unwrap());
        inbox.push(note("changed"), 1);
        assert!(later.next().await.is_some());
    }

    #[tokio::test]
    async fn the_end_comes_after_what_is_kept_and_once() {
        let inbox = Arc::new(Inbox::new(100));
        inbox.push(note("changed"), 1);
        inbox.end(&Arc::from("it died"));
        inbox.push(note("too late"), 1);
        let mut stream = inbox.stream();
        assert!(matches!(stream.next().await, Some(Ok(Incoming::Notification { .. }))));
        assert_eq!(stream.next().await.unwrap().unwrap_err().to_string(), "it died");
        assert!(stream.next().await.is_none());
    }
}
