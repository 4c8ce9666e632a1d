//! Tools as servers define them, and the catalogue of one connector.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::connector::ToolOutcome;
use crate::digest::sha256_hex;
use crate::header_params::{self, HeaderParam};
use crate::limits::Limits;
use crate::protocol::shallow;
use crate::schema::{self, SchemaProblem, Validator};

/// Longest tool name that is accepted, in characters; the specification recommends at most 128.
const MAX_TOOL_NAME: usize = 256;

/// One tool, as the server defined it.
///
/// Only what every call needs is kept parsed; the definition itself stays the text that the server sent, unknown
/// members included.
#[derive(Debug)]
pub struct ToolDefinition {
    /// The server's name of the tool.
    pub name: String,
    /// What the server says of the tool's behaviour. It may only tighten what is asked of the user.
    pub annotations: ToolAnnotations,
    /// Parameters that a modern HTTP request mirrors into headers.
    pub header_params: Vec<HeaderParam>,
    raw: Box<RawValue>,
    /// [`Limits::description_bytes`].
    description_bytes: usize,
    fingerprint: OnceLock<String>,
    validator: OnceLock<Result<Arc<Validator>, SchemaProblem>>,
    has_output_schema: bool,
    output_validator: OnceLock<Option<Arc<Validator>>>,
}

/// Hints about a tool's behaviour; what is missing counts as the riskier value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// It changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It reaches beyond the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// A tool that was left out, and why. The others are not affected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QuarantinedTool {
    /// Its name, as far as it has one.
    pub name: String,
    /// One sentence.
    pub reason: String,
}

/// The members that are looked at when a definition arrives, as they are written; `null` counts as missing.
struct Members<'a> {
    name: Option<&'a str>,
    title: Option<&'a str>,
    description: Option<&'a str>,
    input_schema: Option<&'a str>,
    output_schema: Option<&'a str>,
    annotations: Option<&'a str>,
}

impl<'a> Members<'a> {
    /// `None` if the definition is not an object, or its name, title or description is not a string.
    fn of(definition: &'a RawValue) -> Option<Self> {
        let names = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];
        let found = shallow::members(definition.get(), names)?;
        let [name, title, description, input_schema, output_schema, annotations] =
            found.map(|member| member.filter(|member| *member != "null"));
        let is_text = |member: &Option<&str>| member.is_none_or(|member| member.starts_with('"'));
        [name, title, description].iter().all(is_text).then_some(Self {
            name,
            title,
            description,
            input_schema,
            output_schema,
            annotations,
        })
    }
}

/// Reads a member that is a string.
fn text(member: Option<&str>) -> String {
    member.and_then(|member| serde_json::from_str(member).ok()).unwrap_or_default()
}

impl ToolDefinition {
    /// Reads one element of a `tools/list` result. `mirrors_headers` applies the rules for `x-mcp-header`
    /// (2026-07-28, Streamable HTTP, custom headers).
    pub fn read(raw: &RawValue, limits: &Limits, mirrors_headers: bool) -> Result<Self, QuarantinedTool> {
        let quarantine =
            |name: &str, reason: String| QuarantinedTool { name: crate::text::display(name, 200), reason };
        let members = Members::of(raw).ok_or_else(|| {
            quarantine("", "its definition is not an object with the expected members".to_owned())
        })?;
        let name = text(members.name);
        if name.is_empty() || name.chars().count() > MAX_TOOL_NAME || name.chars().any(char::is_control) {
            return Err(quarantine(
                &name,
                "its name is empty, too long or holds control characters".to_owned(),
            ));
        }
        if raw.get().len() > limits.definition_bytes {
            let reason = format!("its definition is over the limit of {} bytes", limits.definition_bytes);
            return Err(quarantine(&name, reason));
        }
        let schema = members.input_schema.unwrap_or("{}");
        if !schema.starts_with('{') {
            return Err(quarantine(&name, "its input schema is not an object".to_owned()));
        }
        let header_params = if mirrors_headers && schema.contains(header_params::KEYWORD) {
            header_params::read(schema).map_err(|reason| quarantine(&name, reason))?
        } else {
            Vec::new()
        };
        Ok(Self {
            description_bytes: limits.description_bytes,
            annotations: members
                .annotations
                .and_then(|annotations| serde_json::from_str(annotations).ok())
                .unwrap_or_default(),
            header_params,
            raw: raw.to_owned(),
            fingerprint: OnceLock::new(),
            validator: OnceLock::new(),
            has_output_schema: members.output_schema.is_some(),
            output_validator: OnceLock::new(),
            name,
        })
    }

