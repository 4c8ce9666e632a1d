//! JSON-RPC 2.0 over text frames: reading requests, writing replies and notifications.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{ErrorObject, code};

/// Largest frame in either direction, in bytes.
pub const MAX_FRAME: usize = 32 << 20;

/// A request's id, as it was written: a number, a string or `null`.
#[derive(Debug, Clone)]
pub(crate) struct Id(Box<RawValue>);

impl Id {
    /// The id of a reply to what could not be read.
    pub(crate) fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    fn read(raw: &RawValue) -> Result<Self, ErrorObject> {
        match raw.get().as_bytes().first() {
            Some(b'"' | b'n' | b'-' | b'0'..=b'9') => Ok(Self(raw.to_owned())),
            _ => Err(invalid("`id` has to be a number, a string or null")),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A request, or a notification if it has no id.
#[derive(Debug)]
pub(crate) struct Request {
    /// What to answer with; `None` wants no answer.
    pub(crate) id: Option<Id>,
    /// The method.
    pub(crate) method: String,
    /// The parameters, unparsed.
    pub(crate) params: Option<Box<RawValue>>,
}

/// A frame that is no request, and the id to answer it with.
#[derive(Debug)]
pub(crate) struct BadRequest {
    /// `null` unless the id could be read.
    pub(crate) id: Id,
    /// What is wrong.
    pub(crate) error: ErrorObject,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "even_null")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    method: Option<&'a RawValue>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

/// Reads an explicit `null` as a value that is there.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn invalid(problem: &str) -> ErrorObject {
    ErrorObject::plain(code::INVALID_REQUEST, format!("invalid request: {problem}"))
}

fn batch() -> ErrorObject {
    invalid("batches are not supported; send one request per frame")
}

/// Reads one frame. Unknown members are ignored; batches are refused.
pub(crate) fn read_request(text: &str) -> Result<Request, BadRequest> {
    let refuse = |error| BadRequest { id: Id::null(), error };
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        // An array would be read as the members in their order.
        Ok(_) if text.trim_start().starts_with('[') => return Err(refuse(batch())),
        Ok(envelope) => envelope,
        Err(error) if !error.is_data() => {
            let (line, column) = (error.line(), error.column());
            let message = format!("parse error: not JSON (line {line}, column {column})");
            return Err(refuse(ErrorObject::plain(code::PARSE_ERROR, message)));
        }
        Err(_) if text.trim_start().starts_with('[') => return Err(refuse(batch())),
        Err(_) => {
            return Err(refuse(invalid(
                "a frame has to be an object with the members of JSON-RPC 2.0, each once",
            )));
        }
    };
    let id = envelope.id.map(Id::read).transpose().map_err(refuse)?;
    let refuse = |error| BadRequest { id: id.clone().unwrap_or_else(Id::null), error };
    if envelope.jsonrpc.is_none_or(|version| version.get() != r#""2.0""#) {
        return Err(refuse(invalid("`jsonrpc` has to be \"2.0\"")));
    }
    let method = envelope.method.ok_or_else(|| refuse(invalid("`method` is missing")))?;
    let method: String =
        serde_json::from_str(method.get()).map_err(|_| refuse(invalid("`method` has to be a string")))?;
    Ok(Request { id, method, params: envelope.params.map(ToOwned::to_owned) })
}

/// The frame of a reply. One that would be over [`MAX_FRAME`] becomes an error that says so.
pub(crate) fn reply(id: &Id, outcome: &Result<Box<RawValue>, ErrorObject>) -> String {
    let text = write_reply(id, outcome);
    if text.len() <= MAX_FRAME {
        return text;
    }
    let too_large = ErrorObject::limit_exceeded("the reply", "32 MiB per frame", "ask for less at once");
    write_reply(id, &Err(too_large))
}

fn write_reply(id: &Id, outcome: &Result<Box<RawValue>, ErrorObject>) -> String {
    #[derive(Serialize)]
    struct Reply<'a> {
        jsonrpc: &'static str,
        id: &'a Id,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a ErrorObject>,
    }
    let (result, error) = match outcome {
        Ok(result) => (Some(&**result), None),
        Err(error) => (None, Some(error)),
    };
    write(&Reply { jsonrpc: "2.0", id, result, error })
}

