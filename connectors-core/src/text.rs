//! Untrusted text on its way to a person.

use std::borrow::Cow;

/// What is appended to text that was cut.
const CUT: &str = "…";

/// Makes a server's text fit for display: control, bidirectional and invisible characters are stripped (line breaks
/// and tabs are kept), and what is beyond `max_bytes` is cut at a character.
pub fn display(text: &str, max_bytes: usize) -> String {
    let mut shown = if !is_plain(text) && text.chars().any(is_hidden) {
        Cow::Owned(text.chars().filter(|c| !is_hidden(*c)).collect::<String>())
    } else {
        Cow::Borrowed(text)
    };
    if shown.len() > max_bytes {
        let mut cut = max_bytes;
        while !shown.is_char_boundary(cut) {
            cut -= 1;
        }
        shown = Cow::Owned(format!("{}{CUT}", &shown[..cut]));
    }
    shown.into_owned()
}

/// True for text that clearly hides nothing, as most does: found many bytes at a time.
fn is_plain(text: &str) -> bool {
    let is_shown = |byte: &u8| (b' '..0x7f).contains(byte) | (*byte == b'\n') | (*byte == b'\t');
    text.as_bytes().chunks(64).all(|chunk| chunk.iter().fold(true, |all, byte| all & is_shown(byte)))
}

fn is_hidden(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Zero-width, bidirectional embeddings, overrides and isolates, invisible operators, byte-order mark, tags.
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => true,
        '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_and_direction_marks_vanish_and_line_breaks_stay() {
        assert_eq!(display("a\u{1b}]0;x\u{7}b\n\tc\u{2066}d\u{e0041}", 100), "a]0;xb\n\tcd");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(display("ééé", 3), "é…");
    }

    proptest! {
        #[test]
        fn what_is_shown_hides_nothing(text in any::<String>(), max in 0usize..64) {
            let shown = display(&text, max);
            prop_assert!(!shown.chars().any(is_hidden));
            prop_assert!(shown.len() <= max + CUT.len());
        }
    }
}
