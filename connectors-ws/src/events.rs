//! `connectors.event`: what a subscribed session is told.

use std::sync::Arc;

use connectors_core::ConnectorEvent;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::protocol;
use crate::session::{Shared, Subscription};

/// The notification's method.
pub(crate) const METHOD: &str = "connectors.event";

/// `params` of `connectors.event`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Event {
    /// Something happened.
    Happened(Arc<ConnectorEvent>),
    /// The subscriber was too slow, and events were lost.
    Overflow(Overflow),
}

/// Events that were lost.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Overflow {
    /// The number of the last event that was lost.
    seq: u64,
    /// Always `overflow`.
    kind: OverflowKind,
    /// How many were lost.
    lost: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OverflowKind {
    Overflow,
}

/// The notifications of one session, as frames to send. A session that does not read fast enough loses the oldest
/// events and is told how many: what waits for it is bounded.
#[derive(Debug)]
pub struct Notifications {
    session: Arc<Shared>,
    source: Subscription,
    /// What came after a gap, while the gap is being reported.
    after_gap: Option<Arc<ConnectorEvent>>,
}

impl Notifications {
    pub(crate) fn new(session: Arc<Shared>) -> Self {
        Self { session, source: None, after_gap: None }
    }

    /// The next frame. Waits forever while the session is not subscribed. Cancel safe.
    pub async fn next(&mut self) -> String {
        loop {
            self.obey();
            if let Some(event) = self.after_gap.take() {
                return frame(&Event::Happened(event));
            }
            let session = Arc::clone(&self.session);
            let received = tokio::select! {
                () = session.wished.notified() => continue,
                received = receive(&mut self.source) => received,
            };
            match received {
                Ok(event) => return frame(&Event::Happened(event)),
                Err(RecvError::Lagged(lost)) => {
                    if let Some(event) = self.overflow(lost) {
                        return frame(&event);
                    }
                }
                Err(RecvError::Closed) => self.source = None,
            }
        }
    }

    /// The frames that wait at this moment, and no more: at most the backlog of the event bus.
    pub fn waiting(&mut self) -> Vec<String> {
        self.obey();
        let mut frames: Vec<_> =
            self.after_gap.take().map(|event| frame(&Event::Happened(event))).into_iter().collect();
        let Some(count) = self.source.as_ref().map(broadcast::Receiver::len) else { return frames };
        for _ in 0..count {
            let Some(source) = self.source.as_mut() else { break };
            match source.try_recv() {
                Ok(event) => frames.push(frame(&Event::Happened(event))),
                Err(TryRecvError::Lagged(lost)) => {
                    frames.extend(self.overflow(lost).map(|event| frame(&event)));
                    frames.extend(self.after_gap.take().map(|event| frame(&Event::Happened(event))));
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        frames
    }

    /// Follows what the session has subscribed to or unsubscribed from.
    fn obey(&mut self) {
        if let Some(source) = self.session.take_change() {
            self.source = source;
            self.after_gap = None;
        }
    }

    /// Reports a gap, and keeps the event behind it: its number says which was the last one lost.
    fn overflow(&mut self, mut lost: u64) -> Option<Event> {
        loop {
            match self.source.as_mut()?.try_recv() {
                Ok(event) => {
                    let seq = event.seq.saturating_sub(1);
                    self.after_gap = Some(event);
                    return Some(Event::Overflow(Overflow { seq, kind: OverflowKind::Overflow, lost }));
                }
                Err(TryRecvError::Lagged(more)) => lost += more,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }
}

async fn receive(source: &mut Subscription) -> Result<Arc<ConnectorEvent>, RecvError> {
    match source {
        Some(source) => source.recv().await,
        None => std::future::pending().await,
    }
}

fn frame(event: &Event) -> String {
    protocol::notification(METHOD, event)
}

#[cfg(test)]
mod tests {
    use connectors_core::{EventBus, EventKind, Slug};
    use serde_json::{Value, json};
    use tokio_util::sync::ReusableBoxFuture;

    use crate::Session;

    fn publish(bus: &EventBus, wanted: bool) {
        bus.publish(
            Some(&Slug::verbatim("a")),
            EventKind::SignIn { wanted, reason: None, scopes: Vec::new() },
        );
    }

    fn params(frame: &str) -> Value {
        let mut frame: Value = serde_json::from_str(frame).unwrap();
        assert_eq!((&frame["jsonrpc"], &frame["method"]), (&json!("2.0"), &json!("connectors.event")));
        frame["params"].take()
    }

    fn sign_in(seq: u64, wanted: bool) -> Value {
        json!({"seq": seq, "slug": "a", "kind": "sign_in", "wanted": wanted})
    }

    #[tokio::test]
    async fn a_session_is_told_what_happens_while_it_is_subscribed() {
        let bus = EventBus::default();
        let (session, mut notifications) = Session::open();
        publish(&bus, true);
        session.subscribe(|| bus.subscribe());
        publish(&bus, true);
        session.subscribe(|| bus.subscribe());
        publish(&bus, false);
        assert_eq!(params(&notifications.next().await), sign_in(2, true));
        assert_eq!(params(&notifications.next().await), sign_in(3, false));
        publish(&bus, true);
        session.unsubscribe();
        session.subscribe(|| bus.subscribe());
        publish(&bus, false);
        assert_eq!(params(&notifications.next().await), sign_in(5, false));
    }

    #[tokio::test]
    async fn a_waiting_reader_notices_a_subscription() {
        let bus = EventBus::default();
        let (session, mut notifications) = Session::open();
        let mut next = ReusableBoxFuture::new(async move { notifications.next().await });
        assert!(futures_util::poll!(&mut next).is_pending());
        session.subscribe(|| bus.subscribe());
        publish(&bus, true);
        assert_eq!(params(&next.get_pin().await), sign_in(1, true));
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_once_how_many_events_it_lost() {
        let bus = EventBus::default();
        let (session, mut notifications) = Session::open();
        session.subscribe(|| bus.subscribe());
        for _ in 0..2000 {
            publish(&bus, true);
        }
        let overflow = params(&notifications.next().await);
        let lost = overflow["lost"].as_u64().unwrap();
        assert_eq!(overflow, json!({"seq": lost, "kind": "overflow", "lost": lost}));
        for seq in lost + 1..=2000 {
            assert_eq!(params(&notifications.next().await), sign_in(seq, true));
        }
    }

    #[tokio::test]
    async fn what_waits_can_be_taken_at_once() {
        let bus = EventBus::default();
        let (session, mut notifications) = Session::open();
        assert_eq!(notifications.waiting(), Vec::<String>::new());
        session.subscribe(|| bus.subscribe());
        for _ in 0..2000 {
            publish(&bus, true);
        }
        let waiting: Vec<_> = notifications.waiting().iter().map(|frame| params(frame)).collect();
        let lost = waiting[0]["lost"].as_u64().unwrap();
        assert_eq!(waiting[1], sign_in(lost + 1, true));
        assert_eq!(waiting.last(), Some(&sign_in(2000, true)));
        assert_eq!(waiting.len() as u64, 2001 - lost);
    }
}
