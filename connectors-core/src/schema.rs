//! JSON Schema: compiling a tool's input schema and checking arguments against it.

use serde_json::Value;

/// Largest number of failing paths that are reported.
const MAX_PROBLEMS: usize = 8;

/// Deepest nesting of a schema that is compiled.
const MAX_DEPTH: usize = 64;

/// Most subschemas (objects, roughly) that are compiled.
const MAX_NODES: usize = 20_000;

/// A schema that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its input schema cannot be used: {0}")]
pub struct SchemaProblem(String);

/// A compiled schema.
#[derive(Debug)]
pub struct Validator(jsonschema::Validator);

/// Compiles a schema: draft 2020-12 unless `$schema` names another. References outside the schema are never fetched;
/// a schema that needs one cannot be used (2026-07-28, base protocol, `$ref` resolution).
pub fn compile(schema: &Value) -> Result<Validator, SchemaProblem> {
    let mut nodes = 0;
    measure(schema, 0, &mut nodes)?;
    let validator = jsonschema::options()
        .with_retriever(NoRetrieval)
        // Without backtracking, so that a pattern costs what its input is long.
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .map_err(|error| SchemaProblem(crate::text::display(&error.to_string(), 300)))?;
    Ok(Validator(validator))
}

impl Validator {
    /// The paths of a call's arguments that fail. A `null` member counts as absent where the schema does not want it:
    /// models write it for parameters that they leave out.
    pub fn problems_of_arguments(&self, arguments: &Value) -> Vec<String> {
        let problems = self.problems(arguments);
        if problems.is_empty() {
            return problems;
        }
        match self.pruned(arguments) {
            Some(_) => Vec::new(),
            None => problems,
        }
    }

    /// The arguments without their `null` members, where [`problems_of_arguments`](Self::problems_of_arguments) accepts them
    /// for the lack of those only.
    pub fn forgiven(&self, arguments: &Value) -> Option<Value> {
        if self.is_valid(arguments) { None } else { self.pruned(arguments) }
    }

    fn pruned(&self, arguments: &Value) -> Option<Value> {
        without_nulls(arguments).filter(|pruned| self.is_valid(pruned))
    }

    /// True if the instance is valid as it is.
    pub fn is_valid(&self, instance: &Value) -> bool {
        self.0.is_valid(instance)
    }

    /// The paths that fail, as `path: problem`; empty if the instance is valid.
    pub fn problems(&self, instance: &Value) -> Vec<String> {
        self.0
            .iter_errors(instance)
            .take(MAX_PROBLEMS)
            .map(|error| {
                let path = error.instance_path().to_string();
                let path = if path.is_empty() { "/" } else { &path };
                // The masked text names the rule without quoting the value, which may be a secret.
                format!("{path}: {}", crate::text::display(&error.masked().to_string(), 300))
            })
            .collect()
    }
}

/// A copy without the `null` members of objects; `None` if there are none.
fn without_nulls(value: &Value) -> Option<Value> {
    fn prune(value: &mut Value) -> bool {
        match value {
            Value::Object(members) => {
                let before = members.len();
                members.retain(|_, member| !member.is_null());
                let removed = members.len() < before;
                members.values_mut().fold(removed, |removed, member| prune(member) | removed)
            }
            Value::Array(items) => items.iter_mut().fold(false, |removed, item| prune(item) | removed),
            _ => false,
        }
    }
    let mut pruned = value.clone();
    prune(&mut pruned).then_some(pruned)
}

fn measure(schema: &Value, depth: usize, nodes: &mut usize) -> Result<(), SchemaProblem> {
    *nodes += 1;
    if depth > MAX_DEPTH || *nodes > MAX_NODES {
        return Err(SchemaProblem("it is too deep or too large".to_owned()));
    }
    match schema {
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, depth + 1, nodes)),
        Value::Object(members) => members.values().try_for_each(|member| measure(member, depth + 1, nodes)),
        _ => Ok(()),
    }
}

struct NoRetrieval;

impl jsonschema::Retrieve for NoRetrieval {
    fn retrieve(
        &self,
        _: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("it refers to another document, which is never fetched".into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_failing_paths_are_named_without_their_values() {
        let validator = compile(&json!({
            "type": "object", "required": ["a"],
            "properties": {"b": {"type": "object", "properties": {"c": {"type": "integer"}}}}
        }))
        .unwrap();
        let problems = validator.problems(&json!({"b": {"c": "hunter2"}}));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("/b/c: ")), "{problems:?}");
        assert!(!problems.join(" ").contains("hunter2"), "{problems:?}");
        assert_eq!(validator.problems(&json!({"a": 1})), Vec::<String>::new());
    }

    #[test]
    fn a_null_argument_counts_as_absent_unless_it_is_required_or_wanted() {
        let validator = compile(&json!({
            "type": "object", "required": ["a"],
            "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"}}
        }))
        .unwrap();
        let problems = |arguments| validator.problems_of_arguments(&arguments).len();
        assert_eq!(problems(json!({"a": 1, "b": null, "c": null})), 0);
        assert_eq!(problems(json!({"a": null})), 1);
        assert_eq!(problems(json!({"a": 1, "b": 2})), 1);
        let forgiven = |arguments| validator.forgiven(&arguments);
        assert_eq!(forgiven(json!({"a": 1, "b": null, "c": null})), Some(json!({"a": 1})));
        assert_eq!(forgiven(json!({"a": 1, "c": null})), None);
        assert_eq!(forgiven(json!({"a": null})), None);
    }

    #[test]
    fn draft_7_is_recognised_by_its_schema_keyword() {
        let draft_7 =
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]});
        assert_eq!(compile(&draft_7).unwrap().problems(&json!(["x"])).len(), 1);
        let draft_2020 = json!({"prefixItems": [{"type": "integer"}]});
        assert_eq!(compile(&draft_2020).unwrap().problems(&json!(["x"])).len(), 1);
    }

    #[test]
    fn an_external_reference_is_never_fetched() {
        let problem = compile(&json!({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}})).unwrap_err();
        assert!(problem.to_string().contains("cannot be used"), "{problem}");
    }

    #[test]
    fn a_schema_that_is_too_deep_is_refused() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({"not": inner}));
        assert!(compile(&deep).is_err());
    }
}
