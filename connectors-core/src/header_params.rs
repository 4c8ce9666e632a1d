//! Tool parameters that are mirrored into headers: the `x-mcp-header` keyword (2026-07-28, Streamable HTTP, custom
//! headers from tool parameters).

use std::collections::HashSet;

use serde_json::Value;

/// The schema keyword.
pub const KEYWORD: &str = "x-mcp-header";

/// Integers that a header may carry are those that every JSON reader agrees on.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// One annotated parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderParam {
    /// The suffix of `Mcp-Param-`.
    pub header: String,
    /// The chain of `properties` keys that leads to the value.
    path: Vec<String>,
}

impl HeaderParam {
    /// The header's value for these arguments; `None` where the parameter is absent, `null`, or not of a type that a
    /// header can carry.
    pub fn value(&self, arguments: &Value) -> Option<String> {
        let mut value = arguments;
        for key in &self.path {
            value = value.get(key)?;
        }
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => integer(number).map(|n| n.to_string()),
            _ => None,
        }
    }
}

fn integer(number: &serde_json::Number) -> Option<i64> {
    let n = match (number.as_i64(), number.as_f64()) {
        (Some(n), _) => n,
        // `42.0` is the integer 42.
        #[expect(clippy::cast_possible_truncation, reason = "fraction and range are checked")]
        (None, Some(f)) if f.fract() == 0.0 && f.abs() <= MAX_SAFE_INTEGER as f64 => f as i64,
        _ => return None,
    };
    (n.abs() <= MAX_SAFE_INTEGER).then_some(n)
}

/// Finds the annotated parameters of an input schema, or says why the tool has to be left out.
pub fn read(schema: &str) -> Result<Vec<HeaderParam>, String> {
    let schema: Value =
        serde_json::from_str(schema).map_err(|_| "its input schema is not JSON".to_owned())?;
    let mut found = Vec::new();
    let mut path = Vec::new();
    walk(&schema, true, &mut path, &mut found)?;
    let mut seen = HashSet::new();
    for param in &found {
        if !seen.insert(param.header.to_ascii_lowercase()) {
            return Err(format!("two of its parameters share the `{KEYWORD}` {:?}", param.header));
        }
    }
    Ok(found)
}

/// Visits a schema; `reachable` while the way from the root has led through `properties` alone.
fn walk(
    schema: &Value,
    reachable: bool,
    path: &mut Vec<String>,
    found: &mut Vec<HeaderParam>,
) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, false, path, found)),
        Value::Object(members) => {
            if let Some(header) = members.get(KEYWORD) {
                let header = checked(header, members.get("type"), reachable && !path.is_empty())?;
                found.push(HeaderParam { header, path: path.clone() });
            }
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("properties", Value::Object(properties)) if reachable => {
                        for (name, property) in properties {
                            path.push(name.clone());
                            walk(property, true, path, found)?;
                            path.pop();
                        }
                    }
                    // Data, not schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    (_, member) => walk(member, false, path, found)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Removes every annotation from a schema.
pub(crate) fn strip(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Object(members) => {
            members.shift_remove(KEYWORD);
            members.values_mut().for_each(strip);
        }
        _ => {}
    }
}

fn checked(header: &Value, kind: Option<&Value>, reachable: bool) -> Result<String, String> {
    let header = header.as_str().ok_or_else(|| format!("an `{KEYWORD}` is not a string"))?;
    if header.is_empty() || !header.bytes().all(is_tchar) {
        return Err(format!("an `{KEYWORD}` is not an HTTP field name"));
    }
    if !reachable {
        return Err(format!(
            "the `{KEYWORD}` {header:?} is on a parameter that is not reachable through `properties`"
        ));
    }
    match kind.and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(header.to_owned()),
        _ => Err(format!(
            "the `{KEYWORD}` {header:?} is on a parameter that is not a string, integer or boolean"
        )),
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
pub(crate) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(properties: Value) -> String {
        json!({"type": "object", "properties": properties}).to_string()
    }

    #[test]
    fn values_are_read_at_the_exact_path_and_written_as_the_specification_says() {
        let params = read(&schema(json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "n": {"type": "integer", "x-mcp-header": "N"},
            "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
            "plain": {"type": "string"}
        })))
        .unwrap();
        let values = |arguments: Value| -> Vec<_> { params.iter().map(|p| p.value(&arguments)).collect() };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            values(json!({"region": "", "n": -7, "deep": {"flag": false}, "plain": "x"})),
            [some(""), some("-7"), some("false")]
        );
        assert_eq!(values(json!({"region": null, "n": 42.0})), [None, some("42"), None]);
        assert_eq!(values(json!({"n": 1.5})), [None, None, None]);
        assert_eq!(values(json!({"n": (1i64 << 53)})), [None, None, None]);
    }

    #[test]
    fn each_violation_excludes_the_tool() {
        let bad = [
            json!({"a": {"type": "string", "x-mcp-header": ""}}),
            json!({"a": {"type": "string", "x-mcp-header": "with space"}}),
            json!({"a": {"type": "string", "x-mcp-header": "co:lon"}}),
            json!({"a": {"type": "string", "x-mcp-header": "é"}}),
            json!({"a": {"type": "string", "x-mcp-header": "ta\tb"}}),
            json!({"a": {"type": "string", "x-mcp-header": 5}}),
            json!({"a": {"type": "number", "x-mcp-header": "A"}}),
            json!({"a": {"type": "object", "x-mcp-header": "A"}}),
            json!({"a": {"type": "array", "x-mcp-header": "A"}}),
            json!({"a": {"type": "null", "x-mcp-header": "A"}}),
            json!({"a": {"x-mcp-header": "A"}}),
            json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}),
            json!({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}),
        ];
        for properties in bad {
            assert!(read(&schema(properties.clone())).is_err(), "{properties}");
        }
        let at_the_root = json!({"type": "string", "x-mcp-header": "A"}).to_string();
        assert!(read(&at_the_root).is_err());
    }

    #[test]
    fn a_default_that_looks_like_an_annotation_is_data() {
        assert_eq!(
            read(&schema(json!({"a": {"type": "object", "default": {"x-mcp-header": "A"}}}))),
            Ok(vec![])
        );
    }
}
