//! The main job: from a URL or a command to a governed call, and out again.

use connectors_core::{CredentialStore, Slug};
use connectors_store::{Paths, VaultStore};
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::mcp_server::{Linger, ReplyAs};
use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, call, daemon, members};

const SECRET: &str = "correct-horse-battery-staple";

/// Where a connector leads: what it is added with, and the server to keep running meanwhile.
struct Target {
    method: &'static str,
    params: Value,
    _server: Option<McpServer>,
}

fn http(script: Script) -> Target {
    let tools = [Tool::echo(), Tool::add(), Tool::fail()];
    let server = script.with_tools(tools).with_page_size(2).requiring_header("x-api-key", SECRET).start();
    let params = json!({"name": "My Server", "url": server.url(), "headers": {"X-Api-Key": SECRET}});
    Target { method: "connectors.add", params, _server: Some(server) }
}

fn stdio(script: StdioScript) -> Target {
    let script = StdioScript { page_size: 2, ..script };
    let command = env!("CARGO_BIN_EXE_mcp-stdio-server");
    let params = json!({"name": "My Server", "command": command, "args": [script.argument()]});
    Target { method: "connectors.add_stdio", params, _server: None }
}

/// The names under which the vault of this home keeps secrets of the connector.
async fn secrets_in_vault(home: &TempHome) -> Vec<String> {
    let vault = VaultStore::new(&Paths::new(home.state(), home.vault_key_path()));
    let keys = vault.list(&Slug::verbatim("my_server")).await.expect("the vault can be read");
    keys.iter().map(ToString::to_string).collect()
}

/// Every step of the main job, on one server.
async fn walk_through(target: Target) {
    let home = TempHome::new();
    let daemon_with_vault = daemon().with_vault();
    let daemon = daemon_with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    assert_eq!(session.must("connectors.list", json!({})).await, json!({"connectors": []}));

    let added = session.must(target.method, target.params.clone()).await;
    assert_eq!(added["slug"], "my_server");
    assert_eq!(added["name"], "My Server");
    assert_eq!(added["url"], target.params.get("url").cloned().unwrap_or(json!("")));
    let status = session.ready("my_server").await;
    assert_eq!([&status["tool_count"], &status["enabled_count"]], [&json!(3), &json!(0)]);
    assert_eq!([&status["state"], &status["last_error"]], [&json!("ready"), &Value::Null]);

    let tools = session.tools("my_server").await;
    assert_eq!(members(&tools, "name"), ["echo", "add", "fail"]);
    assert_eq!(members(&tools, "enabled"), [false, false, false]);
    assert_eq!(
        members(&tools, "canonical"),
        ["mcp_my_server_echo", "mcp_my_server_add", "mcp_my_server_fail"]
    );
    assert_eq!(tools[0]["description"], "The tool echo.");

    let hello = call("my_server", "echo", json!({"text": "hello"}));
    let error = session.must_fail("connectors.call_tool", hello.clone()).await;
    assert_eq!((error.code, error.data_code()), (-32041, "unknown_tool"));

    let wanted = json!({"slug": "my_server", "tools": ["echo", "add", "no_such_tool"]});
    assert_eq!(session.must("connectors.enable_tools", wanted.clone()).await, json!({"enabled": 2}));
    assert_eq!(session.must("connectors.enable_tools", wanted).await, json!({"enabled": 0}));
    assert_eq!(session.text("my_server", "echo", json!({"text": "hello"})).await, "hello");
    assert_eq!(session.text("my_server", "add", json!({"a": 2, "b": 40})).await, "42");
    let error = session.must_fail("connectors.call_tool", call("my_server", "fail", json!({}))).await;
    assert_eq!(error.code, -32041);
    drop(session);
    daemon.stop().await;

    let daemon = daemon_with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    let status = session.ready("my_server").await;
    assert_eq!([&status["tool_count"], &status["enabled_count"]], [&json!(3), &json!(2)]);
    assert_eq!(session.text("my_server", "echo", json!({"text": "again"})).await, "again");
    assert_eq!(home.files_with(SECRET), Vec::<std::path::PathBuf>::new());

    let has_secret = target.params.get("headers").is_some();
    let expected = if has_secret { vec!["connector:my_server:X-Api-Key".to_owned()] } else { Vec::new() };
    assert_eq!(secrets_in_vault(&home).await, expected);

    let removed = session.must("connectors.remove", json!({"slug": "my_server"})).await;
    assert_eq!(removed, json!({"removed": "my_server"}));
    assert_eq!(session.must("connectors.list", json!({})).await, json!({"connectors": []}));
    let error = session.must_fail("connectors.call_tool", hello).await;
    assert!([-32040, -32041].contains(&error.code), "{error:?}");
    assert_eq!(home.manifest(), Vec::<Value>::new());
    assert_eq!(secrets_in_vault(&home).await, Vec::<String>::new());

    // The name is free again, and nothing of the old one's secrets is left for the new one to send.
    let mut without_headers = target.params.clone();
    without_headers.as_object_mut().expect("an object").remove("headers");
    let status = session.must(target.method, without_headers).await;
    assert_eq!(status["slug"], "my_server");
    if target.method == "connectors.add" {
        assert_eq!(status["state"], "needs_sign_in");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_modern_server_goes_from_url_to_governed_call_and_survives_a_restart() {
    walk_through(http(Script::modern())).await;
}

#[tokio::test]
async fn a_legacy_server_goes_from_url_to_governed_call_and_survives_a_restart() {
    walk_through(http(Script::legacy())).await;
}

#[tokio::test]
async fn a_legacy_server_without_sessions_that_answers_in_streams_does_too() {
    let script = Script::legacy().without_sessions().without_get_stream();
    walk_through(http(script.replying(ReplyAs::Sse(Linger::No)))).await;
}

#[tokio::test]
async fn a_modern_stdio_server_goes_from_command_to_governed_call_and_survives_a_restart() {
    walk_through(stdio(StdioScript::modern(&["echo", "add", "fail"]))).await;
}

#[tokio::test]
async fn a_legacy_stdio_server_goes_from_command_to_governed_call_and_survives_a_restart() {
    walk_through(stdio(StdioScript::legacy(&["echo", "add", "fail"]))).await;
}

#[tokio::test]
async fn a_dual_server_is_spoken_to_in_the_modern_era() {
    let server = Script::dual().with_tools([Tool::echo()]).start();
    let (_home, _daemon, session) = crate::session::start().await;
    let slug = session.add("dual", &server).await;
    let status = session.status(&slug).await;
    assert_eq!([&status["era"], &status["protocol_version"]], [&json!("modern"), &json!("2026-07-28")]);
    assert_eq!(server.seen().count("initialize"), 0);
}

#[tokio::test]
async fn two_connectors_of_one_name_get_two_slugs() {
    let server = Script::modern().start();
    let (home, _daemon, session) = crate::session::start().await;
    assert_eq!(session.add("Same name", &server).await, "same_name");
    assert_eq!(session.add("same-name", &server).await, "same_name_2");
    assert_eq!(members(&home.manifest(), "slug"), ["same_name", "same_name_2"]);
}

#[tokio::test]
async fn two_sessions_see_the_same_connectors() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let (_home, daemon, session) = crate::session::start().await;
    let other = Session::open(&daemon).await;
    let slug = session.add_with("shared", &server, &["echo"]).await;
    other.event("the catalogue", |event| event["kind"] == "catalogue" && event["enabled_count"] == 1).await;
    assert_eq!(other.text(&slug, "echo", json!({"text": "from the other"})).await, "from the other");
}