    /// The definition as the server sent it.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Display name. Untrusted text without control and bidirectional characters.
    pub fn title(&self) -> Option<String> {
        let title = Members::of(&self.raw)?.title;
        title.map(|title| crate::text::display(&text(Some(title)), 200))
    }

    /// Untrusted text, at most [`Limits::description_bytes`] long, without control and bidirectional characters; empty
    /// where the server gave none.
    pub fn description(&self) -> String {
        let description = Members::of(&self.raw).and_then(|members| members.description);
        crate::text::display(&text(description), self.description_bytes)
    }

    /// The input schema, verbatim; `{"type":"object"}` where the server gave none.
    pub fn input_schema(&self) -> Value {
        self.member("inputSchema").unwrap_or_else(|| serde_json::json!({"type": "object"}))
    }

    /// The output schema, verbatim.
    pub fn output_schema(&self) -> Option<Value> {
        self.member("outputSchema")
    }

    fn member(&self, name: &str) -> Option<Value> {
        let [member] = shallow::members(self.raw.get(), [name])?;
        serde_json::from_str(member?).ok()
    }

    /// SHA-256, in hexadecimal, of what the user approves: name, title, description, schemas, annotations and icons, in
    /// canonical JSON (RFC 8785).
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| self.digest(true))
    }

    /// The fingerprint without the name: equal for a tool that was only renamed.
    pub fn body_fingerprint(&self) -> String {
        self.digest(false)
    }

    /// True if this definition is the other one but for `x-mcp-header` annotations.
    pub(crate) fn differs_in_headers_only(&self, other: &Self) -> bool {
        let without = |tool: &Self| {
            let mut definition: Value = serde_json::from_str(tool.raw.get()).unwrap_or_default();
            header_params::strip(&mut definition["inputSchema"]);
            definition
        };
        without(self) == without(other)
    }

    fn digest(&self, with_name: bool) -> String {
        const APPROVED: [&str; 6] =
            ["title", "description", "inputSchema", "outputSchema", "annotations", "icons"];
        let mut approved: serde_json::Map<String, Value> =
            serde_json::from_str(self.raw.get()).unwrap_or_default();
        approved.retain(|key, _| APPROVED.contains(&key.as_str()) || (with_name && key == "name"));
        let approved = Value::Object(approved);
        // A number that RFC 8785 cannot write leaves the server's own spelling as the thing approved.
        let canonical =
            serde_json_canonicalizer::to_vec(&approved).unwrap_or_else(|_| approved.to_string().into_bytes());
        sha256_hex(canonical)
    }

    /// What is wrong with a result's `structuredContent`, by the tool's output schema; empty where there is none, or none
    /// that can be used (2026-07-28, server, tools, output schema).
    pub fn output_problems(&self, outcome: &ToolOutcome) -> Vec<String> {
        if !self.has_output_schema || outcome.is_error() {
            return Vec::new();
        }
        let compiled = self.output_validator.get_or_init(|| {
            let compiled = schema::compile(&self.output_schema()?);
            if compiled.is_err() {
                tracing::warn!(tool = self.name, "its output schema cannot be used; results are not checked");
            }
            compiled.ok().map(Arc::new)
        });
        match (compiled, outcome.structured_content()) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec!["/: structuredContent is missing".to_owned()],
            (Some(validator), Some(content)) => validator.problems(&content),
        }
    }

    /// The compiled input schema; compiled on first use, once.
    pub fn validator(&self) -> Result<&Arc<Validator>, &SchemaProblem> {
        self.validator.get_or_init(|| schema::compile(&self.input_schema()).map(Arc::new)).as_ref()
    }
}

