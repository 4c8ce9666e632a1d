use connectors_core::{OAuthSettings, OutputCheck, StdioCommand};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// Any JSON value, without floating-point numbers: their comparison is not what is tested.
pub(in crate::manifest) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn unknown() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("x_.{0,6}", json(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn with(mut known: Value, unknown: Map<String, Value>) -> Value {
    if let Value::Object(members) = &mut known {
        members.extend(unknown);
    }
    known
}

fn connector(slug: String) -> impl Strategy<Value = Value> {
    (unknown(), proptest::option::of(unknown()), proptest::option::of(unknown()), any::<bool>()).prop_map(
        move |(own, stdio, oauth, disabled)| {
            let mut value = json!({"slug": slug, "name": "n", "url": "https://x", "disabled": disabled});
            if let Some(extra) = stdio {
                value["stdio"] = with(json!({"command": "c", "env": {"A": "b"}}), extra);
            }
            if let Some(extra) = oauth {
                value["oauth"] = with(json!({"token_endpoint": "t", "client_id": "i"}), extra);
            }
            with(value, own)
        },
    )
}

fn manifest() -> impl Strategy<Value = Value> {
    let connectors = (1_usize..4)
        .prop_flat_map(|n| (0..n).map(|i| connector(format!("s{i}")).boxed()).collect::<Vec<_>>());
    (connectors, unknown()).prop_map(|(connectors, extra)| with(json!({"connectors": connectors}), extra))
}

fn full() -> ConnectorDefinition {
    let mut full = ConnectorDefinition::http(Slug::verbatim("s0"), "New", "https://new/mcp");
    full.stdio = Some(StdioCommand {
        command: "npx".into(),
        args: vec!["-y".into()],
        env: [("K".to_owned(), "v".to_owned())].into(),
    });
    full.secret_headers = vec!["X-Api-Key".into()];
    full.oauth = Some(OAuthSettings {
        token_endpoint: "https://a/token".into(),
        client_id: "id".into(),
        has_client_secret: true,
        resource: Some("https://new/mcp".into()),
        scopes: vec!["read".into()],
    });
    full.enabled_tools = vec!["t".into()];
    full.tool_pins = [("t".to_owned(), "ab".to_owned())].into();
    full.disabled = true;
    full.output_check = OutputCheck::Strict;
    full
}

fn value_of(document: &Document<'_>) -> Value {
    serde_json::from_str(&document.to_text()).unwrap()
}

fn keys(value: &Value) -> HashSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// `value` without the known fields of its connector at `at`.
fn without_known(mut value: Value, at: usize) -> Value {
    fn strip(value: &mut Value, known: &[&str]) {
        if let Value::Object(members) = value {
            members.retain(|name, _| !known.contains(&name.as_str()));
        }
    }
    let connector = &mut value["connectors"][at];
    let mut nested = Vec::new();
    for name in ["stdio", "oauth"] {
        if let Some(mut object) = connector.get(name).cloned() {
            strip(&mut object, known_of(name));
            nested.push(object);
        }
    }
    strip(connector, CONNECTOR);
    connector["nested"] = nested.into();
    value
}

proptest! {
    #[test]
    fn replacing_one_connector_keeps_everything_else(before in manifest()) {
        let text = before.to_string();
        let mut document = Document::parse(text.as_bytes()).unwrap();
        let mut definition = full();
        // An object that is removed takes its unknown fields with it, so the ones that are there stay.
        if before["connectors"][0].get("stdio").is_none() { definition.stdio = None; }
        if before["connectors"][0].get("oauth").is_none() { definition.oauth = None; }
        document.replace(&definition);

        let after = value_of(&document);
        prop_assert_eq!(without_known(after.clone(), 0), without_known(before, 0));
        let read: ConnectorDefinition = serde_json::from_value(after["connectors"][0].clone()).unwrap();
        prop_assert_eq!(read, definition);
    }

    #[test]
    fn inserting_and_removing_a_connector_gives_the_same_manifest_again(before in manifest()) {
        let text = before.to_string();
        let mut document = Document::parse(text.as_bytes()).unwrap();
        let new = ConnectorDefinition::http(Slug::verbatim("new"), "New", "https://new");
        prop_assert!(document.insert(&new));
        document.remove(&new.slug);
        prop_assert_eq!(document.to_text(), serde_json::to_string_pretty(&before).unwrap());
    }

    #[test]
    fn no_input_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes);
    }
}

#[test]
fn the_known_fields_are_all_those_of_a_definition() {
    let full = serde_json::to_value(full()).unwrap();
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<HashSet<_>>();
    assert_eq!(keys(&full), set(CONNECTOR));
    assert_eq!(keys(&full["stdio"]), set(STDIO));
    assert_eq!(keys(&full["oauth"]), set(OAUTH));
}

