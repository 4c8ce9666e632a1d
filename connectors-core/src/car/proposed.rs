//! The arguments of a call as its proposal carries them. The call itself is made with the caller's own.

use serde_json::{Number, Value};

use crate::schema::Validator;

/// The largest integer that the engine digests: beyond it not every JSON reader has all digits.
const LARGEST: i64 = (1 << 53) - 1;

/// A copy that the engine accepts wherever the schema accepts the arguments: without the `null`s that count as absent, and with
/// rounded numbers in place of integers that have too many digits.
pub(super) fn arguments(validator: Option<&Validator>, arguments: &Value) -> Value {
    let accepted =
        validator.and_then(|validator| validator.forgiven(arguments)).unwrap_or_else(|| arguments.clone());
    let mut rounded = accepted.clone();
    if !replace_large(&mut rounded, rounded_number) {
        return accepted;
    }
    if validator.is_some_and(|validator| !validator.is_valid(&rounded)) {
        // As where the schema's bound is between the number and the rounded one.
        let mut bounded = accepted;
        replace_large(&mut bounded, bounded_number);
        return bounded;
    }
    rounded
}

fn rounded_number(number: &Number) -> Number {
    number.as_f64().and_then(Number::from_f64).unwrap_or_else(|| bounded_number(number))
}

fn bounded_number(number: &Number) -> Number {
    // What is no `i64` is larger than any.
    number.as_i64().unwrap_or(i64::MAX).clamp(-LARGEST, LARGEST).into()
}

/// True if there was any.
fn replace_large(value: &mut Value, by: fn(&Number) -> Number) -> bool {
    match value {
        Value::Number(number) if is_large(number) => {
            *number = by(number);
            true
        }
        Value::Array(items) => {
            items.iter_mut().fold(false, |replaced, item| replace_large(item, by) | replaced)
        }
        Value::Object(members) => {
            members.values_mut().fold(false, |replaced, member| replace_large(member, by) | replaced)
        }
        _ => false,
    }
}

fn is_large(number: &Number) -> bool {
    !number.is_f64() && number.as_i64().is_none_or(|number| !(-LARGEST..=LARGEST).contains(&number))
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