/// What one `tools/list`, all pages together, said.
#[derive(Debug, Clone)]
pub struct ToolCatalog {
    /// The usable tools, in the server's order, without two of one name.
    pub tools: Vec<Arc<ToolDefinition>>,
    /// The ones left out.
    pub quarantined: Vec<QuarantinedTool>,
    /// When the last page arrived.
    pub fetched_at: SystemTime,
    /// How long the server calls it fresh, if it says so.
    pub ttl: Option<Duration>,
}

impl ToolCatalog {
    /// The tool with this server-side name.
    pub fn get(&self, name: &str) -> Option<&Arc<ToolDefinition>> {
        self.tools.iter().find(|tool| tool.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ToolDefinition, QuarantinedTool> {
        ToolDefinition::read(&RawValue::from_string(text.to_owned()).unwrap(), &Limits::default(), true)
    }

    #[test]
    fn the_definition_keeps_what_the_server_sent() {
        let text =
            r#"{"name":"t","inputSchema":{"type":"object","$defs":{"a":{"$anchor":"x"}}},"future":[1]}"#;
        let tool = read(text).unwrap();
        assert_eq!(tool.raw().get(), text);
        assert_eq!(tool.input_schema()["$defs"]["a"]["$anchor"], "x");
    }

    #[test]
    fn the_fingerprint_ignores_key_order_and_unapproved_members() {
        let a = read(r#"{"name":"t","description":"d","inputSchema":{"type":"object","required":["x"]}}"#)
            .unwrap();
        let b = read(r#"{"_meta":{"n":1},"inputSchema":{"required":["x"],"type":"object"},"description":"d","name":"t"}"#)
            .unwrap();
        assert_eq!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn every_approved_member_changes_the_fingerprint() {
        let base = r#"{"name":"t","title":"T","description":"d","inputSchema":{"type":"object"},"outputSchema":{"type":"object"},"annotations":{"readOnlyHint":true},"icons":[]}"#;
        let fingerprint = read(base).unwrap().fingerprint().to_owned();
        for (from, to) in [
            (r#""name":"t""#, r#""name":"u""#),
            (r#""title":"T""#, r#""title":"U""#),
            (r#""description":"d""#, r#""description":"e""#),
            (r#""inputSchema":{"type":"object"}"#, r#""inputSchema":{"type":"object","x":1}"#),
            (r#""outputSchema":{"type":"object"}"#, r#""outputSchema":{"type":"object","x":1}"#),
            (r#""readOnlyHint":true"#, r#""readOnlyHint":false"#),
            (r#""icons":[]"#, r#""icons":[{"src":"https://x"}]"#),
        ] {
            let changed = read(&base.replace(from, to)).unwrap();
            assert_ne!(changed.fingerprint(), fingerprint, "{to}");
        }
    }

    #[test]
    fn a_renamed_tool_keeps_its_body_fingerprint() {
        let a = read(r#"{"name":"a","description":"d","inputSchema":{}}"#).unwrap();
        let b = read(r#"{"name":"b","description":"d","inputSchema":{}}"#).unwrap();
        assert_eq!(a.body_fingerprint(), b.body_fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn what_cannot_be_used_is_quarantined_with_the_reason() {
        let reason = |text: &str| read(text).unwrap_err().reason;
        assert!(reason(r#"{"description":"nameless"}"#).contains("name is empty"));
        assert!(reason("{\"name\":\"a\\u0000b\"}").contains("control characters"));
        assert!(reason(r#"{"name":"a","inputSchema":[]}"#).contains("not an object"));
        assert!(reason("[]").contains("not an object with"));
        assert!(
            reason(&format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(2 << 20)))
                .contains("over the limit")
        );
    }

    #[test]
    fn hidden_characters_are_stripped_from_what_is_shown() {
        let tool = read("{\"name\":\"t\",\"description\":\"safe\\u202e\\u001b[31m evil\\u200b\"}").unwrap();
        assert_eq!(tool.description(), "safe[31m evil");
    }
}
