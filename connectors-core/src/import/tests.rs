use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::manager::NewEndpoint;
use crate::secret_like::{HIDDEN, secret_arguments, see_url};

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

fn wanted(name: &str, secret: bool, default: Option<&str>) -> Part {
    let default = default.map(SecretString::from);
    Part::Wanted(Placeholder {
        name: name.into(),
        description: Some(format!("The\u{202e} {name}")),
        secret,
        default,
        optional: false,
    })
}

/// A place of something that is left out where nobody gives it.
fn optional(name: &str) -> Template {
    Template::new(vec![Part::Wanted(Placeholder {
        name: name.into(),
        optional: true,
        ..Placeholder::default()
    })])
}

fn filled(name: &str, value: &str) -> Part {
    Part::Filled { name: name.into(), value: value.into() }
}

fn text(text: &str) -> Template {
    Template::written(text)
}

fn http(url: Template, headers: Vec<(&str, Template)>) -> FoundConnector {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    FoundConnector::new("remote", FoundEndpoint::Http { url, headers })
}

fn stdio(args: Vec<Template>, env: Vec<(&str, Template)>) -> FoundConnector {
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    FoundConnector::new("local", FoundEndpoint::Stdio { command: text("npx"), args, env, cwd: None })
}

/// A local server that is started in this folder.
fn started_in(folder: &str, args: Vec<Template>) -> FoundConnector {
    let endpoint = FoundEndpoint::Stdio { command: text("node"), args, env: vec![], cwd: Some(text(folder)) };
    FoundConnector::new("local", endpoint)
}

fn shown(found: FoundConnector) -> Value {
    let mut file = FoundFile::new("s", "cursor", "/p");
    file.connectors = vec![found];
    let mut shown =
        serde_json::to_value(ImportableFile::of(&file, |_| None)).unwrap()["connectors"][0].clone();
    // It is another in each process.
    shown.as_object_mut().unwrap().remove("hash");
    shown
}

fn refusal(found: &FoundConnector, values: &[(&str, &str)]) -> Option<Refusal> {
    plan(found, &entered(values), false).err()
}

fn entered(values: &[(&str, &str)]) -> BTreeMap<String, SecretString> {
    values.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect()
}

#[test]
fn a_remote_server_is_shown_without_its_values() {
    let bearer = Template::new(vec![Part::Written("Bearer ".into()), wanted("TOKEN", true, None)]);
    let url = Template::new(vec![
        filled("HOST", "https://secret.test"),
        Part::Written("/mcp?token=hunter2&a=b".into()),
    ]);
    let mut found = http(url, vec![("Authorization", bearer), ("X-Key", text("hunter2"))]);
    found.notes = vec!["one".into(), "two".into()];
    assert_eq!(
        shown(found),
        json!({
            "name": "remote", "transport": "http", "url": "${HOST}/mcp?token=…&a=b", "headers": ["Authorization", "X-Key"],
            "disabled": false, "secrets": ["Authorization", "X-Key"],
            "wanted": [{"name": "TOKEN", "description": "The TOKEN"}], "uses": ["HOST"], "plain_secrets": ["URL"],
            "note": "one; two"
        })
    );
}

#[test]
fn a_local_server_is_shown_without_its_secrets() {
    let args = vec![
        text("--api-key"),
        text("hunter2"),
        text("--token=hunter2"),
        text(TOKEN),
        text("postgresql://u:hunter2@db.test/x"),
        Template::new(vec![Part::Written("--root=".into()), filled("HOME", "/u")]),
        Template::new(vec![filled("MY_TOKEN", "hunter2")]),
    ];
    let env = vec![
        ("LOG", text("info")),
        ("GITHUB_TOKEN", text("hunter2")),
        ("REGION", Template::new(vec![wanted("R", false, None)])),
    ];
    assert_eq!(
        shown(stdio(args, env)),
        json!({
            "name": "local", "transport": "stdio", "command": "npx",
            "args": ["--api-key", "…", "--token=…", "…", "…", "--root=${HOME}", "${MY_TOKEN}"],
            "env": ["LOG", "GITHUB_TOKEN", "REGION"], "env_values": {"LOG": "info"}, "disabled": false, "secrets": ["GITHUB_TOKEN", "REGION"],
            "wanted": [{"name": "R", "description": "The R"}], "uses": ["HOME", "MY_TOKEN"],
            "plain_secrets": ["argument 2", "argument 3", "argument 4", "argument 5", "argument 7"]
        })
    );
}

