//! The contract of [`Transport`], as a suite that any wire runs on itself.
//!
//! A wire implements [`TransportFixture`]: for each case a fresh server that plays a [`ScriptedPeer`], and a transport
//! connected to it. The peer decides what to send; the fixture only moves bytes, so it is a few lines over a pair of
//! pipes and a small handler over HTTP.
//!
//! What a wire may decide for itself is left open: whether [`Transport::exchange`] returns before the answer begins,
//! whether a notification arrives on a reply or on [`Transport::incoming`], and whether a dead peer is noticed when
//! nothing is asked of it ([`Traits::is_process`](crate::transport::Traits::is_process)).

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::error::TransportError;
use crate::limits::Limits;
use crate::protocol::{Incoming, ProtocolVersion, RequestId};
use crate::transport::{Mirror, OutgoingNotification, OutgoingRequest, ReplyStream, Transport};

mod peer;

pub use peer::{PeerAction, ScriptedPeer, method};

/// How long a case may take before it counts as hanging.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// The size limit of the case that exceeds it, in bytes.
const SMALL_LIMIT: usize = 64 << 10;

/// What a wire supplies to be tested.
#[async_trait]
pub trait TransportFixture: Send + Sync {
    /// Starts a server that plays a new [`ScriptedPeer`], and connects to it under `limits`.
    ///
    /// The server lives until it dies by [`PeerAction::Die`] or the transport is closed or dropped.
    async fn connect(&self, limits: Limits) -> Arc<dyn Transport>;
}

/// Runs every case. The name of the case that fails is in the panic or in the backtrace.
pub async fn all(fixture: &dyn TransportFixture) {
    within("an answer is matched by id", an_answer_is_matched_by_id(fixture)).await;
    within("answers in reverse order", answers_in_reverse_order_reach_their_own_exchange(fixture)).await;
    within("large messages", large_messages_of_concurrent_callers_arrive_whole(fixture)).await;
    within("a dropped exchange", a_dropped_exchange_disturbs_no_other(fixture)).await;
    within("an unmatched id", an_unmatched_id_is_never_taken_for_an_answer(fixture)).await;
    within("an error answer", an_error_answer_arrives_as_a_response(fixture)).await;
    within("a notification from the server", a_notification_of_the_server_is_seen(fixture)).await;
    within("a notification to the server", a_notification_reaches_the_server(fixture)).await;
    within("an answer over the limit", an_answer_over_the_limit_ends_only_its_exchange(fixture)).await;
    within("a dying peer", a_dying_peer_ends_what_is_open(fixture)).await;
    within("closing twice", closing_is_idempotent_and_ends_what_is_open(fixture)).await;
}

async fn within(case: &str, run: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(CASE_LIMIT, run).await.is_ok(), "{case}: hangs");
}

/// A response reaches the exchange whose id it carries, and ends the stream.
pub async fn an_answer_is_matched_by_id(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    for params in [json!({"text": "é\n\u{2028}"}), json!({}), json!({"deep": [[[{"a": null}]]]})] {
        let (request, id) = request(method::ECHO, &params);
        let mut reply = wire.exchange(request).await.unwrap();
        assert_eq!(answer(&mut reply).await.unwrap(), (id, Ok(params)));
        assert!(reply.next().await.is_none(), "a reply goes on after its response");
    }
    wire.close().await;
}

/// 64 exchanges at once, answered in reverse order, each get their own answer.
pub async fn answers_in_reverse_order_reach_their_own_exchange(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let held = (0..64).map(|n| {
        let wire = Arc::clone(&wire);
        async move { call(&*wire, method::HOLD, json!({"n": n})).await.unwrap() }
    });
    let release = call(&*wire, method::RELEASE, json!({"held": 64}));
    let (held, released) = tokio::join!(join_all(held), release);
    assert_eq!(held, (0..64).map(|n| Ok(json!({"n": n}))).collect::<Vec<_>>());
    assert_eq!(released.unwrap(), Ok(json!({"released": 64})));
    wire.close().await;
}

/// Messages larger than any buffer on the way, sent at the same time, are neither cut nor interleaved.
pub async fn large_messages_of_concurrent_callers_arrive_whole(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let calls = (0..8u8).map(|n| {
        let wire = Arc::clone(&wire);
        async move {
            let params = json!({"text": char::from(b'a' + n).to_string().repeat(1 << 20)});
            assert_eq!(call(&*wire, method::ECHO, params.clone()).await.unwrap(), Ok(params));
        }
    });
    join_all(calls).await;
    wire.close().await;
}

