//! Whatever a manifest holds beside what is changed is kept as it is written, byte for byte but for white space.
//!
//! Manifests are made as text here: a parsed value can hold neither numbers beyond 64 bits, nor two members of one name, nor
//! the spelling of a string.

use connectors_core::{ConnectorDefinition, Slug};
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::document::Document;
use super::pretty::pretty;
use super::raw::RawObject;

/// Members that every program may have put somewhere, by name; a name may be there twice.
type Members = Vec<(String, String)>;

fn string() -> impl Strategy<Value = String> {
    let plain = any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap());
    let spelled = prop_oneof![
        Just(r#""\u00e9\ud83e\udd80\/""#),
        Just(r#""\u0000\b\f""#),
        Just("\"\u{202e}\u{feff}\u{2028}\""),
        Just(r#""""#),
        Just(r#""{\"a\":[1, 2]}""#),
    ];
    prop_oneof![plain, spelled.prop_map(ToOwned::to_owned)]
}

fn number() -> impl Strategy<Value = String> {
    let odd =
        ["-0", "1e400", "-1.50E-0007", "18446744073709551616", "123456789012345678901234567890.10", "0.1"];
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        prop::sample::select(odd.to_vec()).prop_map(Into::into)
    ]
}

fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(&["null", "true", "false", "[]", "{}", "[ ]"][..]);
    let leaf = prop_oneof![word.prop_map(ToOwned::to_owned), number(), string()];
    let any = leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((string(), inner), 0..5).prop_map(object_of_spelled),
        ]
    });
    let deep = (1_usize..400).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    prop_oneof![9 => any, 1 => deep]
}

fn object_of_spelled(members: Members) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{{}}}", members.join(",\n\t"))
}

/// Members that nobody here knows, under names that no version will have.
fn unknown() -> impl Strategy<Value = Members> {
    prop::collection::vec(("(x_|é|\u{1f980}|X).{0,5}", json()), 0..4).prop_map(|members| {
        members.into_iter().map(|(name, value)| (serde_json::to_string(&name).unwrap(), value)).collect()
    })
}

fn known(name: &str, value: impl Into<String>) -> (String, String) {
    (format!("\"{name}\""), value.into())
}

/// These known members, of which the optional ones may be absent or, where a program writes absence so, `null`, with unknown
/// ones anywhere between them.
fn object(
    required: Vec<BoxedStrategy<(String, String)>>,
    optional: Vec<BoxedStrategy<(String, String)>>,
) -> impl Strategy<Value = String> {
    let optional: Vec<_> = optional.into_iter().map(proptest::option::of).collect();
    (required, optional, unknown())
        .prop_map(|(required, optional, unknown)| {
            required.into_iter().chain(optional.into_iter().flatten()).chain(unknown).collect::<Vec<_>>()
        })
        .prop_shuffle()
        .prop_map(object_of_spelled)
}

fn text(name: &'static str) -> BoxedStrategy<(String, String)> {
    string().prop_map(move |value| known(name, value)).boxed()
}

fn texts(name: &'static str) -> BoxedStrategy<(String, String)> {
    prop::collection::vec(string(), 0..3)
        .prop_map(move |list| known(name, format!("[{}]", list.join(","))))
        .boxed()
}

fn flag(name: &'static str) -> BoxedStrategy<(String, String)> {
    any::<bool>().prop_map(move |on| known(name, on.to_string())).boxed()
}