#[test]
fn what_would_run_unless_the_user_says_otherwise_is_shown() {
    let place = |name: &str, default: &str| Template::new(vec![wanted(name, false, Some(default))]);
    let env = vec![("LD_PRELOAD", text("/x.so")), ("HOME_OF", Template::new(vec![filled("HOME", "/u")]))];
    let endpoint = FoundEndpoint::Stdio {
        command: place("NPX", "/bin/sh"),
        args: vec![place("FLAG", "-c"), place("PKG", "touch /srv/x"), text("--token"), place("T", "hunter2")],
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        cwd: Some(place("DIR", "/srv/x")),
    };
    let shown = shown(FoundConnector::new("local", endpoint));
    assert_eq!(
        [&shown["command"], &shown["cwd"], &shown["args"], &shown["env_values"], &shown["plain_secrets"],],
        [
            &json!("${NPX:-/bin/sh}"),
            &json!("${DIR:-/srv/x}"),
            &json!(["${FLAG:--c}", "${PKG:-touch /srv/x}", "--token", "${T:-…}"]),
            &json!({"LD_PRELOAD": "/x.so", "HOME_OF": "${HOME}"}),
            &json!(["argument 4"]),
        ]
    );
}

#[test]
fn a_default_is_hidden_where_it_is_a_secret_and_that_is_said() {
    let one = |parts: Vec<Part>| {
        let shown = shown(stdio(vec![Template::new(parts)], vec![]));
        (shown["args"][0].clone(), shown["plain_secrets"] == json!(["argument 1"]))
    };
    assert_eq!(one(vec![wanted("A", false, Some(TOKEN))]), (json!("${A:-…}"), true));
    assert_eq!(one(vec![wanted("A", true, Some("x"))]), (json!("${A:-…}"), true));
    assert_eq!(one(vec![wanted("API_TOKEN", false, Some("hunter2"))]), (json!("${API_TOKEN:-…}"), true));
    // In two halves.
    let (first, second) = TOKEN.split_at(10);
    let halves = vec![wanted("A", false, Some(first)), wanted("B", false, Some(second))];
    assert_eq!(one(halves), (json!("${A:-…}${B:-…}"), true));
    let beside = vec![wanted("A", true, Some("x")), wanted("B", false, Some("; sh"))];
    assert_eq!(one(beside), (json!("${A:-…}${B:-; sh}"), true));
    assert_eq!(one(vec![wanted("A", false, Some("x"))]), (json!("${A:-x}"), false));

    let url = |default: &str| {
        let url = Template::new(vec![
            wanted("HOST", false, Some("https://a.test")),
            Part::Written("/mcp?k=".into()),
            wanted("K", false, Some(default)),
        ]);
        let shown = shown(http(url, vec![]));
        (shown["url"].clone(), shown["plain_secrets"] == json!(["URL"]))
    };
    assert_eq!(url("b"), (json!("${HOST:-https://a.test}/mcp?k=${K:-b}"), false));
    assert_eq!(url(TOKEN), (json!("${HOST:-https://a.test}/mcp?k=${K:-…}"), true));
}

#[test]
fn what_cannot_be_shown_in_full_is_not_taken_over() {
    let long = "a b ".repeat(2000);
    let many = || vec![text("x"); 201];
    let named: Vec<String> = (0..201).map(|at| format!("V{at}")).collect();
    let values = || named.iter().map(|name| (name.as_str(), text("x"))).collect::<Vec<_>>();
    for (found, what) in [
        (stdio(many(), vec![]), "it has more than 200 arguments"),
        (stdio(vec![], values()), "it has more than 200 variables"),
        (http(text("https://a.test"), values()), "it has more than 200 headers"),
        (stdio(vec![text("x"), text(&long)], vec![]), "its argument 2 is too long"),
        (stdio(vec![text("r\u{200b}m")], vec![]), "its argument 1 has invisible characters"),
        (stdio(vec![], vec![("A", text(&long))]), "the value of its variable 1 is too long"),
        (
            stdio(vec![], vec![("A\u{200b}", text("x"))]),
            "the name of its variable 1 has invisible characters",
        ),
        (http(text("https://a.test/\u{202e}"), vec![]), "its URL has invisible characters"),
        (started_in("/srv/\u{202e}", vec![]), "its folder has invisible characters"),
    ] {
        let problem = format!("it cannot be shown in full: {what}");
        assert_eq!(
            plan(&found, &BTreeMap::new(), true).err().map(|refusal| refusal.to_string()),
            Some(problem.clone())
        );
        assert_eq!(shown(found)["problem"], problem);
    }
    // What is not shown anyway may be as it likes.
    assert_eq!(refusal(&stdio(vec![], vec![("API_TOKEN", text(&"ab1".repeat(3000)))]), &[]), None);
}