/// An exchange that is given up, before or after the server has its request, leaves the others alone, and its late
/// answer goes nowhere.
pub async fn a_dropped_exchange_disturbs_no_other(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let echo = |n: i32| call(&*wire, method::ECHO, json!({"n": n}));
    {
        let (request, _) = request(method::NEVER, &json!({}));
        let mut open = std::pin::pin!(async { wire.exchange(request).await?.next().await.transpose() });
        tokio::select! {
            biased;
            _ = &mut open => panic!("the peer never answers this"),
            answered = echo(1) => assert_eq!(answered.unwrap(), Ok(json!({"n": 1}))),
        }
    }
    assert_eq!(echo(2).await.unwrap(), Ok(json!({"n": 2})));
    {
        // Given up once the peer has it, so that its answer comes too late.
        let mut held = std::pin::pin!(call(&*wire, method::HOLD, json!({"n": 3})));
        tokio::select! {
            biased;
            _ = &mut held => panic!("the peer holds this"),
            answered = call(&*wire, method::HELD, json!({"held": 1})) => {
                assert_eq!(answered.unwrap(), Ok(json!({"held": 1})));
            }
        }
    }
    let (kept, released) = tokio::join!(
        call(&*wire, method::HOLD, json!({"n": 4})),
        call(&*wire, method::RELEASE, json!({"held": 2})),
    );
    assert_eq!(kept.unwrap(), Ok(json!({"n": 4})));
    assert_eq!(released.unwrap(), Ok(json!({"released": 2})));
    wire.close().await;
}

/// Responses with ids that nobody waits for, one of them the right id as a string, are dropped.
pub async fn an_unmatched_id_is_never_taken_for_an_answer(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let params = json!({"mine": true});
    assert_eq!(call(&*wire, method::UNMATCHED, params.clone()).await.unwrap(), Ok(params));
    wire.close().await;
}

/// A JSON-RPC error is an answer like another: it arrives as a response, not as an error of the wire.
pub async fn an_error_answer_arrives_as_a_response(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let answered = call(&*wire, method::ERROR, json!({})).await.unwrap();
    assert_eq!(answered, Err((peer::ERROR_CODE, peer::ERROR_MESSAGE.to_owned())));
    wire.close().await;
}

/// A notification that the server sends before it answers is seen, on the reply or among what is incoming.
pub async fn a_notification_of_the_server_is_seen(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let mut incoming = wire.incoming();
    let (request, id) = request(method::NOTIFY, &json!({"n": 1}));
    let mut reply = wire.exchange(request).await.unwrap();
    let (mut answered, mut notified) = (None, None);
    while answered.is_none() || notified.is_none() {
        let message = tokio::select! {
            Some(message) = reply.next(), if answered.is_none() => message.unwrap(),
            Some(message) = incoming.next(), if notified.is_none() => message.unwrap(),
            else => panic!("the streams ended with answer {answered:?}, notification {notified:?}"),
        };
        match message {
            Incoming::Notification { method, params } => {
                notified = Some((method, params.map(|params| params.get().to_owned())));
            }
            message => answered = Some(response(message)),
        }
    }
    assert_eq!(answered, Some((id, Ok(json!({"n": 1})))));
    let params = Some(peer::NOTIFICATION_PARAMS.to_owned());
    assert_eq!(notified, Some((peer::NOTIFICATION_METHOD.to_owned(), params)));
    wire.close().await;
}

/// Once [`Transport::notify`] has returned, the server gets the notification, and gets it once.
pub async fn a_notification_reaches_the_server(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let method = "notifications/roots/list_changed";
    let body = json!({"jsonrpc": "2.0", "method": method}).to_string();
    let mirror = Mirror::version(ProtocolVersion::LATEST_LEGACY);
    let note = OutgoingNotification { method: Some(method.into()), body: Bytes::from(body), mirror };
    wire.notify(note).await.unwrap();
    assert_eq!(call(&*wire, method::SEEN, json!({})).await.unwrap(), Ok(json!({"notifications": [method]})));
    wire.close().await;
}

