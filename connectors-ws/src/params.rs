//! Reading parameters: the field that is missing or wrong is named, what was sent in it is not repeated.

use std::num::NonZeroU64;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{ErrorObject, code};

/// Longest display name, in characters.
const MAX_NAME: usize = 200;

/// Reads the parameters of a method. Absent or `null` ones are `{}`; unknown members are ignored, so that a newer
/// client can talk to an older server.
pub(crate) fn read<P: DeserializeOwned>(params: Option<&RawValue>) -> Result<P, ErrorObject> {
    let text = match params.map(RawValue::get) {
        None | Some("null") => "{}",
        Some(text) => text,
    };
    if !text.trim_start().starts_with('{') {
        return Err(ErrorObject::plain(
            code::INVALID_PARAMS,
            "invalid params: `params` has to be an object with named members",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let (field, problem) = explain(&path, &error.inner().to_string());
        ErrorObject::invalid_params(&field, &problem)
    })
}

/// Turns serde's words into ours. They may quote the value, which may be a secret: only what was expected is kept.
fn explain(path: &str, message: &str) -> (String, String) {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let member = |rest: &str| {
        let name = rest.trim_matches('`');
        if path == "." { name.to_owned() } else { format!("{path}.{name}") }
    };
    if let Some(rest) = message.strip_prefix("missing field ") {
        return (member(rest), "is missing".to_owned());
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        return (member(rest), "is there twice".to_owned());
    }
    let problem = if message.starts_with("invalid ") || message.starts_with("unknown variant ") {
        match message.rsplit_once(", expected ") {
            Some((_, expected)) => format!("has to be {}", in_json_words(expected)),
            None => "cannot be read".to_owned(),
        }
    } else {
        message.to_owned()
    };
    (path.to_owned(), problem)
}

fn in_json_words(expected: &str) -> &str {
    match expected {
        "a map" => "an object",
        "a sequence" => "an array",
        "a boolean" => "true or false",
        "u32" | "u64" | "i64" => "an integer",
        _ if expected.starts_with("struct ") => "an object",
        other => other,
    }
}

/// A display name: not empty, not longer than 200 characters.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_name(&name).map_err(serde::de::Error::custom)?;
    Ok(name)
}

/// As [`name`], where it may be left out.
pub(crate) fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    if let Some(name) = &name {
        check_name(name).map_err(serde::de::Error::custom)?;
    }
    Ok(name)
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        return Err("must not be empty");
    }
    if name.chars().count() > MAX_NAME {
        return Err("must not be longer than 200 characters");
    }
    Ok(())
}

/// A number of milliseconds, which may be left out.
pub(crate) fn optional_millis<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NonZeroU64>, D::Error> {
    Option::<NonZeroU64>::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom("has to be a positive whole number of milliseconds"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Params {
        #[serde(deserialize_with = "name")]
        name: String,
        #[serde(default)]
        headers: Option<BTreeMap<String, SecretString>>,
        #[serde(default)]
        arguments: Option<serde_json::Map<String, serde_json::Value>>,
        #[serde(default, deserialize_with = "optional_millis")]
        timeout_ms: Option<NonZeroU64>,
        #[serde(default)]
        tools: Vec<String>,
        #[serde(default)]
        disabled: bool,
    }

    fn refusal(params: &str) -> String {
        let raw = RawValue::from_string(params.to_owned()).unwrap();
        let error = read::<Params>(Some(&raw)).unwrap_err();
        assert_eq!(error.code, -32602);
        error.message
    }

    #[test]
    fn unknown_members_are_ignored_and_nulls_are_as_good_as_absent() {
        let raw = RawValue::from_string(r#"{"name":"a","future":{},"headers":null}"#.to_owned()).unwrap();
        assert!(read::<Params>(Some(&raw)).unwrap().headers.is_none());
    }

    #[test]
    fn the_field_is_named_and_its_value_is_not_repeated() {
        for (params, message) in [
            ("{}", "`name`: is missing"),
            (r#"{"name":7}"#, "`name`: has to be a string"),
            (r#"{"name":" "}"#, "`name`: must not be empty"),
            (r#"{"name":"a","name":"b"}"#, "`name`: is there twice"),
            (r#"{"name":"a","headers":"hunter2, expected nothing"}"#, "`headers`: has to be an object"),
            (r#"{"name":"a","headers":{"X-Key":42}}"#, "`headers.X-Key`: has to be a string"),
            (r#"{"name":"a","arguments":[]}"#, "`arguments`: has to be an object"),
            (r#"{"name":"a","tools":["a",1]}"#, "`tools[1]`: has to be a string"),
            (r#"{"name":"a","tools":"a"}"#, "`tools`: has to be an array"),
            (r#"{"name":"a","disabled":"yes"}"#, "`disabled`: has to be true or false"),
        ] {
            assert_eq!(refusal(params), format!("invalid params: {message}"));
        }
        for value in ["0", "-1", "1.5", r#""1""#] {
            assert_eq!(
                refusal(&format!(r#"{{"name":"a","timeout_ms":{value}}}"#)),
                "invalid params: `timeout_ms`: has to be a positive whole number of milliseconds"
            );
        }
        let long = "x".repeat(201);
        assert_eq!(
            refusal(&format!(r#"{{"name":"{long}"}}"#)),
            "invalid params: `name`: must not be longer than 200 characters"
        );
    }

    #[test]
    fn positional_parameters_are_refused() {
        for params in ["[]", "7", r#""x""#] {
            assert_eq!(refusal(params), "invalid params: `params` has to be an object with named members");
        }
    }

    #[test]
    fn absent_parameters_are_an_empty_object() {
        assert_eq!(read::<Params>(None).unwrap_err().message, "invalid params: `name`: is missing");
    }
}
