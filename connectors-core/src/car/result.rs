//! What becomes of a server's result.

use car_ir::ToolFailure;
use serde::Deserialize;
use serde_json::Value;

use crate::connector::ToolOutcome;
use crate::error::ConnectorError;

/// Longest text of a failure that is passed on, in bytes: failures stay in event logs.
const SERVERS_TEXT: usize = 4 << 10;

/// By these beginnings the engine tells failures apart: a tool that it has to look for elsewhere, a denial by a policy, an effect for
/// which a proposal is rolled back.
const ENGINES_WORDS: [&str; 4] =
    ["unknown tool", "denied by policy:", "rejected by policy:", "tool output failed JCS/I-JSON validation"];

/// How an executor hands results on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultShape {
    /// As the engine's own MCP servers do: the text blocks joined by line breaks; the whole result where there is no text.
    #[default]
    Text,
    /// The whole `CallToolResult`, structured content, images and metadata included.
    Whole,
}

/// A result as an action's output. A failure of the tool's own (`isError`) is an error, as [`verdict`] has it.
pub(super) fn output(outcome: &ToolOutcome, shape: ResultShape) -> Result<Value, String> {
    verdict(outcome)?;
    if shape == ResultShape::Text
        && let Some(text) = text(outcome)
    {
        return Ok(Value::String(text));
    }
    serde_json::from_str(outcome.raw().get()).map_err(|error| format!("the result cannot be read: {error}"))
}

/// Whether the tool did what it was called for; where it did not (`isError`), the beginning of its text.
pub(super) fn verdict(outcome: &ToolOutcome) -> Result<(), String> {
    if !outcome.is_error() {
        return Ok(());
    }
    Err(match text(outcome) {
        Some(text) => servers_words(&text),
        None => "the tool failed without saying why".to_owned(),
    })
}

/// What a server says of a failure, so that it cannot pass for the engine's own words.
fn servers_words(text: &str) -> String {
    let shown = crate::text::display(text, SERVERS_TEXT);
    let begins = |own: &&str| shown.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(own));
    if ENGINES_WORDS.iter().any(begins) { format!("the server says: {shown}") } else { shown }
}

/// The text blocks; `None` if there are none. What is no text block is passed over, whatever it is.
fn text(outcome: &ToolOutcome) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        content: Value,
    }
    let body: Body = serde_json::from_str(outcome.raw().get()).ok()?;
    let is_text = |block: &&Value| block["type"] == "text";
    let texts: Vec<&str> =
        body.content.as_array()?.iter().filter(is_text).filter_map(|block| block["text"].as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// A failure in the words of the connector, with what the server says of it and what to do about it. Never one that makes a runtime
/// look for another tool.
pub(super) fn failure(error: &ConnectorError) -> ToolFailure {
    let mut message = error.to_string();
    if let ConnectorError::Upstream { error, .. } = error {
        message = format!("{message}: {}", crate::text::display(&error.message, SERVERS_TEXT));
    }
    if let Some(remedy) = error.remedy() {
        message = format!("{message} ({remedy})");
    }
    ToolFailure::ordinary(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn shaped(result: Value, shape: ResultShape) -> Result<Value, String> {
        let is_error = result["isError"] == true;
        output(&ToolOutcome::new(to_raw_value(&result).unwrap(), is_error), shape)
    }

    #[test]
    fn text_is_joined() {
        let result = json!({"content": [{"type": "text", "text": "a"}, {"type": "image", "data": ""}, {"type": "text", "text": "b"}],
            "structuredContent": {"n": 1}});
        assert_eq!(shaped(result.clone(), ResultShape::Text), Ok(json!("a\nb")));
        assert_eq!(shaped(result.clone(), ResultShape::Whole), Ok(result));
        let empty = json!({"content": [{"type": "text", "text": ""}]});
        assert_eq!(shaped(empty, ResultShape::Text), Ok(json!("")));
    }

    #[test]
    fn odd_blocks_are_passed_over() {
        let text = json!({"type": "text", "text": "a"});
        let result = json!({"content": [7, null, {"type": "text"}, {"type": 1, "text": "no"}, {"type": "text", "text": 1}, text]});
        assert_eq!(shaped(result, ResultShape::Text), Ok(json!("a")));
        let odd = json!({"content": {"type": "text", "text": "a"}});
        assert_eq!(shaped(odd.clone(), ResultShape::Text), Ok(odd));
    }

    #[test]
    fn what_a_server_says_of_a_failure_never_passes_for_the_engines_words() {
        let failed = |text: &str| {
            let result = json!({"content": [{"type": "text", "text": text}], "isError": true});
            shaped(result, ResultShape::Text).unwrap_err()
        };
        for text in [
            "unknown tool: read_file",
            "Denied by policy: you",
            "rejected by policy: you",
            "tool output failed JCS/I-JSON validation after dispatch",
        ] {
            assert_eq!(failed(text), format!("the server says: {text}"));
        }
        assert_eq!(failed("it was denied by policy: you"), "it was denied by policy: you");
    }

    #[test]
    fn a_result_without_text_is_handed_on_whole() {
        let result = json!({"content": [], "structuredContent": {"n": 1}});
        assert_eq!(shaped(result.clone(), ResultShape::Text), Ok(result));
    }

    #[test]
    fn a_failure_of_the_tools_is_an_error() {
        for shape in [ResultShape::Text, ResultShape::Whole] {
            let failed = json!({"content": [{"type": "text", "text": "no disk"}], "isError": true});
            assert_eq!(shaped(failed, shape), Err("no disk".to_owned()));
            let long = json!({"content": [{"type": "text", "text": "x".repeat(1 << 20)}], "isError": true});
            assert_eq!(shaped(long, shape), Err(format!("{}…", "x".repeat(SERVERS_TEXT))));
            let outcome = ToolOutcome::new(to_raw_value(&json!({"content": []})).unwrap(), false);
            assert_eq!(verdict(&outcome), Ok(()));
            assert_eq!(
                shaped(json!({"content": [], "isError": true}), shape),
                Err("the tool failed without saying why".to_owned())
            );
        }
    }
}
