use connectors_core::definition::Registration;
use connectors_core::{
    AcceptedProposal, GrantKind, NetworkSettings, OAuthException, OAuthSettings, OutputCheck, StdioCommand,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::merge::{CONNECTOR, GRANT, NETWORK, OAUTH, PROPOSAL, STDIO};
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
    let some = || proptest::option::of(unknown());
    (unknown(), some(), some(), some(), some(), any::<bool>()).prop_map(
        move |(own, stdio, oauth, grant, network, disabled)| {
            let mut value = json!({"slug": slug, "name": "n", "url": "https://x", "disabled": disabled});
            if let Some(extra) = stdio {
                value["stdio"] = with(json!({"command": "c", "env": {"A": "b"}}), extra);
            }
            if let Some(extra) = oauth {
                value["oauth"] = with(json!({"token_endpoint": "t", "client_id": "i"}), extra);
                if let Some(extra) = grant {
                    value["oauth"]["grant"] = with(json!({"kind": "client_credentials"}), extra);
                }
            }
            if let Some(extra) = network {
                value["network"] = with(json!({"proxy": "http://p"}), extra);
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
        secret_env: vec!["API_KEY".into()],
        cwd: Some("/srv/project".into()),
    });
    full.engine = true;
    full.engine = true;
    full.proposal = Some(AcceptedProposal { file: "/srv/project/x.toml".into(), hash: "00".into() });
    full.secret_headers = vec!["X-Api-Key".into()];
    let mut oauth = OAuthSettings::default();
    oauth.token_endpoint = "https://a/token".into();
    oauth.client_id = "id".into();
    oauth.has_client_secret = true;
    oauth.resource = Some("https://new/mcp".into());
    oauth.scopes = vec!["read".into()];
    oauth.issuer = Some("https://a".into());
    oauth.redirect_uri = Some("http://127.0.0.1:9100/oauth/callback".into());
    oauth.registration = Some(Registration::Dynamic);
    oauth.token_endpoint_auth_method = Some("private_key_jwt".into());
    oauth.grant = Some(GrantKind::ClientCredentials { signing_algorithm: Some("ES256".into()) });
    oauth.exceptions = vec![OAuthException::IssuerSlash];
    full.oauth = Some(oauth);
    full.enabled_tools = vec!["t".into()];
    full.tool_pins = [("t".to_owned(), "ab".to_owned())].into();
    full.secrets_revision = 2;
    full.unfinished = true;
    full.disabled = true;
    full.output_check = OutputCheck::Strict;
    full.network = NetworkSettings::default();
    full.network.ca_file = Some("/ca.pem".into());
    full.network.client_certificate_file = Some("/client.pem".into());
    full.network.client_key_file = Some("/client.key".into());
    full.network.proxy = Some("http://proxy:3128".into());
    full.network.allow_private = true;
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
    for (path, known) in
        [("/stdio", STDIO), ("/oauth", OAUTH), ("/oauth/grant", GRANT), ("/network", NETWORK)]
    {
        if let Some(mut object) = connector.pointer(path).cloned() {
            strip(&mut object, known);
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
        let connector = &before["connectors"][0];
        if connector.pointer("/stdio").is_none() { definition.stdio = None; }
        if connector.pointer("/oauth/grant").is_none() { definition.oauth.as_mut().unwrap().grant = None; }
        if connector.pointer("/oauth").is_none() { definition.oauth = None; }
        if connector.pointer("/network").is_none() { definition.network = NetworkSettings::default(); }
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
    assert_eq!(keys(&full["network"]), set(NETWORK));
    assert_eq!(keys(&full["proposal"]), set(PROPOSAL));
    let enterprise =
        GrantKind::EnterpriseManaged { idp_token_endpoint: "t".into(), idp_client_id: "i".into() };
    let enterprise = keys(&serde_json::to_value(enterprise).unwrap());
    assert_eq!(&keys(&full["oauth"]["grant"]) | &enterprise, set(GRANT));
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

/// The one connector of `text` after `change` to what it says.
fn changed(connector: &str, change: impl FnOnce(&mut ConnectorDefinition)) -> Value {
    let text = format!(r#"{{"connectors":[{connector}]}}"#);
    let mut document = Document::parse(text.as_bytes()).unwrap();
    let mut definition = Document::parse(text.as_bytes()).unwrap().into_definitions().remove(0);
    change(&mut definition);
    document.replace(&definition);
    assert!(document.is_changed());
    let mut written = value_of(&document);
    let again = Document::parse(document.to_text().as_bytes()).unwrap().into_definitions().remove(0);
    assert_eq!(again, definition, "what is written is not what was meant");
    written["connectors"][0].take()
}

#[test]
fn network_settings_that_are_not_known_survive_where_none_is_set_that_is() {
    let entry = r#"{"slug":"a","name":"A","network":{"dns":"1.1.1.1","proxy":"http://p"}}"#;
    let written = changed(entry, |definition| definition.network = NetworkSettings::default());
    assert_eq!(written["network"], json!({"dns": "1.1.1.1"}));

    let entry = r#"{"slug":"a","name":"A","network":{"proxy":"http://p"}}"#;
    let written = changed(entry, |definition| definition.network = NetworkSettings::default());
    assert_eq!(written.get("network"), None);
}

/// How a later version may have written down a sign-in.
const LATER: &str = r#"{"slug":"a","name":"A","oauth":{
    "token_endpoint":"t","client_id":"c",
    "registration":{"federated":{"by":"x"}},
    "grant":{"kind":"telepathy","distance":1.50},
    "exceptions":["later","issuer_slash",{"until":1}]}}"#;

#[test]
fn what_a_newer_version_has_written_about_signing_in_survives_a_change() {
    let text = format!(r#"{{"connectors":[{LATER}]}}"#);
    let mut document = Document::parse(text.as_bytes()).unwrap();
    let mut definition = full();
    definition.slug = Slug::verbatim("a");
    definition.oauth = document.definitions[0].oauth.clone();
    let oauth = definition.oauth.as_mut().unwrap();
    assert_eq!(oauth.exceptions, [OAuthException::IssuerSlash]);
    oauth.client_id = "new".into();
    oauth.exceptions = vec![OAuthException::ResourceOmitted];
    document.replace(&definition);
    let expected = r#"
      "oauth": {
        "token_endpoint": "t",
        "client_id": "new",
        "registration": {
          "federated": {
            "by": "x"
          }
        },
        "grant": {
          "kind": "telepathy",
          "distance": 1.50
        },
        "exceptions": [
          "resource_omitted",
          "later",
          {
            "until": 1
          }
        ],
"#;
    let written = document.to_text();
    assert!(written.contains(expected.trim_start()), "{written}");

    let written = changed(LATER, |definition| definition.oauth.as_mut().unwrap().exceptions.clear());
    assert_eq!(written["oauth"]["exceptions"], json!(["later", {"until": 1}]));
    let written = changed(LATER, |definition| definition.oauth = None);
    assert_eq!(
        written,
        json!({"slug": "a", "name": "A", "url": "", "secret_headers": [], "enabled_tools": []})
    );
}

#[test]
fn a_known_choice_takes_the_place_of_one_that_is_not_known() {
    let written = changed(LATER, |definition| {
        let oauth = definition.oauth.as_mut().unwrap();
        oauth.registration = Some(Registration::Manual);
        oauth.grant = Some(GrantKind::JwtBearer);
    });
    assert_eq!(written["oauth"]["registration"], json!("manual"));
    assert_eq!(written["oauth"]["grant"], json!({"kind": "jwt_bearer"}));
    let written = changed(LATER, |definition| definition.oauth.as_mut().unwrap().grant = None);
    assert_eq!(written["oauth"].get("grant"), None);
}

#[test]
fn a_grant_keeps_what_is_not_known_of_it_unless_its_kind_changes() {
    let entry = r#"{"slug":"a","name":"A","oauth":{"token_endpoint":"t","client_id":"c",
        "grant":{"kind":"client_credentials","audience":"x","signing_algorithm":"ES256"}}}"#;
    let grant = |grant| {
        changed(entry, |definition| definition.oauth.as_mut().unwrap().grant = Some(grant))["oauth"]["grant"]
            .take()
    };
    assert_eq!(
        grant(GrantKind::ClientCredentials { signing_algorithm: None }),
        json!({"kind": "client_credentials", "audience": "x"})
    );
    assert_eq!(grant(GrantKind::JwtBearer), json!({"kind": "jwt_bearer"}));
}

#[test]
fn what_car_connectors_cannot_read_a_manifest_without_is_always_written() {
    let mut definition = ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a");
    let mut oauth = OAuthSettings::default();
    oauth.grant = Some(GrantKind::JwtBearer);
    definition.oauth = Some(oauth);
    let mut document = Document::default();
    document.insert(&definition);
    for written in [
        value_of(&document),
        json!({"connectors": [changed(LATER, |new| new.oauth.as_mut().unwrap().client_id.push('!'))]}),
    ] {
        let entry = &written["connectors"][0];
        for path in ["/slug", "/name", "/url", "/oauth/token_endpoint", "/oauth/client_id"] {
            assert!(entry.pointer(path).is_some_and(Value::is_string), "{path} in {entry}");
        }
        for path in ["/secret_headers", "/enabled_tools", "/oauth/scopes"] {
            assert!(entry.pointer(path).is_some_and(Value::is_array), "{path} in {entry}");
        }
    }
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
        let Flaw { line, column, problem, is_newer } = Document::parse(text.as_bytes()).unwrap_err();
        assert!(!is_newer, "{problem}");
        (line, column, problem)
    };
    assert_eq!(flaw("").2, "the file is empty; delete it to start with no connectors");
    assert_eq!(flaw(" \n").2, "the file is empty; delete it to start with no connectors");
    assert_eq!(flaw("{\n  \"connectors\": [}"), (2, 18, "expected value".to_owned()));
    assert_eq!(flaw("[]").2, "invalid type: sequence, expected an object");
    assert_eq!(flaw("{\"connectors\":[{\"name\":\"A\"}]}").2, "missing field `slug`");
    assert_eq!(
        flaw("{\"connectors\":[\n {\"slug\":\"a\",\"name\":\"A\"},\n {\"slug\":\"a\",\"name\":\"B\"}]}"),
        (3, 2, "a second connector with the slug `a`".to_owned())
    );
    assert_eq!(
        flaw("{\"connectors\":[\n {\"slug\":\"a:b\",\"name\":\"A\"}]}"),
        (2, 2, "the slug `a:b` must not hold a colon".to_owned())
    );
    assert_eq!(
        flaw("{\"connectors\":[[\"a\",\"A\"]]}"),
        (1, 16, "a connector has to be an object".to_owned())
    );
    assert_eq!(
        Document::parse(b"{\n\xff}").unwrap_err(),
        Flaw { line: 2, column: 1, problem: "this is not UTF-8".into(), is_newer: false }
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

#[test]
fn a_later_format_is_told_from_a_mistake() {
    let flaw = |text: &str| Document::parse(text.as_bytes()).unwrap_err();
    let newer = |line, column, problem: &str| Flaw { line, column, problem: problem.into(), is_newer: true };
    assert_eq!(flaw("{\"connectors\":[],\n \"version\": 2}"), newer(2, 13, "`version` is not 1"));
    for version in ["-1", "1.5", "\"2\"", "[1]", "123456789012345678901234567890", "{\"major\":1}", "true"] {
        let text = format!("{{\"version\":{version},\"connectors\":7}}");
        assert_eq!(flaw(&text), newer(1, 12, "`version` is not 1"), "{version}");
    }
    for list in ["null", "{\"github\":{}}", "\"none\"", "0"] {
        let text = format!("{{\"connectors\": {list}}}");
        assert_eq!(flaw(&text), newer(1, 16, "`connectors` is not a list"), "{list}");
    }
}

#[test]
fn a_version_that_is_known_is_read_and_kept_and_none_is_written() {
    let new = ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a");
    for version in ["0", "1", "null"] {
        let text = format!("{{\"version\":{version}}}");
        let mut document = Document::parse(text.as_bytes()).unwrap();
        document.insert(&new);
        assert!(document.to_text().contains(&format!("\"version\": {version}")), "{}", document.to_text());
    }
    let mut document = Document::default();
    document.insert(&new);
    assert_eq!(value_of(&document).get("version"), None);
}

#[test]
fn a_swap_is_made_on_what_the_file_says_by_now() {
    let text = r#"{"connectors":[{"slug":"a","name":"A","url":"","x":1}]}"#;
    let mut document = Document::parse(text.as_bytes()).unwrap();
    let definition = |name: &str| ConnectorDefinition::http(Slug::verbatim("a"), name, "");
    assert!(!document.compare_and_swap(&definition("B"), &definition("C")) && !document.is_changed());
    assert!(document.compare_and_swap(&definition("A"), &definition("B")));
    assert_eq!(
        (&value_of(&document)["connectors"][0]["name"], &value_of(&document)["connectors"][0]["x"]),
        (&json!("B"), &json!(1))
    );
    let gone = ConnectorDefinition::http(Slug::verbatim("b"), "B", "");
    assert!(!document.compare_and_swap(&gone, &gone));
}
