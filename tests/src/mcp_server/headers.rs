//! What a modern server demands of a request's headers (2026-07-28, Streamable HTTP, request metadata).

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::engine::{Failure, MODERN, check_meta};
use super::tool::Tool;

/// `HeaderMismatch`.
const MISMATCH: i64 = -32020;

/// Checks a modern request: version, `_meta`, and every mirrored header.
pub(crate) fn check(
    headers: &HeaderMap,
    method: &str,
    params: &Value,
    tools: &[Tool],
) -> Result<(), Failure> {
    let version = text(headers, "mcp-protocol-version")?
        .ok_or_else(|| Failure::new(MISMATCH, "the MCP-Protocol-Version header is missing"))?;
    let declared = check_meta(params)?;
    if *declared != *version {
        return Err(mismatch("MCP-Protocol-Version", &version));
    }
    if version != MODERN {
        return Err(Failure::unsupported_version(declared));
    }
    equal(headers, "mcp-method", Some(method), false)?;
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    if name.is_some() {
        equal(headers, "mcp-name", name, true)?;
    }
    if method == "tools/call"
        && let Some(tool) = tools.iter().find(|tool| Some(tool.name()) == name)
    {
        mirrored(headers, &tool.definition()["inputSchema"], &params["arguments"])?;
    }
    Ok(())
}

/// Checks `Mcp-Param-*` of the annotated properties of `schema`, nested ones included.
fn mirrored(headers: &HeaderMap, schema: &Value, arguments: &Value) -> Result<(), Failure> {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let value = &arguments[key];
        if let Some(suffix) = property["x-mcp-header"].as_str() {
            let expected = match value {
                Value::String(text) => Some(text.clone()),
                Value::Bool(flag) => Some(flag.to_string()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            equal(headers, &format!("mcp-param-{}", suffix.to_lowercase()), expected.as_deref(), true)?;
        }
        mirrored(headers, property, value)?;
    }
    Ok(())
}

/// Checks that a header is there with the value that the body has, or not there if the body has none.
fn equal(headers: &HeaderMap, name: &str, expected: Option<&str>, encoded: bool) -> Result<(), Failure> {
    let mut found = text(headers, name)?;
    if encoded && let Some(value) = found.take() {
        found = Some(decode(name, value)?);
    }
    match (&found, expected) {
        (None, Some(_)) => Err(Failure::new(MISMATCH, format!("the {name} header is missing"))),
        (Some(value), expected) if expected != Some(value) => Err(mismatch(name, value)),
        _ => Ok(()),
    }
}

fn mismatch(name: &str, value: &str) -> Failure {
    Failure::new(MISMATCH, format!("the {name} header value '{value}' does not match the body"))
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    headers
        .get(name)
        .map(|value| {
            value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| Failure::new(MISMATCH, format!("the {name} header holds invalid characters")))
        })
        .transpose()
}

/// Undoes the Base64 sentinel.
fn decode(name: &str, value: String) -> Result<String, Failure> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value);
    };
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Failure::new(MISMATCH, format!("the {name} header is not valid Base64 of UTF-8")))
}
