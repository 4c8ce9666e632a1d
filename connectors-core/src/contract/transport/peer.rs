//! The server's part in the suite: what it sends for what it receives, without a wire.

use serde_json::{Value, json};

use crate::protocol::{Incoming, RequestId, read_messages};

/// The methods that a [`ScriptedPeer`] acts on.
pub mod method {
    /// Answered at once with the parameters.
    pub const ECHO: &str = "peer/echo";
    /// Not answered before [`RELEASE`]; then with the parameters.
    pub const HOLD: &str = "peer/hold";
    /// Once `held` requests are held, answers them, the last one first, and then itself with their number.
    pub const RELEASE: &str = "peer/release";
    /// Answered once `held` requests are held, with their number.
    pub const HELD: &str = "peer/held";
    /// Answered with a JSON-RPC error.
    pub const ERROR: &str = "peer/error";
    /// Never answered.
    pub const NEVER: &str = "peer/never";
    /// Answered with the parameters, after responses with ids that nobody has used.
    pub const UNMATCHED: &str = "peer/unmatched";
    /// Answered with the parameters, after a notification.
    pub const NOTIFY: &str = "peer/notify";
    /// Answered with a text of `bytes` bytes.
    pub const HUGE: &str = "peer/huge";
    /// Answered with the methods of the notifications received so far.
    pub const SEEN: &str = "peer/seen";
    /// Kills the peer, once `held` requests are held.
    pub const DIE: &str = "peer/die";
}

/// The code of the answer to [`method::ERROR`].
pub(super) const ERROR_CODE: i64 = -32_001;
/// The message of the answer to [`method::ERROR`].
pub(super) const ERROR_MESSAGE: &str = "as asked";
/// What [`method::NOTIFY`] sends first.
pub(super) const NOTIFICATION_METHOD: &str = "notifications/message";
/// With these parameters.
pub(super) const NOTIFICATION_PARAMS: &str = r#"{"level":"info","data":"before the answer"}"#;

/// What a fixture does for its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAction {
    /// Send a message.
    Send {
        /// The request that it is sent for: over HTTP, the request whose stream carries it.
        exchange: RequestId,
        /// The message, without line breaks.
        message: String,
        /// True for the response, after which the stream of that request ends.
        last: bool,
    },
    /// Die at once: exit, or drop every connection and accept none any more.
    Die,
}

/// A server that does what the methods of its requests say, shared by all connections of one transport.
#[derive(Debug, Default)]
pub struct ScriptedPeer {
    held: Vec<(RequestId, Value)>,
    waiting: Vec<Waiting>,
    notifications: Vec<String>,
}

#[derive(Debug)]
struct Waiting {
    id: RequestId,
    method: String,
    held: u64,
}

impl ScriptedPeer {
    /// What to do, in order, for one message from the client.
    ///
    /// # Panics
    ///
    /// If the message is not JSON-RPC or its method not one of [`method`]: then the wire has damaged it.
    pub fn receive(&mut self, message: &[u8]) -> Vec<PeerAction> {
        let read = read_messages(message).expect("the wire delivered something that is no message");
        let mut actions = Vec::new();
        for message in read {
            match message {
                Incoming::Request { id, method, params } => {
                    let params = params.map_or(Value::Null, |params| {
                        serde_json::from_str(params.get()).expect("parameters are JSON")
                    });
                    self.answer(id, method, params, &mut actions);
                }
                Incoming::Notification { method, .. } => self.notifications.push(method),
                Incoming::Response { .. } => panic!("this peer asks nothing"),
            }
        }
        actions
    }

    fn answer(&mut self, id: RequestId, method: String, params: Value, actions: &mut Vec<PeerAction>) {
        match method.as_str() {
            method::ECHO => actions.push(result(&id, &params)),
            method::HOLD => {
                self.held.push((id, params));
                self.wake(actions);
            }
            method::RELEASE | method::HELD | method::DIE => {
                let held = params["held"].as_u64().unwrap_or_default();
                self.waiting.push(Waiting { id, method, held });
                self.wake(actions);
            }
            method::ERROR => {
                let error = json!({"code": ERROR_CODE, "message": ERROR_MESSAGE, "data": {"why": "asked"}});
                actions.push(send(&id, &json!({"jsonrpc": "2.0", "id": id, "error": error}), true));
            }
            method::NEVER => {}
            method::UNMATCHED => {
                let look_alike = RequestId::String(id.to_string().into());
                for foreign in [RequestId::Number(i64::MAX), look_alike] {
                    let message = json!({"jsonrpc": "2.0", "id": foreign, "result": {"foreign": true}});
                    actions.push(send(&id, &message, false));
                }
                actions.push(result(&id, &params));
            }
            method::NOTIFY => {
                let message = format!(
                    r#"{{"jsonrpc":"2.0","method":"{NOTIFICATION_METHOD}","params":{NOTIFICATION_PARAMS}}}"#
                );
                actions.push(PeerAction::Send { exchange: id.clone(), message, last: false });
                actions.push(result(&id, &params));
            }
            method::HUGE => {
                let bytes =
                    params["bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
                actions.push(result(&id, &json!({"text": "x".repeat(bytes)})));
            }
            method::SEEN => actions.push(result(&id, &json!({"notifications": self.notifications}))),
            other => panic!("the wire delivered a method that nobody has sent: {other}"),
        }
    }

    /// Does what has waited for enough requests to be held.
    fn wake(&mut self, actions: &mut Vec<PeerAction>) {
        let held = self.held.len();
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| waiting.held <= held as u64);
        self.waiting = waiting;
        for Waiting { id, method, .. } in ready {
            match method.as_str() {
                method::HELD => actions.push(result(&id, &json!({"held": held}))),
                method::RELEASE => {
                    actions.extend(self.held.drain(..).rev().map(|(id, params)| result(&id, &params)));
                    actions.push(result(&id, &json!({"released": held})));
                }
                _ => actions.push(PeerAction::Die),
            }
        }
    }
}

fn result(id: &RequestId, result: &Value) -> PeerAction {
    send(id, &json!({"jsonrpc": "2.0", "id": id, "result": result}), true)
}

fn send(id: &RequestId, message: &Value, last: bool) -> PeerAction {
    PeerAction::Send { exchange: id.clone(), message: message.to_string(), last }
}