fn or_null(
    name: &'static str,
    value: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<(String, String)> {
    prop_oneof![4 => value, 1 => Just("null".to_owned())].prop_map(move |value| known(name, value)).boxed()
}

fn map(name: &'static str) -> BoxedStrategy<(String, String)> {
    let members = prop::collection::vec((string(), string()), 0..3);
    members.prop_map(move |members| known(name, object_of_spelled(members))).boxed()
}

fn stdio() -> impl Strategy<Value = String> {
    let optional = vec![texts("args"), map("env"), texts("secret_env"), or_null("cwd", string())];
    object(vec![text("command")], optional)
}

fn oauth() -> impl Strategy<Value = String> {
    let grants = [
        r#"{"kind":"client_credentials","audience":1.50e3}"#,
        r#"{"kind":"telepathy","distance":1.50}"#,
        r#""later""#,
        "null",
    ];
    let grant = prop::sample::select(grants.to_vec()).prop_map(|grant| known("grant", grant)).boxed();
    let registration = prop::sample::select(&[r#""dynamic""#, r#"{"later":{}}"#, "null"][..]);
    let exceptions = prop::sample::select(&["[]", r#"["issuer_slash","later",{"until":1.0}]"#][..]);
    let optional = vec![
        flag("has_client_secret"),
        or_null("resource", string()),
        texts("scopes"),
        or_null("issuer", string()),
        grant,
        registration.prop_map(|value| known("registration", value)).boxed(),
        exceptions.prop_map(|value| known("exceptions", value)).boxed(),
    ];
    object(vec![text("token_endpoint"), text("client_id")], optional)
}

fn network() -> impl Strategy<Value = String> {
    object(Vec::new(), vec![or_null("proxy", string()), or_null("ca_file", string()), flag("allow_private")])
}

/// One connector, as this program writes it, or an earlier or a later one.
fn connector(n: usize) -> impl Strategy<Value = String> {
    let slug = Just(known("slug", format!("\"s{n}\""))).boxed();
    let check = prop::sample::select(&[r#""off""#, r#""warn""#, r#""strict""#][..]);
    let optional = vec![
        text("url"),
        or_null("stdio", stdio()),
        texts("secret_headers"),
        or_null("oauth", oauth()),
        texts("enabled_tools"),
        map("tool_pins"),
        flag("disabled"),
        check.prop_map(|value| known("output_check", value)).boxed(),
        network().prop_map(|value| known("network", value)).boxed(),
    ];
    object(vec![slug, text("name")], optional)
}

/// A manifest of three connectors, and what else it holds.
fn manifest() -> impl Strategy<Value = String> {
    let list = (connector(0), connector(1), connector(2))
        .prop_map(|(a, b, c)| known("connectors", format!("[{a},\r\n {b},{c}]")));
    (list, unknown(), any::<bool>()).prop_map(|(list, unknown, mark)| {
        let mut members = unknown;
        members.insert(members.len() / 2, list);
        format!("{}{}\n", if mark { "\u{feff}" } else { "" }, object_of_spelled(members))
    })
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    // The layout depends on the tokens alone, and no string holds a line break as such.
    pretty(json).lines().map(str::trim_start).collect()
}

/// The connectors of a manifest, each as its members in order.
fn connectors(text: &str) -> Vec<Vec<(String, String)>> {
    let top: RawObject<'_> = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
    let list: Vec<&RawValue> = serde_json::from_str(top.get("connectors").unwrap().get()).unwrap();
    list.into_iter().map(members).collect()
}

fn members(object: &RawValue) -> Vec<(String, String)> {
    RawObject::of(object).0.into_iter().map(|(name, value)| (name, compact(value.get()))).collect()
}

fn others(text: &str) -> Vec<(String, String)> {
    let top: RawObject<'_> = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
    top.0
        .into_iter()
        .filter(|(name, _)| name != "connectors")
        .map(|(name, value)| (name, compact(value.get())))
        .collect()
}

fn definitions(text: &str) -> Vec<ConnectorDefinition> {
    Document::parse(text.as_bytes()).unwrap().into_definitions()
}

proptest! {
    // Each is a manifest of a few hundred lines.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_change_of_another_connector_keeps_every_token(before in manifest()) {
        let mut document = Document::parse(before.as_bytes()).unwrap();
        document.insert(&ConnectorDefinition::http(Slug::verbatim("new"), "New", "https://new"));
        document.remove(&Slug::verbatim("s1"));
        let after = document.to_text();
        let (old, new) = (connectors(&before), connectors(&after));
        prop_assert_eq!((&new[0], &new[1], new.len()), (&old[0], &old[2], 3));
        prop_assert_eq!(others(&after), others(&before));
        let (old, new) = (definitions(&before), definitions(&after));
        prop_assert_eq!((&new[0], &new[1]), (&old[0], &old[2]));
    }

    #[test]
    fn a_change_of_one_field_keeps_every_token_of_the_others(before in manifest(), field in 0..6_usize) {
        let mut document = Document::parse(before.as_bytes()).unwrap();
        let mut definition = definitions(&before).remove(1);
        let changed = match field {
            0 => { definition.name.push('!'); "name" }
            1 => { definition.url.push('!'); "url" }
            2 => { definition.enabled_tools.push("!".to_owned()); "enabled_tools" }
            3 => { definition.tool_pins.insert("!".to_owned(), "!".to_owned()); "tool_pins" }
            4 => { definition.disabled = !definition.disabled; "disabled" }
            _ => { definition.secret_headers.push("!".to_owned()); "secret_headers" }
        };
        document.replace(&definition);
        let after = document.to_text();
        prop_assert_eq!(&definitions(&after)[1], &definition);
        let (old, new) = (connectors(&before), connectors(&after));
        prop_assert_eq!((&new[0], &new[2]), (&old[0], &old[2]));
        prop_assert_eq!(others(&after), others(&before));
        let others = |connector: &[(String, String)]| -> Vec<(String, String)> {
            connector.iter().filter(|(name, _)| name != changed).cloned().collect()
        };
        let (kept, added) = {
            let (old, mut new) = (others(&old[1]), others(&new[1]));
            let added = new.split_off(old.len());
            prop_assert_eq!(&new, &old);
            (old, added)
        };
        // Car-connectors writes these always.
        for (name, value) in added {
            prop_assert!(["url", "secret_headers", "enabled_tools"].contains(&&*name) && ["[]", "\"\""].contains(&&*value), "{} in {:?}", name, kept);
        }
    }

    #[test]
    fn a_change_within_an_object_keeps_every_token_of_what_it_does_not_concern(before in manifest()) {
        let mut document = Document::parse(before.as_bytes()).unwrap();
        let mut definition = definitions(&before).remove(0);
        definition.network.proxy = Some("http://changed".to_owned());
        if let Some(stdio) = &mut definition.stdio { stdio.command.push('!'); }
        if let Some(oauth) = &mut definition.oauth { oauth.client_id.push('!'); }
        document.replace(&definition);
        let after = document.to_text();
        prop_assert_eq!(&definitions(&after)[0], &definition);
        for (object, changed) in [("network", "proxy"), ("stdio", "command"), ("oauth", "client_id")] {
            let of = |text: &str| -> Vec<(String, String)> {
                let connectors = connectors(text);
                let found = connectors[0].iter().find(|(name, _)| name == object);
                let raw = found.and_then(|(_, value)| serde_json::from_str::<Box<RawValue>>(value).ok());
                raw.map(|raw| members(&raw)).unwrap_or_default().into_iter().filter(|(name, _)| name != changed).collect()
            };
            let (old, mut new) = (of(&before), of(&after));
            let added = new.split_off(old.len());
            prop_assert_eq!(&new, &old, "{}", object);
            for (name, value) in added {
                prop_assert!(["[]", "{}", "false"].contains(&&*value), "{}.{}: {}", object, name, value);
            }
        }
    }

    #[test]
    fn writing_is_reading_again(before in manifest()) {
        let document = Document::parse(before.as_bytes()).unwrap();
        let text = document.to_text();
        let expected = document.into_definitions();
        prop_assert_eq!(&definitions(&text), &expected);
        prop_assert_eq!(Document::parse(text.as_bytes()).unwrap().to_text(), text);
        let mut rebuilt = Document::default();
        for definition in &expected {
            prop_assert!(rebuilt.insert(definition));
        }
        prop_assert_eq!(definitions(&rebuilt.to_text()), expected);
    }
}

/// What car-connectors 0.60 writes: every shape that its structures have, as `serde_json` lays them out.
const OF_0_60: [&str; 3] = [
    r#"{
  "connectors": []
}"#,
    r#"{
  "connectors": [
    {
      "slug": "linear_2",
      "name": "Linear \"β\"",
      "url": "https://mcp.linear.app/mcp",
      "secret_headers": [],
      "oauth": {
        "token_endpoint": "https://mcp.linear.app/token",
        "client_id": "c-1",
        "has_client_secret": true,
        "scopes": []
      },
      "enabled_tools": [
        "create_issue",
        "list issues"
      ]
    }
  ]
}"#,
    r#"{
  "connectors": [
    {
      "slug": "fs",
      "name": "FS",
      "url": "",
      "stdio": {
        "command": "npx",
        "args": [
          "-y",
          "@scope/server",
          "/srv/x"
        ],
        "env": {
          "A": "",
          "B": "=1\n"
        }
      },
      "secret_headers": [],
      "enabled_tools": []
    },
    {
      "slug": "keyed",
      "name": "Keyed",
      "url": "http://127.0.0.1:3001/mcp?x=1&y=é",
      "secret_headers": [
        "Authorization",
        "X-Api-Key"
      ],
      "oauth": {
        "token_endpoint": "https://a/token",
        "client_id": "",
        "has_client_secret": false,
        "resource": "https://a/",
        "scopes": [
          "read",
          "offline_access"
        ]
      },
      "enabled_tools": []
    }
  ]
}"#,
];

#[test]
fn what_car_connectors_writes_is_what_is_written_for_the_same_connectors() {
    for text in OF_0_60 {
        let mut rebuilt = Document::default();
        for definition in definitions(text) {
            assert!(rebuilt.insert(&definition));
        }
        if !definitions(text).is_empty() {
            assert_eq!(rebuilt.to_text(), text);
        }
        assert_eq!(Document::parse(text.as_bytes()).unwrap().to_text(), text);
    }
}

#[test]
fn a_change_of_a_file_of_car_connectors_shows_in_the_lines_that_it_concerns_alone() {
    let mut document = Document::parse(OF_0_60[2].as_bytes()).unwrap();
    let mut definition = definitions(OF_0_60[2]).remove(1);
    definition.enabled_tools.push("t".to_owned());
    document.replace(&definition);
    let after = document.to_text();
    let before: Vec<&str> = OF_0_60[2].lines().collect();
    let changed: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(changed, ["      \"enabled_tools\": [", "        \"t\"", "      ]"]);
}
