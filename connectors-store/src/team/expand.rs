//! `${NAME}` and `${NAME:-default}` in the values of a team file.

use std::ops::Range;

/// Longest value that is made of variables, in bytes.
const MAX_EXPANDED: usize = 64 << 10;

/// What a variable of this process is set to.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value with its variables in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// The variables whose values are in it.
    pub(super) used: Vec<String>,
}

/// Why a value cannot be expanded. Quotes names only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("the variable {0} is not set; set it, or write a default as ${{{0}:-...}}")]
    NotSet(String),
    #[error("there is a `${{` that no `}}` closes; write `$${{` for one that is meant as it stands")]
    Unclosed,
    #[error(
        "`${{` is not followed by the name of a variable (letters, digits and underscores), with `:-` and a default or without; write `$${{` for one that is meant as it stands"
    )]
    NotAName,
    #[error("with its variables it is over the limit of {} KiB", MAX_EXPANDED >> 10)]
    TooLong,
}

/// Puts the values of variables in place. `$${` stands for `${`; any other `$` for itself. What a variable holds is not
/// looked into again.
pub(super) fn expand(text: &str, variables: Variables<'_>) -> Result<Expanded, ExpandError> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), used: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            expanded.text.push_str(&rest[..at - 1]);
            expanded.text.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        expanded.text.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or(ExpandError::Unclosed)?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
            return Err(ExpandError::NotAName);
        }
        // As in a shell, `:-` stands in for an empty value too.
        match (variables(name), default) {
            (Some(value), None) => expanded.put(name, &value),
            (Some(value), Some(_)) if !value.is_empty() => expanded.put(name, &value),
            (_, Some(default)) => expanded.text.push_str(default),
            (None, None) => return Err(ExpandError::NotSet(name.to_owned())),
        }
        if expanded.text.len() > MAX_EXPANDED {
            return Err(ExpandError::TooLong);
        }
        rest = &inner[end + 1..];
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

impl Expanded {
    fn put(&mut self, name: &str, value: &str) {
        self.text.push_str(value);
        self.used.push(name.to_owned());
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.starts_with(|first: char| !first.is_ascii_digit())
}

/// Where a part of a text begins: line, and column in characters, both from 1.
pub(super) fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let mut at = span.start.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
    (line, 1 + before[line_start..].chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("h.test".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            "LONG" => Some("x".repeat(MAX_EXPANDED)),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes_are_put_in_place() {
        let cases = [
            ("https://${HOST}/mcp", "https://h.test/mcp"),
            ("${HOST}${HOST:-other}", "h.testh.test"),
            ("${EMPTY}|${EMPTY:-d}|${NONE:-d}|${NONE:-}", "|d|d|"),
            ("${NONE:-a:-b $ c}", "a:-b $ c"),
            ("$${HOST} $HOST $ $$ 5$", "${HOST} $HOST $ $$ 5$"),
            ("${NESTED}", "${HOST}"),
            ("ü${HOST}ü", "üh.testü"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                expand(text, &variables).map(|expanded| expanded.text),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        let used = expand("${HOST}${NONE:-x}", &variables).map(|expanded| expanded.used);
        assert_eq!(used, Ok(vec!["HOST".to_owned()]));
    }

    #[test]
    fn what_cannot_be_expanded_is_said() {
        let cases = [
            ("${NONE}", ExpandError::NotSet("NONE".to_owned())),
            ("a ${HOST", ExpandError::Unclosed),
            ("${}", ExpandError::NotAName),
            ("${1A}", ExpandError::NotAName),
            ("${A-b}", ExpandError::NotAName),
            ("${A:-${HOST}}", ExpandError::NotAName),
            ("x${LONG}", ExpandError::TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables), Err(expected), "{text}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let text = "a\nüb\n";
        assert_eq!(
            [0, 1, 2, 4, 5, 99].map(|at| position(text, &(at..at))),
            [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1)]
        );
    }
}
