//! Finding the exchange that a text belongs to which cannot be read as a message.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::protocol::RequestId;

/// The id of the response that begins with `head` and ends with `tail`; `None` where it is not certain to be one.
///
/// An answer with a number that JSON does not have, without an error code, or over the size limit still names its
/// request, before its result or after it. `tail` may be empty, or both may be the whole text.
pub fn response_id(head: &[u8], tail: &[u8]) -> Option<RequestId> {
    match scan_head(head) {
        Head::Id(id) => Some(id),
        Head::Result => id_at_end(if tail.is_empty() { head } else { tail }),
        Head::NoResponse => None,
    }
}

/// What the members before the first nested value tell.
enum Head {
    Id(RequestId),
    Result,
    NoResponse,
}

/// Reads members until one decides.
fn scan_head(head: &[u8]) -> Head {
    let mut reader = serde_json::Deserializer::from_slice(head);
    let mut found = Head::NoResponse;
    // The error is expected: the scan stops at the deciding member, and the text is cut or broken anyway.
    let _ = reader.deserialize_map(HeadVisitor(&mut found));
    found
}

struct HeadVisitor<'a>(&'a mut Head);

impl<'de> Visitor<'de> for HeadVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        // A request has an id as well; what follows the id shows which it is, if it can still be read.
        let mut id = None;
        loop {
            let Some(key) = members.next_key::<String>()? else {
                *self.0 = id.map_or(Head::NoResponse, Head::Id);
                return Ok(());
            };
            match key.as_str() {
                "id" => id = members.next_value::<RequestId>().ok(),
                "result" | "error" => {
                    *self.0 = id.map_or(Head::Result, Head::Id);
                    return Ok(());
                }
                "method" | "params" => return Ok(()),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

/// The `id` member of the object that closes at the end of the text, which is the message.
fn id_at_end(tail: &[u8]) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Members {
        id: RequestId,
    }

    const KEY: &[u8] = br#""id""#;
    let at = tail.windows(KEY.len()).rposition(|window| window == KEY)?;
    let mut object = Vec::with_capacity(tail.len() - at + 1);
    object.push(b'{');
    object.extend_from_slice(&tail[at..]);
    serde_json::from_slice::<Members>(&object).ok().map(|members| members.id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(head: &str, tail: &str) -> Option<RequestId> {
        response_id(head.as_bytes(), tail.as_bytes())
    }

    const SEVEN: Option<RequestId> = Some(RequestId::Number(7));

    #[test]
    fn an_id_before_the_result_is_found() {
        assert_eq!(found(r#"{"jsonrpc":"2.0","id":7,"result":{"text":"aaa"#, ""), SEVEN);
        assert_eq!(found(r#" { "id" : 7 , "error" : {}"#, r#""id":8}}"#), SEVEN);
        assert_eq!(found(r#"{"id":7,"error":"no object"}"#, ""), SEVEN);
        assert_eq!(found(r#"{"jsonrpc":"2.0","id":7}"#, ""), SEVEN);
        assert_eq!(found(r#"{"id":"7","result":NaN}"#, ""), Some(RequestId::String("7".into())));
    }

    #[test]
    fn an_id_after_the_result_is_found() {
        assert_eq!(found(r#"{"result":{"text":"aaa"#, r#"aaa"},"jsonrpc":"2.0","id":7}"#), SEVEN);
        assert_eq!(found(r#"{"result":{"x":NaN},"id":7,"jsonrpc":"2.0"}"#, ""), SEVEN);
    }

    #[test]
    fn an_id_inside_the_result_is_not_taken_for_the_messages() {
        assert_eq!(found(r#"{"result":{"#, r#"{"id":7}}"#), None);
        assert_eq!(found(r#"{"result":{"#, r#""kind":"id"}}"#), None);
        assert_eq!(found(r#"{"result":""#, r#"\"id\":7}"}"#), None);
    }

    #[test]
    fn what_is_a_request_or_no_message_has_no_answered_id() {
        assert_eq!(found(r#"{"id":7,"method":"x","params":{"#, r#"}}"#), None);
        assert_eq!(found(r#"{"params":{"#, r#"},"id":7}"#), None);
        assert_eq!(found(r#"{"id":7,"x"#, r#""id":7}"#), None);
        assert_eq!(found("listening on port 80", ""), None);
        assert_eq!(found("", ""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(head in any::<Vec<u8>>(), tail in any::<Vec<u8>>()) {
            let _ = response_id(&head, &tail);
            let _ = response_id(&[b"{\"result\":".as_slice(), &head].concat(), &[b"\"id\"".as_slice(), &tail].concat());
        }
    }
}
