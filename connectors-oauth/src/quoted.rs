//! What servers said, in messages and in the trace.

use connectors_core::text;

/// Longest text of a server's that is quoted, in bytes.
const LONGEST: usize = 200;

/// A server's text: shortened, on one line, without characters that hide something.
pub(crate) fn quoted(text: &str) -> String {
    text::display(text, LONGEST).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_is_one_short_line() {
        assert_eq!(quoted("a\r\n\tb\u{202e}c"), "a  bc");
        assert_eq!(quoted(&"x".repeat(1_000)), format!("{}…", "x".repeat(LONGEST)));
    }
}