/// An answer over the limit ends its own exchange, with an error that says so; the next ones work.
pub async fn an_answer_over_the_limit_ends_only_its_exchange(fixture: &dyn TransportFixture) {
    let limits = Limits { reply_bytes: SMALL_LIMIT, event_bytes: SMALL_LIMIT, ..Limits::default() };
    let wire = fixture.connect(limits).await;
    for bytes in [SMALL_LIMIT + 1, 40 * SMALL_LIMIT] {
        let outcome = call(&*wire, method::HUGE, json!({"bytes": bytes})).await;
        assert!(matches!(outcome, Err(TransportError::LimitExceeded { .. })), "{outcome:?}");
        let params = json!({"after": bytes});
        assert_eq!(call(&*wire, method::ECHO, params.clone()).await.unwrap(), Ok(params));
    }
    wire.close().await;
}

/// When the peer dies, every open exchange ends with an error, and later ones fail.
pub async fn a_dying_peer_ends_what_is_open(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let mut incoming = wire.incoming();
    let (open, killer) =
        tokio::join!(call(&*wire, method::HOLD, json!({})), call(&*wire, method::DIE, json!({"held": 1})),);
    assert_is_end(open);
    assert_is_end(killer);
    if wire.traits().is_process {
        let last = last(&mut incoming).await;
        assert!(matches!(last, Some(Err(TransportError::Closed { .. }))), "incoming ends with {last:?}");
    }
    let later = call(&*wire, method::ECHO, json!({})).await;
    assert!(later.is_err(), "an exchange with a dead peer is answered with {later:?}");
    wire.close().await;
}

/// Closing ends what is open; closing again, or at the same time, does nothing; nothing can be sent afterwards.
pub async fn closing_is_idempotent_and_ends_what_is_open(fixture: &dyn TransportFixture) {
    let wire = fixture.connect(Limits::default()).await;
    let mut incoming = wire.incoming();
    let (open, ()) = tokio::join!(call(&*wire, method::HOLD, json!({})), async {
        let held = call(&*wire, method::HELD, json!({"held": 1})).await;
        assert_eq!(held.unwrap(), Ok(json!({"held": 1})));
        tokio::join!(wire.close(), wire.close());
    });
    assert!(matches!(open, Err(TransportError::Closed { .. })), "{open:?}");
    let last = last(&mut incoming).await;
    assert!(matches!(last, Some(Err(TransportError::Closed { .. })) | None), "incoming ends with {last:?}");
    wire.close().await;
    let later = call(&*wire, method::ECHO, json!({})).await;
    assert!(matches!(later, Err(TransportError::Closed { .. })), "{later:?}");
}

/// A result, or the code and message of an error.
type Outcome = Result<Value, (i64, String)>;

async fn call(wire: &dyn Transport, method: &'static str, params: Value) -> Result<Outcome, TransportError> {
    let (request, id) = request(method, &params);
    let mut reply = wire.exchange(request).await?;
    let (answered, outcome) = answer(&mut reply).await?;
    assert_eq!(answered, id, "an exchange got another's answer");
    Ok(outcome)
}

/// The response of a reply, past whatever precedes it.
async fn answer(reply: &mut ReplyStream) -> Result<(RequestId, Outcome), TransportError> {
    loop {
        match reply.next().await.expect("a reply ends with a response or an error")? {
            Incoming::Notification { .. } | Incoming::Request { .. } => {}
            message => return Ok(response(message)),
        }
    }
}

fn response(message: Incoming) -> (RequestId, Outcome) {
    let Incoming::Response { id: Some(id), outcome } = message else { panic!("not a response: {message:?}") };
    let outcome = outcome
        .map(|result| serde_json::from_str(result.get()).unwrap())
        .map_err(|error| (error.code, error.message));
    (id, outcome)
}

async fn last(incoming: &mut ReplyStream) -> Option<Result<Incoming, TransportError>> {
    let mut last = None;
    while let Some(message) = incoming.next().await {
        last = Some(message);
    }
    last
}

fn assert_is_end(outcome: Result<Outcome, TransportError>) {
    let ended = matches!(outcome, Err(TransportError::Closed { .. } | TransportError::Unreachable { .. }));
    assert!(ended, "an exchange with a peer that died ends with {outcome:?}");
}

fn request(method: &'static str, params: &Value) -> (OutgoingRequest, RequestId) {
    static NEXT: AtomicI64 = AtomicI64::new(1);
    let id = RequestId::Number(NEXT.fetch_add(1, Ordering::Relaxed));
    let mut body = String::new();
    write!(body, r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).unwrap();
    let mirror = Mirror::version(ProtocolVersion::LATEST_LEGACY);
    (OutgoingRequest { id: id.clone(), method: method.into(), body: Bytes::from(body), mirror }, id)
}
