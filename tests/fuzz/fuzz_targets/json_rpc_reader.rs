//! Bytes from a server are messages or an error, and what is kept of a message is what was written.
#![no_main]

use connectors_core::multiplex::response_id;
use connectors_core::protocol::{Incoming, read_messages};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fn assert_is_json(raw: &RawValue) {
    serde_json::from_str::<&RawValue>(raw.get()).expect("a member that is kept is JSON");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(messages) = read_messages(bytes) else { return };
    assert!(!messages.is_empty(), "no message is an error");
    for message in &messages {
        match message {
            Incoming::Response { outcome: Ok(result), .. } => assert_is_json(result),
            Incoming::Response { outcome: Err(error), .. } => {
                error.data.as_deref().inspect(|data| assert_is_json(data));
            }
            Incoming::Request { params, .. } | Incoming::Notification { params, .. } => {
                params.as_deref().inspect(|params| assert_is_json(params));
            }
        }
    }
    // An id is never guessed: what a text is seen to answer is what it answers.
    if let [Incoming::Response { id, .. }] = &messages[..]
        && serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value.is_object())
    {
        for tail in [&[][..], bytes] {
            let seen = response_id(bytes, tail);
            assert!(seen.is_none() || seen == *id, "{seen:?} is not {id:?}");
        }
    }
});
