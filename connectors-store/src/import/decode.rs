//! Bytes of three formats to one kind of value. Problems say where, and repeat nothing: what stands there may be a secret.

use connectors_core::import::FileProblem;
use jsonc_parser::ParseOptions;
use serde_json::Value;

/// JSON as editors have it: with comments and trailing commas.
pub(super) fn jsonc(bytes: &[u8]) -> Result<Value, FileProblem> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    jsonc_parser::parse_to_serde_value(text(bytes)?, &options).map_err(|error| {
        let position = (error.line_display(), error.column_display());
        FileProblem { problem: format!("this is not JSON: {}", error.kind()), position: Some(position) }
    })
}

/// TOML.
pub(super) fn toml(bytes: &[u8]) -> Result<Value, FileProblem> {
    let text = text(bytes)?;
    let table: toml::Table = toml::from_str(text).map_err(|error| FileProblem {
        problem: format!("this is not TOML: {}", error.message()),
        position: error.span().map(|span| position(text.as_bytes(), span.start)),
    })?;
    serde_json::to_value(table)
        .map_err(|_| FileProblem { problem: "this TOML cannot be read".to_owned(), position: None })
}

/// YAML.
pub(super) fn yaml(bytes: &[u8]) -> Result<Value, FileProblem> {
    // Its own messages may show what stands in the file.
    serde_saphyr::from_str(text(bytes)?).map_err(|error| {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let position = error.location().map(|at| (number(at.line()), number(at.column())));
        FileProblem { problem: "this is not YAML that can be read".to_owned(), position }
    })
}

fn text(bytes: &[u8]) -> Result<&str, FileProblem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| FileProblem {
        problem: "this is not UTF-8".to_owned(),
        position: Some(position(bytes, error.valid_up_to())),
    })
}

/// Line and column of an offset, from 1.
fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, before.len() - line_start + 1)
}
