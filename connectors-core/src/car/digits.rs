//! Integers with more digits than the engine takes: beyond 2⁵³ - 1 not every JSON reader has all of them.

use serde_json::{Number, Value};

const LARGEST: i64 = (1 << 53) - 1;

/// True if there is such an integer anywhere in the value.
pub(super) fn has_large(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_large(number),
        Value::Array(items) => items.iter().any(has_large),
        Value::Object(members) => members.values().any(has_large),
        _ => false,
    }
}

/// Puts other numbers in the place of all of them.
pub(super) fn replace_large(value: &mut Value, by: fn(&Number) -> Number) {
    match value {
        Value::Number(number) if is_large(number) => *number = by(number),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_large(item, by)),
        Value::Object(members) => members.values_mut().for_each(|member| replace_large(member, by)),
        _ => {}
    }
}

/// The nearest number with fewer digits.
pub(super) fn rounded(number: &Number) -> Number {
    number.as_f64().and_then(Number::from_f64).unwrap_or_else(|| bounded(number))
}

/// The nearest integer that is taken.
pub(super) fn bounded(number: &Number) -> Number {
    // What is no `i64` is larger than any.
    number.as_i64().unwrap_or(i64::MAX).clamp(-LARGEST, LARGEST).into()
}

fn is_large(number: &Number) -> bool {
    !number.is_f64() && number.as_i64().is_none_or(|number| !(-LARGEST..=LARGEST).contains(&number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_integers_beyond_the_bound_are_replaced() {
        let kept = json!({"kept": [9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 1e300, "1", null]});
        assert!(!has_large(&kept));
        let mut same = kept.clone();
        replace_large(&mut same, rounded);
        assert_eq!(same, kept);
        let large = json!([{"n": 9_007_199_254_740_993_i64}, [-9_007_199_254_740_992_i64], u64::MAX]);
        assert!(has_large(&large));
        let replaced = |by: fn(&Number) -> Number| {
            let mut value = large.clone();
            replace_large(&mut value, by);
            assert!(!has_large(&value));
            value
        };
        assert_eq!(
            replaced(rounded),
            json!([{"n": 9_007_199_254_740_992_f64}, [-9_007_199_254_740_992_f64], u64::MAX as f64])
        );
        assert_eq!(replaced(bounded), json!([{"n": LARGEST}, [-LARGEST], LARGEST]));
    }
}
