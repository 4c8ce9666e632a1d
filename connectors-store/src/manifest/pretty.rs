//! The layout of `serde_json::to_string_pretty`, for text that must not be parsed into values: numbers and escapes
//! stay as they are written.

/// Deepest indentation: beyond it, lines full of spaces would outgrow what they hold.
const MAX_INDENT: usize = 128;

/// Lays valid JSON out on lines of its own, indented by two spaces.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut opened = false;
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if opened && !closes {
            depth += 1;
            new_line(&mut out, depth);
        } else if closes && !opened {
            depth -= 1;
            new_line(&mut out, depth);
        }
        opened = matches!(c, '{' | '[');
        out.push(c);
        match c {
            '"' => in_string = true,
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::document::tests::json;
    use super::*;

    #[test]
    fn what_is_inside_strings_and_numbers_is_left_alone() {
        let text = r#"{"a,{b":"x: [\"y\\",  "n":[1.0e+400,-0,{}, [ ]]}"#;
        assert_eq!(
            pretty(text),
            "{\n  \"a,{b\": \"x: [\\\"y\\\\\",\n  \"n\": [\n    1.0e+400,\n    -0,\n    {},\n    []\n  ]\n}"
        );
    }

    proptest! {
        #[test]
        fn the_layout_is_that_of_serde_json(value in json()) {
            let value: Value = value;
            prop_assert_eq!(pretty(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