#[test]
fn a_manifest_of_car_connectors_is_read_and_written_as_it_stands() {
    let text = r#"{
  "connectors": [
    {
      "slug": "github",
      "name": "GitHub",
      "url": "https://host/mcp",
      "secret_headers": [
        "X-Api-Key"
      ],
      "oauth": {
        "token_endpoint": "https://host/token",
        "client_id": "id",
        "has_client_secret": false,
        "resource": "https://host/mcp",
        "scopes": [
          "read"
        ]
      },
      "enabled_tools": [
        "create_issue"
      ]
    },
    {
      "slug": "fs",
      "name": "FS",
      "url": "",
      "stdio": {
        "command": "npx",
        "args": [
          "-y",
          "pkg"
        ],
        "env": {}
      },
      "secret_headers": [],
      "enabled_tools": []
    }
  ]
}"#;
    let document = Document::parse(text.as_bytes()).unwrap();
    assert_eq!(document.to_text(), text);
    let definitions = document.into_definitions();
    assert_eq!(definitions[0].oauth.as_ref().unwrap().resource.as_deref(), Some("https://host/mcp"));

    let mut rebuilt = Document::default();
    for definition in &definitions {
        assert!(rebuilt.insert(definition));
    }
    assert_eq!(rebuilt.to_text(), text);
}

#[test]
fn an_optional_field_that_is_no_longer_set_is_removed() {
    let text =
        r#"{"connectors":[{"slug":"a","name":"A","url":"","stdio":{"command":"c"},"disabled":true,"x":1}]}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    document.replace(&ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a"));
    assert_eq!(
        value_of(&document),
        json!({"connectors": [
            {"slug": "a", "name": "A", "url": "https://a", "x": 1, "secret_headers": [], "enabled_tools": []}
        ]})
    );
}

#[test]
fn numbers_and_escapes_that_are_not_ours_keep_their_spelling() {
    let text =
        r#"{"connectors":[{"slug":"a","name":"A","big":123456789012345678901234567890.0e-0,"s":"\u00e9"}]}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    document.replace(&ConnectorDefinition::http(Slug::verbatim("a"), "B", ""));
    let written = document.to_text();
    assert!(written.contains("123456789012345678901234567890.0e-0"), "{written}");
    assert!(written.contains(r#""\u00e9""#), "{written}");
}

#[test]
fn a_change_that_changes_nothing_is_none() {
    let text = r#"{"connectors":[{"slug":"a","name":"A","url":"https://a"}]}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    document.replace(&ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a"));
    document.remove(&Slug::verbatim("b"));
    assert!(!document.is_changed());
}

#[test]
fn a_file_that_is_not_a_manifest_is_refused_with_line_and_column() {
    let flaw = |text: &str| {
        let Flaw { line, column, problem } = Document::parse(text.as_bytes()).unwrap_err();
        (line, column, problem)
    };
    assert_eq!(flaw("").2, "the file is empty; delete it to start with no connectors");
    assert_eq!(flaw(" \n").2, "the file is empty; delete it to start with no connectors");
    assert_eq!(flaw("{\n  \"connectors\": [}"), (2, 18, "expected value".to_owned()));
    assert_eq!(flaw("[]").2, "invalid type: sequence, expected an object");
    assert_eq!(flaw("{\"connectors\":null}").2, "invalid type: null, expected a sequence");
    assert_eq!(flaw("{\"connectors\":[{\"name\":\"A\"}]}").2, "missing field `slug`");
    assert_eq!(
        flaw("{\"connectors\":[\n {\"slug\":\"a\",\"name\":\"A\"},\n {\"slug\":\"a\",\"name\":\"B\"}]}"),
        (3, 2, "a second connector with the slug `a`".to_owned())
    );
    assert_eq!(
        flaw("{\"connectors\":[[\"a\",\"A\"]]}"),
        (1, 16, "a connector has to be an object".to_owned())
    );
    assert_eq!(
        Document::parse(b"{\n\xff}").unwrap_err(),
        Flaw { line: 2, column: 1, problem: "this is not UTF-8".into() }
    );
}

#[test]
fn a_misplaced_string_is_not_repeated_in_the_error() {
    let flaw = Document::parse(
        br#"{"connectors":[{"slug":"a","name":"A","stdio":{"command":"c","env":"TOKEN=hunter2"}}]}"#,
    )
    .unwrap_err();
    assert_eq!(flaw.problem, "invalid type: a string, expected a map");
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let document = Document::parse(b"\xef\xbb\xbf{\"connectors\":[]}").unwrap();
    assert_eq!(document.into_definitions(), []);
}

#[test]
fn a_manifest_without_the_list_has_no_connectors_and_keeps_what_it_has() {
    let mut document = Document::parse(b"{\"later\":1}").unwrap();
    document.insert(&ConnectorDefinition::http(Slug::verbatim("a"), "A", ""));
    let written = value_of(&document);
    assert_eq!(written["later"], 1);
    assert_eq!(written["connectors"][0]["slug"], "a");
}