/// The frame of a notification.
pub(crate) fn notification<P: Serialize>(method: &'static str, params: &P) -> String {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'static str,
        method: &'static str,
        params: &'a P,
    }
    write(&Notification { jsonrpc: "2.0", method, params })
}

fn write<T: Serialize>(message: &T) -> String {
    // Writing to memory fails only for maps without string keys, which no message has.
    serde_json::to_string(message).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written");
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"internal error"}}"#.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(text: &str) -> (Value, i64, String) {
        let bad = read_request(text).unwrap_err();
        (serde_json::to_value(&bad.id).unwrap(), bad.error.code, bad.error.message)
    }

    #[test]
    fn an_id_is_answered_as_it_was_written() {
        for id in ["1", "-7", "1.50", "12345678901234567890123", r#""a\u00e9""#, "null"] {
            let request = read_request(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#)).unwrap();
            let text = reply(&request.id.unwrap(), &Ok(RawValue::NULL.to_owned()));
            assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
        }
    }

    #[test]
    fn a_request_without_an_id_is_a_notification() {
        let request = read_request(r#"{"jsonrpc":"2.0","method":"m","params":{"a":[ 1 ]}}"#).unwrap();
        assert!(request.id.is_none());
        assert_eq!(request.method, "m");
        assert_eq!(request.params.unwrap().get(), r#"{"a":[ 1 ]}"#);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_id_if_there_is_one() {
        let json = "parse error: not JSON (line 1, column 2)";
        assert_eq!(refusal("{x"), (Value::Null, -32700, json.to_owned()));
        let object =
            "invalid request: a frame has to be an object with the members of JSON-RPC 2.0, each once";
        for text in ["7", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#] {
            assert_eq!(refusal(text), (Value::Null, -32600, object.to_owned()));
        }
        let batch = "invalid request: batches are not supported; send one request per frame";
        for text in ["[]", r#" [{"jsonrpc":"2.0","id":1,"method":"m"}]"#] {
            assert_eq!(refusal(text), (Value::Null, -32600, batch.to_owned()));
        }
        let id = "invalid request: `id` has to be a number, a string or null";
        for value in ["{}", "[]", "true"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{value},"method":"m"}}"#);
            assert_eq!(refusal(&text), (Value::Null, -32600, id.to_owned()));
        }
        let version = "invalid request: `jsonrpc` has to be \"2.0\"";
        for text in [r#"{"id":1,"method":"m"}"#, r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#] {
            assert_eq!(refusal(text), (json!(1), -32600, version.to_owned()));
        }
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#),
            (json!("a"), -32600, "invalid request: `method` is missing".to_owned())
        );
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":2,"method":5}"#),
            (json!(2), -32600, "invalid request: `method` has to be a string".to_owned())
        );
    }

    #[test]
    fn a_reply_that_does_not_fit_a_frame_says_so() {
        let id = read_request(r#"{"jsonrpc":"2.0","id":5,"method":"m"}"#).unwrap().id.unwrap();
        let result = RawValue::from_string(format!("\"{}\"", "x".repeat(MAX_FRAME))).unwrap();
        let text: Value = serde_json::from_str(&reply(&id, &Ok(result))).unwrap();
        assert_eq!(
            text,
            json!({"jsonrpc": "2.0", "id": 5, "error": {
                "code": -32046, "message": "the reply is over the limit of 32 MiB per frame",
                "data": {"code": "limit_exceeded", "limit": "the reply", "remedy": "ask for less at once"}}})
        );
    }
}
