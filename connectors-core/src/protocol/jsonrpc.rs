//! Reading JSON-RPC 2.0 messages from a server.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Most messages of one batch: each costs many times its shortest text.
const MAX_BATCH: usize = 1_000;

/// A request id. A number and a string that look alike are different ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer; the only kind that this client issues.
    Number(i64),
    /// A string, which servers may use for their own requests.
    String(Arc<str>),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::String(s) => write!(f, "{s:?}"),
        }
    }
}

/// The `error` member of a response.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RpcError {
    /// The code, as the server sent it.
    pub code: i64,
    /// The server's text. Untrusted: data for the caller, never a log line above `debug`.
    #[serde(default)]
    pub message: String,
    /// Whatever the server added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// One message from a server.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to a request.
    Response {
        /// The request's id; `None` where the server could not read it.
        id: Option<RequestId>,
        /// The `result`, unparsed, or the `error`.
        outcome: Result<Box<RawValue>, RpcError>,
    },
    /// A request of the server's own (legacy versions).
    Request {
        /// The id to answer with.
        id: RequestId,
        /// The method.
        method: String,
        /// The parameters, unparsed.
        params: Option<Box<RawValue>>,
    },
    /// A notification.
    Notification {
        /// The method.
        method: String,
        /// The parameters, unparsed.
        params: Option<Box<RawValue>>,
    },
}

/// Why bytes are not a JSON-RPC message. Quotes none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedMessage {
    /// Not JSON.
    #[error("not JSON (line {line}, column {column})")]
    Json {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error.
        column: usize,
    },
    /// JSON, but neither request, notification nor response.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Shape(&'static str),
}

impl From<serde_json::Error> for MalformedMessage {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "even_null")]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// Reads an explicit `null` as a value that is there.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The messages of a batch, not more than [`MAX_BATCH`] of them.
struct Batch<'a>(Vec<Envelope<'a>>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Messages;
        impl<'de> serde::de::Visitor<'de> for Messages {
            type Value = Batch<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_BATCH} messages")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = seq.next_element()? {
                    if messages.len() == MAX_BATCH {
                        return Err(serde::de::Error::invalid_length(MAX_BATCH + 1, &self));
                    }
                    messages.push(message);
                }
                Ok(Batch(messages))
            }
        }
        deserializer.deserialize_seq(Messages)
    }
}

/// Reads one message, or the messages of a batch (2025-03-26, at most 1,000), in order.
///
/// Results and parameters are checked to be JSON but not parsed further. Unknown members are ignored.
pub fn read_messages(bytes: &[u8]) -> Result<Vec<Incoming>, MalformedMessage> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => {
            let Batch(batch) = serde_json::from_slice(bytes)?;
            if batch.is_empty() {
                return Err(MalformedMessage::Shape("empty batch"));
            }
            batch.into_iter().map(Envelope::into_incoming).collect()
        }
        _ => Ok(vec![serde_json::from_slice::<Envelope<'_>>(bytes)?.into_incoming()?]),
    }
}

fn read_id(id: &RawValue) -> Option<RequestId> {
    match id.get().parse() {
        Ok(number) => Some(RequestId::Number(number)),
        Err(_) => serde_json::from_str(id.get()).ok(),
    }
}

impl Envelope<'_> {
    fn into_incoming(self) -> Result<Incoming, MalformedMessage> {
        let id = match self.id {
            None => None,
            Some(id) => Some(
                read_id(id)
                    .ok_or(MalformedMessage::Shape("an id that is neither an integer nor a string"))?,
            ),
        };
        let params = self.params.map(ToOwned::to_owned);
        match (self.method, id) {
            (Some(method), Some(id)) => Ok(Incoming::Request { id, method: method.into_owned(), params }),
            (Some(method), None) => Ok(Incoming::Notification { method: method.into_owned(), params }),
            (None, id) => {
                let outcome = match (self.result, self.error) {
                    (_, Some(error)) => Err(serde_json::from_str(error.get())
                        .map_err(|_| MalformedMessage::Shape("an error without an integer code"))?),
                    (Some(result), None) => Ok(result.to_owned()),
                    (None, None) => {
                        return Err(MalformedMessage::Shape("neither method, result nor error"));
                    }
                };
                Ok(Incoming::Response { id, outcome })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Result<Incoming, MalformedMessage> {
        read_messages(text.as_bytes()).map(|mut all| all.remove(0))
    }

    #[test]
    fn a_result_is_kept_as_it_was_written() {
        let Ok(Incoming::Response { id, outcome }) =
            one(r#"{"jsonrpc":"2.0","id":7,"result":{"b":1.0,"a":[ 2 ]},"extra":true}"#)
        else {
            panic!("not a response")
        };
        assert_eq!(id, Some(RequestId::Number(7)));
        assert_eq!(outcome.unwrap().get(), r#"{"b":1.0,"a":[ 2 ]}"#);
    }

    #[test]
    fn a_string_id_is_not_the_number_it_spells() {
        let Ok(Incoming::Response { id, .. }) = one(r#"{"id":"7","result":{}}"#) else { panic!() };
        assert_eq!(id, Some(RequestId::String("7".into())));
        assert_ne!(id, Some(RequestId::Number(7)));
    }

    #[test]
    fn an_error_answer_with_a_null_result_is_an_error() {
        let Ok(Incoming::Response { id: None, outcome: Err(error) }) =
            one(r#"{"id":null,"result":null,"error":{"code":-32600,"message":"no"}}"#)
        else {
            panic!()
        };
        assert_eq!((error.code, error.message.as_str()), (-32600, "no"));
    }

    #[test]
    fn a_null_result_is_a_result() {
        let Ok(Incoming::Response { outcome: Ok(result), .. }) = one(r#"{"id":1,"result":null}"#) else {
            panic!()
        };
        assert_eq!(result.get(), "null");
    }

    #[test]
    fn a_batch_is_read_in_order() {
        let batch = read_messages(br#"[{"id":1,"result":{}},{"method":"notifications/x"}]"#).unwrap();
        assert!(matches!(&batch[..], [Incoming::Response { .. }, Incoming::Notification { .. }]));
    }

    #[test]
    fn a_batch_of_too_many_messages_is_refused() {
        let batch = |n: usize| format!("[{}]", vec![r#"{"method":"x"}"#; n].join(","));
        assert_eq!(read_messages(batch(MAX_BATCH).as_bytes()).unwrap().len(), MAX_BATCH);
        assert!(read_messages(batch(MAX_BATCH + 1).as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_message_says_why_without_quoting_it() {
        let shape = |text: &str| one(text).unwrap_err().to_string();
        assert_eq!(shape("{}"), "not a JSON-RPC 2.0 message: neither method, result nor error");
        assert_eq!(shape("[]"), "not a JSON-RPC 2.0 message: empty batch");
        assert_eq!(
            shape(r#"{"id":{},"result":1}"#),
            "not a JSON-RPC 2.0 message: an id that is neither an integer nor a string"
        );
        assert_eq!(shape("{\"secret"), "not JSON (line 1, column 8)");
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_messages(&bytes);
        }

        #[test]
        fn every_id_survives(n in any::<i64>(), s in ".{0,40}") {
            for id in [RequestId::Number(n), RequestId::String(s.as_str().into())] {
                let text = format!(r#"{{"id":{},"result":{{}}}}"#, serde_json::to_string(&id).unwrap());
                let Ok(Incoming::Response { id: read, .. }) = one(&text) else { panic!() };
                prop_assert_eq!(read, Some(id));
            }
        }
    }
}
