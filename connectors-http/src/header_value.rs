//! Header values for arbitrary text (2026-07-28, Streamable HTTP, value encoding).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Writes a value as it goes into `Mcp-Name` or `Mcp-Param-*`: as it is where that is safe, else as
/// `=?base64?{UTF-8 in Base64}?=`.
///
/// ```
/// use connectors_http::header_value::encode;
/// assert_eq!(encode("us-west1"), "us-west1");
/// assert_eq!(encode("Hello, 世界"), "=?base64?SGVsbG8sIOS4lueVjA==?=");
/// ```
pub fn encode(value: &str) -> Cow<'_, str> {
    if is_plain(value) {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(value)))
    }
}

/// A tab would be allowed inside a value, but intermediaries turn it into a space.
fn is_plain(value: &str) -> bool {
    let is_visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let is_padded = value.starts_with(' ') || value.ends_with(' ');
    let looks_encoded = value.starts_with(PREFIX) && value.ends_with(SUFFIX);
    is_visible && !is_padded && !looks_encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn decode(encoded: &str) -> String {
        match encoded.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) {
            Some(inner) => String::from_utf8(STANDARD.decode(inner).unwrap()).unwrap(),
            None => encoded.to_owned(),
        }
    }

    #[test]
    fn the_examples_of_the_specification_come_out_as_written() {
        let examples = [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ];
        for (value, encoded) in examples {
            assert_eq!(encode(value), encoded);
        }
    }

    #[test]
    fn only_what_is_unsafe_is_encoded() {
        for plain in ["", "us west 1", "=?base64?", "?=", "=?BASE64?x?=", "file:///path/to/file%20name.txt"] {
            assert_eq!(encode(plain), plain);
        }
        for unsafe_value in [" us-west1", "us-west1 ", "\tindented", "a\tb", "a\r\nb", "\u{7f}", "é", "\0"] {
            assert_ne!(encode(unsafe_value), unsafe_value, "{unsafe_value:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_is_a_legal_header_and_survives(value in any::<String>()) {
            let encoded = encode(&value);
            let header = HeaderValue::from_str(&encoded).unwrap();
            prop_assert_eq!(header.to_str().unwrap().trim_matches([' ', '\t']), encoded.as_ref());
            prop_assert_eq!(decode(&encoded), value);
        }
    }
}
