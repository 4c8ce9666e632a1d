//! What becomes of a server's result.

use car_ir::ToolFailure;
use serde::Deserialize;
use serde_json::Value;

use crate::connector::ToolOutcome;
use crate::error::ConnectorError;

/// Longest text of a failure that is passed on, in bytes: failures stay in event logs.
const SERVERS_TEXT: usize = 4 << 10;

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
        Some(text) => crate::text::display(&text, SERVERS_TEXT),
        None => "the tool failed without saying why".to_owned(),
    })
}

/// The text blocks; `None` if there are none.
fn text(outcome: &ToolOutcome) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        content: Vec<Block>,
    }
    #[derive(Deserialize)]
    struct Block {
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default)]
        text: Option<String>,
    }
    let body: Body = serde_json::from_str(outcome.raw().get()).ok()?;
    let is_text = |block: Block| (block.kind == "text").then_some(block.text).flatten();
    let texts: Vec<String> = body.content.into_iter().filter_map(is_text).collect();
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
