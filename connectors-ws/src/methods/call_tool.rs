//! `connectors.call_tool`

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use connectors_core::Slug;
use connectors_core::manager::{CallRequest, CallResult};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Context, Method};
use crate::error::ErrorObject;
use crate::params;

pub(crate) struct CallTool;

/// One call of an enabled tool.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// The connector.
    slug: Slug,
    /// The server's name of the tool.
    tool: String,
    /// The arguments; `{}` if absent.
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    /// Longest duration, in milliseconds; the connector's limits if absent.
    #[serde(default, deserialize_with = "params::optional_millis")]
    timeout_ms: Option<NonZeroU64>,
    /// An id for `connectors.cancel` and events; made up if absent.
    #[serde(default)]
    call_id: Option<Arc<str>>,
}

impl Method for CallTool {
    const NAME: &'static str = "connectors.call_tool";
    const SUMMARY: &'static str =
        "Calls an enabled tool. A failure of the tool's own is a result with `isError`.";
    const ERRORS: &'static [&'static str] = &[
        "connector_not_found",
        "unknown_tool",
        "sign_in_required",
        "not_connected",
        "upstream_error",
        "upstream_protocol",
        "limit_exceeded",
        "timeout",
        "invalid_arguments",
        "cancelled",
    ];
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let arguments = Value::Object(params.arguments.unwrap_or_default());
        let mut request = CallRequest::new(params.slug, params.tool, arguments);
        request.timeout = params.timeout_ms.map(|millis| Duration::from_millis(millis.get()));
        request.call_id = params.call_id;
        // Polled here and not on a task of its own: a caller that goes away takes its calls along.
        Ok(Output(context.dispatcher.call_tool(request).await?))
    }
}

/// The server's result, member by member as it came, with the members of ours.
pub(crate) struct Output(CallResult);

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let duration = u64::try_from(self.0.duration.as_millis()).unwrap_or(u64::MAX);
        let ours = Ours {
            call_id: &self.0.call_id,
            duration_ms: duration,
            output_problems: &self.0.output_problems,
        };
        splice(self.0.outcome.raw(), &ours, serializer)
    }
}

/// The members that are added to the server's.
struct Ours<'a> {
    call_id: &'a str,
    duration_ms: u64,
    output_problems: &'a [String],
}

fn splice<S: Serializer>(raw: &RawValue, ours: &Ours<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let Members(members) = serde_json::from_str(raw.get()).map_err(serde::ser::Error::custom)?;
    let mut map = serializer.serialize_map(None)?;
    let mut has_is_error = false;
    for (name, value) in members {
        has_is_error |= name == "isError";
        if !["call_id", "duration_ms", "output_problems"].contains(&&*name) {
            map.serialize_entry(&name, value)?;
        }
    }
    if !has_is_error {
        // The specification's default, spelled out for callers that do not know it.
        map.serialize_entry("isError", &false)?;
    }
    map.serialize_entry("call_id", ours.call_id)?;
    map.serialize_entry("duration_ms", &ours.duration_ms)?;
    if !ours.output_problems.is_empty() {
        map.serialize_entry("output_problems", ours.output_problems)?;
    }
    map.end()
}

/// The members of an object in their order, unparsed.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((member.0.0, member.1));
                }
                Ok(Members(members))
            }
        }

        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        deserializer.deserialize_map(Collect)
    }
}

impl JsonSchema for Output {
    fn schema_name() -> Cow<'static, str> {
        "CallToolResult".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The server's `CallToolResult`, all members as they came, and some of ours.",
            "type": "object",
            "properties": {
                "content": {
                    "description": "Content blocks, as the Model Context Protocol defines them. Untrusted.",
                    "type": "array",
                    "items": {"type": "object"}
                },
                "structuredContent": {"description": "The result as data. Untrusted."},
                "isError": {"description": "True if the tool itself failed.", "type": "boolean"},
                "call_id": {"description": "The call's id.", "type": "string"},
                "duration_ms": {
                    "description": "From admission to answer, in milliseconds.",
                    "type": "integer",
                    "minimum": 0
                },
                "output_problems": {
                    "description": "What is wrong with `structuredContent` by the tool's output schema; absent if nothing.",
                    "type": "array",
                    "items": {"type": "string"}
                }
            },
            "required": ["isError", "call_id", "duration_ms"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(result: &str) -> String {
        let raw = RawValue::from_string(result.to_owned()).unwrap();
        let mut text = Vec::new();
        let ours = Ours { call_id: "c1", duration_ms: 7, output_problems: &[] };
        splice(&raw, &ours, &mut serde_json::Serializer::new(&mut text)).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_servers_members_stay_as_they_came() {
        assert_eq!(
            spliced(r#"{"content":[ {"n":1.0} ],"isError":true,"_meta":{"b":1,"a":2}}"#),
            r#"{"content":[ {"n":1.0} ],"isError":true,"_meta":{"b":1,"a":2},"call_id":"c1","duration_ms":7}"#
        );
    }

    #[test]
    fn a_missing_is_error_is_spelled_out() {
        assert_eq!(spliced("{}"), r#"{"isError":false,"call_id":"c1","duration_ms":7}"#);
    }

    #[test]
    fn the_server_cannot_speak_for_us() {
        assert_eq!(
            spliced(r#"{"call_id":"other","isError":false,"duration_ms":0}"#),
            r#"{"isError":false,"call_id":"c1","duration_ms":7}"#
        );
    }
}
