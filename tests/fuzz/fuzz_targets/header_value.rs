//! Every text becomes a legal header value, from which the specification's decoding gives the text back.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connectors_http::header_value::encode;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;

/// 2026-07-28, Streamable HTTP, value encoding, as a server reads it.
fn decode(value: &str) -> String {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(inner) => String::from_utf8(STANDARD.decode(inner).expect("standard Base64")).expect("UTF-8"),
        None => value.to_owned(),
    }
}

fuzz_target!(|text: &str| {
    let encoded = encode(text);
    assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{encoded:?} is not plain ASCII");
    let header = HeaderValue::from_str(&encoded).expect("a legal header value");
    // What a receiver does to it before it looks.
    let received = header.to_str().expect("ASCII").trim_matches([' ', '\t']);
    assert_eq!(decode(received), text);
});