#[test]
fn a_hash_stands_for_all_of_an_entry_and_for_nothing_else() {
    let entry = |name: &str, parts: Vec<Part>, key: &str| {
        let mut found = stdio(vec![Template::new(parts)], vec![("A", text(key))]);
        found.name = name.to_owned();
        fingerprint(&found)
    };
    let place = |default| vec![wanted("A", false, default)];
    let first = entry("a", place(Some("x")), "k");
    assert_eq!(first, entry("a", place(Some("x")), "k"));
    assert_eq!((first.len(), first.bytes().all(|byte| byte.is_ascii_hexdigit())), (64, true));
    let mut off = stdio(vec![Template::new(place(Some("x")))], vec![("A", text("k"))]);
    (off.name, off.disabled) = ("a".to_owned(), true);
    let others = [
        entry("b", place(Some("x")), "k"),
        entry("a", place(Some("y")), "k"),
        entry("a", place(None), "k"),
        entry("a", [text("x").into_parts(), place(Some("x"))].concat(), "k"),
        entry("a", vec![filled("A", "x")], "k"),
        entry("a", vec![filled("A", "y")], "k"),
        entry("a", place(Some("x")), "l"),
        fingerprint(&off),
        fingerprint(&started_in("/srv/x", vec![])),
        fingerprint(&started_in("/srv/y", vec![])),
        fingerprint(&http(text("https://a.test"), vec![("A", text("k"))])),
        fingerprint(&http(text("https://a.test"), vec![("A", text("l"))])),
        fingerprint(&FoundConnector::unusable("a", "it is bad")),
    ];
    let different: std::collections::HashSet<&String> = others.iter().chain([&first]).collect();
    assert_eq!(different.len(), others.len() + 1);
}

