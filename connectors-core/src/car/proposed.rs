//! The arguments of a call as its proposal carries them. The call itself is made with the caller's own.

use std::borrow::Cow;

use serde_json::Value;

use super::digits;
use crate::schema::Validator;

/// A copy that the engine accepts wherever the schema accepts the arguments: without the `null`s that count as absent, and with
/// rounded numbers in place of integers that have too many digits.
pub(super) fn arguments(validator: Option<&Validator>, arguments: &Value) -> Value {
    let accepted = match validator {
        // Looking is cheaper than what `forgiven` does.
        Some(validator) if has_null(arguments) => {
            validator.forgiven(arguments).map_or(Cow::Borrowed(arguments), Cow::Owned)
        }
        _ => Cow::Borrowed(arguments),
    };
    if !digits::has_large(&accepted) {
        return accepted.into_owned();
    }
    let mut rounded = Value::clone(&accepted);
    digits::replace_large(&mut rounded, digits::rounded);
    if validator.is_none_or(|validator| validator.is_valid(&rounded)) {
        return rounded;
    }
    // As where the schema's bound is between the number and the rounded one.
    let mut bounded = accepted.into_owned();
    digits::replace_large(&mut bounded, digits::bounded);
    bounded
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::compile;

    fn proposed(schema: &Value, given: Value) -> Value {
        arguments(Some(&compile(schema).unwrap()), &given)
    }

    #[test]
    fn nulls_go_only_where_they_count_as_absent() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": ["string", "null"]}}});
        assert_eq!(proposed(&schema, json!({"a": 1, "b": null})), json!({"a": 1}));
        let wanted = json!({"a": 1, "c": null});
        assert_eq!(proposed(&schema, wanted.clone()), wanted);
        let refused = json!({"a": null, "b": null});
        assert_eq!(proposed(&schema, refused.clone()), refused);
    }

    #[test]
    fn integers_with_too_many_digits_are_rounded_wherever_they_are() {
        let given = json!({"at": [{"id": 1_234_567_890_123_456_789_i64}, u64::MAX, -1_234_567_890_123_456_789_i64],
            "kept": [9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0.5, "1", null]});
        let expected = json!({"at": [{"id": 1_234_567_890_123_456_789_i64 as f64}, u64::MAX as f64, -1_234_567_890_123_456_789_f64],
            "kept": [9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0.5, "1", null]});
        assert_eq!(proposed(&json!({}), given), expected);
    }

    #[test]
    fn a_number_that_rounding_takes_over_its_bound_is_cut_instead() {
        let schema = json!({"properties": {"n": {"type": "integer", "maximum": i64::MAX}}});
        assert_eq!(proposed(&schema, json!({"n": i64::MAX})), json!({"n": 9_007_199_254_740_991_i64}));
    }
}
