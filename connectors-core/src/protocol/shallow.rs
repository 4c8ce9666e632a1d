//! The members of a JSON object, without reading their values.
//!
//! A result may be megabytes of text, and what decides about it is two short members. The text has been checked to be JSON
//! already, so finding where a value ends needs no second parse: only brackets and quotes count.

use std::borrow::Cow;
use std::ops::ControlFlow;

/// The values of the members `names` of an object, verbatim; of two with one name the later counts.
///
/// `json` has to be valid JSON, as a [`RawValue`](serde_json::value::RawValue) is. `None` if it is not an object. Never panics: for
/// invalid JSON the answer means nothing.
pub(crate) fn members<'a, const N: usize>(json: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let bytes = json.as_bytes();
    let mut found = [None; N];
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let key_end = skip_string(bytes, at)?;
        let quoted = json.get(at..key_end)?;
        let key = if quoted.contains('\\') {
            Cow::Owned(serde_json::from_str(quoted).ok()?)
        } else {
            Cow::Borrowed(&quoted[1..quoted.len() - 1])
        };
        let colon = skip_space(bytes, key_end);
        at = skip_space(bytes, colon + 1);
        let value_end = skip_value(bytes, at)?;
        if let Some(n) = names.iter().position(|name| *name == key) {
            found[n] = json.get(at..value_end);
        }
        at = skip_space(bytes, value_end);
        if bytes.get(at) != Some(&b',') {
            break;
        }
        at = skip_space(bytes, at + 1);
    }
    Some(found)
}

/// Strings up to this length are read byte by byte.
const SHORT: usize = 16;

/// Bytes of a longer string that are looked at together.
const BLOCK: usize = 64;

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of the string that begins at `at`.
fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let first = at + 1;
    // Most strings are over before blocks would pay.
    let mut read = read_on(bytes, first, SHORT)?;
    loop {
        let mut at = match read {
            ControlFlow::Break(end) => return Some(end),
            ControlFlow::Continue(at) => at,
        };
        while goes_on(bytes, at) {
            at += BLOCK;
        }
        // The last block may have ended within an escape.
        let backslashes = bytes.get(first..at)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        read = read_on(bytes, at + backslashes % 2, BLOCK)?;
    }
}

/// Reads up to `count` characters of a string from `at` on: breaks with its end, or continues where they end.
fn read_on(bytes: &[u8], mut at: usize, count: usize) -> Option<ControlFlow<usize, usize>> {
    for _ in 0..count {
        match bytes.get(at)? {
            b'"' => return Some(ControlFlow::Break(at + 1)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    Some(ControlFlow::Continue(at))
}

/// True if the block at `at`, which lies within a string, does not end it: each of its quotes follows a backslash that no
/// other precedes. Every byte is looked at alike, so that the compiler can look at many at once: a search would stop at each
/// escape, and a result that quotes JSON is full of them.
fn goes_on(bytes: &[u8], at: usize) -> bool {
    let Some(window) = bytes.get(at - 2..).and_then(|rest| rest.first_chunk::<{ BLOCK + 2 }>()) else {
        return false;
    };
    let mut may_end = false;
    for n in 0..BLOCK {
        let escaped = (window[n] != b'\\') & (window[n + 1] == b'\\');
        may_end |= (window[n + 2] == b'"') & !escaped;
    }
    !may_end
}

/// The end of the value that begins at `at`.
fn skip_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = skip_string(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => {
                at += 1;
                continue;
            }
            _ => {
                // A number or a word.
                while bytes.get(at).is_some_and(|byte| !b",:]} \n\r\t".contains(byte)) {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn values_are_found_verbatim_wherever_they_stand() {
        let object = r#" { "a" : [1, {"b": "}"}] ,"b":"x\"y\\","c": -1.5e3 , "d":null} "#;
        assert_eq!(
            members(object, ["b", "a", "d", "c", "e"]),
            Some([Some(r#""x\"y\\""#), Some(r#"[1, {"b": "}"}]"#), Some("null"), Some("-1.5e3"), None])
        );
    }

    #[test]
    fn an_escaped_name_is_the_name() {
        assert_eq!(members(r#"{"is\u0045rror":true}"#, ["isError"]), Some([Some("true")]));
    }

    #[test]
    fn of_two_members_with_one_name_the_later_counts() {
        assert_eq!(members(r#"{"a":1,"a":2}"#, ["a"]), Some([Some("2")]));
    }

    #[test]
    fn what_is_not_an_object_has_no_members() {
        for other in ["[]", "1", "\"{\"", "null", ""] {
            assert_eq!(members(other, ["a"]), None, "{other}");
        }
        assert_eq!(members("{}", ["a"]), Some([None]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],: é]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_are_those_that_a_parser_finds(a in any_json(), b in any_json(), key in "[a-z\"\\\\é]{0,4}", wide in any::<bool>()) {
            let object: Map<String, Value> = [("first".to_owned(), a), (key.clone(), b)].into_iter().collect();
            let value = Value::Object(object.clone());
            let text = if wide { format!("{value:#}") } else { value.to_string() };
            let found = members(&text, ["first", &key]).unwrap().map(|value| serde_json::from_str::<Value>(value.unwrap()).unwrap());
            prop_assert_eq!(&found[0], &object["first"]);
            prop_assert_eq!(&found[1], &object[&key]);
            let array = json!([value]).to_string();
            prop_assert_eq!(members(&array, ["first"]), None);
        }

        #[test]
        fn a_long_string_ends_at_the_first_quote_that_is_not_escaped(
            pieces in prop::collection::vec(prop::sample::select(vec!["\\", "\"", "é", "{", "plain text"]), 0..200),
            levels in 1_usize..4,
        ) {
            // Text that quotes JSON which quotes JSON.
            let quoted = (0..levels).fold(pieces.concat(), |text, _| json!(text).to_string());
            let object = format!(r#"{{"text":{quoted},"isError":true}}"#);
            prop_assert_eq!(members(&object, ["text", "isError"]), Some([Some(&quoted[..]), Some("true")]));
            prop_assert_eq!(members(&object[..object.len() - r#"","isError":true}"#.len()], ["text"]), None);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", json in "[{}\\[\\]\":,\\\\a1 ]{0,200}") {
            let _ = members(&text, ["a"]);
            let _ = members(&json, ["a"]);
        }
    }
}