#[test]
fn nothing_of_what_was_found_can_be_printed() {
    let parts =
        vec![Part::Written("hunter2".into()), filled("A", "hunter2"), wanted("B", true, Some("hunter2"))];
    let printed = format!("{:?}", http(Template::new(parts.clone()), vec![("X", Template::new(parts))]));
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn variables_that_are_secrets_or_are_not_of_the_file_go_to_the_secret_store() {
    let env = vec![
        ("LOG", text("info")),
        ("GITHUB_TOKEN", text("t")),
        ("PLAIN", Template::new(vec![filled("HOME", "/u")])),
        ("FROM", Template::new(vec![filled("API_TOKEN", "abc")])),
        ("REGION", Template::new(vec![wanted("input:region", false, Some("eu"))])),
        ("OTHER", Template::new(vec![wanted("other", false, Some("eu"))])),
        ("TAKEN", Template::new(vec![filled("NEUTRAL", "letmein")])),
        (
            "CACHE",
            Template::new(vec![filled("userHome", "/here"), filled("/", "/"), Part::Written("c".into())]),
        ),
    ];
    let mut found = stdio(vec![text("-y")], env);
    found.disabled = true;
    let new = plan(&found, &entered(&[("other", "us")]), false).unwrap();
    let NewEndpoint::Stdio(command) = &new.endpoint else { panic!("{new:?}") };
    let plain: Vec<_> = command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let secret: Vec<_> = new.secret_env.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(plain, ["CACHE=/here/c", "LOG=info", "PLAIN=/u", "REGION=eu"]);
    assert_eq!(secret, ["GITHUB_TOKEN", "FROM", "OTHER", "TAKEN"]);
    assert_eq!(
        (new.name.as_str(), new.disabled, command.args.clone()),
        ("local", true, vec!["-y".to_owned()])
    );
}

#[test]
fn what_may_be_missing_is_left_out_unless_it_is_given() {
    let found = http(text("https://a.test"), vec![("X-Trace", optional("TRACE")), ("X", text("k"))]);
    let headers = |values: &[(&str, &str)]| {
        let new = plan(&found, &entered(values), false).unwrap();
        let NewEndpoint::Http { headers, .. } = new.endpoint else { panic!("not HTTP") };
        headers.into_iter().map(|header| header.name).collect::<Vec<_>>()
    };
    assert_eq!([headers(&[]), headers(&[("TRACE", "t")])], [vec!["X"], vec!["X-Trace", "X"]]);
    assert_eq!(shown(found)["wanted"], json!([{"name": "TRACE", "optional": true}]));
    let local = stdio(vec![], vec![("KEY", optional("KEY"))]);
    let count = |values: &[(&str, &str)]| plan(&local, &entered(values), false).unwrap().secret_env.len();
    assert_eq!([count(&[]), count(&[("KEY", "k")])], [0, 1]);
    assert_ne!(
        fingerprint(&local),
        fingerprint(&stdio(vec![], vec![("KEY", Template::new(vec![wanted("KEY", false, None)]))]))
    );
}

#[test]
fn a_local_server_is_started_where_its_client_starts_it() {
    let in_project = |project: &str| started_in(project, vec![text("build/index.js")]);
    let new = plan(&in_project("/srv/x"), &BTreeMap::new(), false).unwrap();
    let NewEndpoint::Stdio(command) = &new.endpoint else { panic!("{new:?}") };
    assert_eq!((command.command.as_str(), command.cwd.as_deref()), ("node", Some("/srv/x")));
    assert_eq!(Destination::of(&in_project("/srv/x")), Some(Destination::command(command)));
    // The same words lead to another server elsewhere.
    assert_ne!(Destination::of(&in_project("/srv/x")), Destination::of(&in_project("/srv/y")));
    let secret = refusal(&started_in(&format!("/srv/{TOKEN}"), vec![]), &[]);
    assert_eq!(secret, Some(Refusal::PlainSecrets(vec!["folder".to_owned()])));
}

#[test]
fn what_is_missing_is_named_once_and_can_be_given() {
    let bearer = Template::new(vec![wanted("TOKEN", true, None), wanted("ORG", false, None)]);
    let found = http(text("https://a.test/mcp"), vec![("A", bearer.clone()), ("B", bearer)]);
    assert_eq!(refusal(&found, &[]), Some(Refusal::Missing(vec!["TOKEN".into(), "ORG".into()])));
    assert_eq!(refusal(&found, &[("TOKEN", "t"), ("ORG", "o")]), None);
}

#[test]
fn a_secret_stays_in_a_url_or_an_argument_only_where_the_user_insists() {
    for (found, place) in [
        (http(text("https://a.test/mcp?api_key=hunter2"), vec![]), "URL"),
        (http(text(&format!("https://a.test/s/{TOKEN}/mcp")), vec![]), "URL"),
        (
            http(
                Template::new(vec![Part::Written("https://a.test/?k=".into()), wanted("K", true, Some("x"))]),
                vec![],
            ),
            "URL",
        ),
        (stdio(vec![text("--password"), text("hunter2")], vec![]), "argument 2"),
        (stdio(vec![Template::new(vec![filled("DB_PASSWORD", "hunter2")])], vec![]), "argument 1"),
    ] {
        assert_eq!(refusal(&found, &[]), Some(Refusal::PlainSecrets(vec![place.to_owned()])), "{found:?}");
        assert!(plan(&found, &BTreeMap::new(), true).is_ok());
    }
    let user = http(text("https://u:hunter2@a.test/mcp"), vec![]);
    assert_eq!(plan(&user, &BTreeMap::new(), true).err(), Some(Refusal::UserInUrl));
    assert_eq!(shown(user)["url"], "https://…@a.test/mcp");
}

/// What arguments and URLs are made of, in any order.
fn odd_text() -> impl Strategy<Value = String> {
    let pieces = [
        "--",
        "token",
        "api_key",
        "id",
        "x",
        "=",
        "==",
        ":",
        "/",
        "?",
        "&",
        "@",
        "#",
        " ",
        "\"",
        "{",
        "}",
        "${A}",
        "https://",
        "git+",
        "h.test",
        "hunter2",
        TOKEN,
        "9b1b5a1c3d7e2f48a6b0c9d1e5f3a7b2c4d6e8f0",
        "K7mDeNG1bPxRfiCY2zEk",
        "-----BEGIN ",
        "Bearer ",
        "password",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..9)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_that_is_shown_looks_like_a_secret(args in proptest::collection::vec(odd_text(), 0..4), url in odd_text()) {
        let plain = |text: &Value| text.as_str().unwrap().replace(HIDDEN, "*");
        let local = shown(stdio(args.iter().map(|arg| text(arg)).collect(), vec![]));
        let seen: Vec<String> = local["args"].as_array().into_iter().flatten().map(plain).collect();
        for (at, is_secret) in secret_arguments(&seen).into_iter().enumerate() {
            // The option before it may speak of a value whose name alone is left.
            prop_assert!(!(is_secret && secret_arguments(&seen[at..=at])[0]), "{args:?} {local}");
        }
        let remote = shown(http(text(&url), vec![]));
        prop_assert_eq!(see_url(&plain(&remote["url"])).secret, None, "{}", url);
    }
}
