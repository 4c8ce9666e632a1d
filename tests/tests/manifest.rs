//! `connectors.json` on a running daemon: edits by hand, other daemons, full disks and folders that cannot be written.

mod trouble;

use connectors_tests::deadline::poll;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, daemon, members, start};

/// The entry of a connector to `server`.
fn entry(slug: &str, server: &McpServer, tools: &[&str]) -> Value {
    json!({"slug": slug, "name": slug.to_uppercase(), "url": server.url(), "secret_headers": [], "mine": 1.5, "enabled_tools": tools})
}

/// Writes the manifest as some editors do: into the same file.
fn write(home: &TempHome, entries: &[Value]) {
    home.write_manifest(&serde_json::to_string_pretty(&json!({"connectors": entries})).expect("JSON"));
}

/// Writes it as others do: beside it, and then over it.
fn replace(home: &TempHome, entries: &[Value]) {
    let other = home.state().join("connectors.json~");
    std::fs::write(&other, json!({"connectors": entries}).to_string()).expect("a file");
    std::fs::rename(other, home.manifest_path()).expect("the file is replaced");
}

/// Waits until these are the connectors, in this order.
async fn listed(session: &Session, slugs: &[&str]) {
    poll(&format!("the connectors {slugs:?}"), async || {
        (members(&session.list().await, "slug") == slugs).then_some(())
    })
    .await;
}

fn echo() -> McpServer {
    Script::modern().with_tools([Tool::echo(), Tool::add()]).start()
}

#[tokio::test]
async fn every_edit_by_hand_takes_effect_without_a_restart() {
    let (one, two) = (echo(), echo());
    let (home, _daemon, session) = start().await;
    // There was no file.
    write(&home, &[entry("a", &one, &[])]);
    listed(&session, &["a"]).await;
    session.ready("a").await;

    replace(&home, &[entry("b", &two, &["add"]), entry("a", &one, &["echo"])]);
    listed(&session, &["b", "a"]).await;
    session.until("b", "ready", |status| status["connected"] == true && status["enabled_count"] == 1).await;
    session.until("a", "enabled", |status| status["enabled_count"] == 1).await;
    assert_eq!(session.text("a", "echo", json!({"text": "by hand"})).await, "by hand");
    assert_eq!(session.text("b", "add", json!({"a": 1, "b": 2})).await, "3");

    let mut renamed = entry("a", &one, &[]);
    renamed["name"] = json!("Renamed");
    write(&home, &[entry("b", &two, &["add"]), renamed.clone()]);
    let status = session.until("a", "renamed", |status| status["name"] == "Renamed").await;
    assert_eq!((&status["enabled_count"], &status["state"]), (&json!(0), &json!("ready")));
    assert_eq!(one.seen().count("server/discover"), 1, "a new name is no reason to dial again");

    renamed["url"] = json!(two.url());
    replace(&home, &[entry("b", &two, &["add"]), renamed.clone()]);
    session
        .until("a", "at its new address", |status| status["url"] == two.url() && status["connected"] == true)
        .await;
    assert_eq!(two.seen().count("server/discover"), 2);

    renamed["disabled"] = json!(true);
    write(&home, &[renamed.clone()]);
    listed(&session, &["a"]).await;
    session.until("a", "off", |status| status["state"] == "disabled").await;
    let error = session.must_fail("connectors.call_tool", json!({"slug": "b", "tool": "add"})).await;
    assert!([-32040, -32041].contains(&error.code), "{error:?}");

    // What was written by hand is still there after a change of ours.
    session.must("connectors.update", json!({"slug": "a", "disabled": false})).await;
    assert!(home.manifest_text().contains("\"mine\": 1.5"), "{}", home.manifest_text());
    std::fs::remove_file(home.manifest_path()).expect("the manifest");
    listed(&session, &[]).await;
}

#[tokio::test]
async fn a_local_server_that_is_removed_by_hand_is_ended() {
    let folder = TempHome::new();
    let pids = folder.user().join("pids");
    let script = StdioScript { pids: Some(pids.clone()), ..StdioScript::modern(&["echo"]) };
    let (home, _daemon, session) = start().await;
    let stdio = json!({"command": env!("CARGO_BIN_EXE_mcp-stdio-server"), "args": [script.argument()]});
    write(&home, &[json!({"slug": "l", "name": "L", "stdio": stdio})]);
    listed(&session, &["l"]).await;
    session.ready("l").await;
    write(&home, &[]);
    listed(&session, &[]).await;
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string(&pids).expect("process ids");
        let pid = text.trim().parse().expect("one process id");
        poll("the end of the process", async || (!connectors_tests::daemon::is_alive(pid)).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn a_broken_edit_is_reported_with_its_place_and_mended_without_a_restart() {
    let (one, two) = (echo(), echo());
    let (home, _daemon, session) = start().await;
    write(&home, &[entry("a", &one, &["echo"])]);
    listed(&session, &["a"]).await;
    session.ready("a").await;
    let newer = json!({"version": 2, "connectors": [entry("a", &one, &[])]}).to_string();
    let twice = json!({"connectors": [entry("a", &one, &[]), entry("a", &two, &[])]}).to_string();
    for (broken, place) in [
        ("{\"connectors\":[\n  {\"slug\":\"a\",}\n]}\n", "line 2, column 15"),
        ("", "line 1, column 1"),
        (&*newer, "newer version (line 1, column 12: `version` is not 1)"),
        (&*twice, "a second connector with the slug `a`"),
    ] {
        home.write_manifest(broken);
        let event = session.event("the problem", |event| event["kind"] == "storage").await;
        let problem = event["problem"].as_str().unwrap_or_else(|| panic!("no problem: {event}"));
        assert!(problem.contains(place), "{problem}");
        let listed = session.must("connectors.list", json!({})).await;
        assert_eq!(listed["storage_problem"], problem);
        assert_eq!(session.text("a", "echo", json!({"text": "goes on"})).await, "goes on");
        let error =
            session.must_fail("connectors.enable_tools", json!({"slug": "a", "tools": ["add"]})).await;
        assert_eq!((error.code, error.data_code()), (-32049, "storage"));
        assert!(error.message.contains(place), "{error:?}");
        assert_eq!(session.status("a").await["enabled_count"], 1);
        assert_eq!(home.manifest_text(), broken, "it is somebody's");

        write(&home, &[entry("a", &one, &["echo"])]);
        let event = session.event("the end of it", |event| event["kind"] == "storage").await;
        assert_eq!(event["problem"], Value::Null);
        assert_eq!(session.must("connectors.list", json!({})).await.get("storage_problem"), None);
    }
    session.enable("a", &["add"]).await;
}

/// A log in a folder that is watched would never end.
#[tokio::test]
async fn that_something_has_happened_in_a_folder_is_not_logged_whatever_is_asked_for() {
    let (home, one) = (TempHome::new(), echo());
    let running = daemon().with_variable("RUST_LOG", "trace").start(&home).await;
    let session = Session::open(&running).await;
    write(&home, &[entry("a", &one, &[])]);
    listed(&session, &["a"]).await;
    let log = running.stop().await;
    assert!(log.contains("TRACE"), "nothing is asked for");
    assert_eq!(log.lines().find(|line| line.contains("notify")), None);
}

#[tokio::test]
async fn two_daemons_on_one_state_root_see_what_the_other_does() {
    let server = echo();
    let home = TempHome::new();
    // Each replaces the token of the one before.
    let first = daemon().start(&home).await;
    let here = Session::open(&first).await;
    let second = daemon().start(&home).await;
    let there = Session::open(&second).await;

    let slug = here.add("shared", &server).await;
    listed(&there, &[&slug]).await;
    there.ready(&slug).await;
    there.enable(&slug, &["echo"]).await;
    here.until(&slug, "enabled", |status| status["enabled_count"] == 1).await;
    assert_eq!(here.text(&slug, "echo", json!({"text": "of the other"})).await, "of the other");
    here.must("connectors.update", json!({"slug": slug, "name": "New name"})).await;
    there.until(&slug, "renamed", |status| status["name"] == "New name").await;
    here.must("connectors.disable_tools", json!({"slug": slug, "tools": ["echo"]})).await;
    there.until(&slug, "disabled", |status| status["enabled_count"] == 0).await;
    let other = there.add("other", &server).await;
    listed(&here, &[&slug, &other]).await;
    there.must("connectors.remove", json!({"slug": slug})).await;
    listed(&here, &[&other]).await;
    assert_eq!(members(&home.manifest(), "slug"), [&other]);
}

#[tokio::test]
async fn two_daemons_that_change_one_connector_at_once_lose_nothing() {
    const TOOLS: usize = 24;
    let names: Vec<_> = (0..TOOLS).map(|n| format!("t{n}")).collect();
    let server = Script::modern().with_tools(names.iter().map(|name| Tool::echo().named(name))).start();
    let home = TempHome::new();
    let first = daemon().start(&home).await;
    let here = Session::open(&first).await;
    let second = daemon().start(&home).await;
    let there = Session::open(&second).await;
    let slug = here.add("shared", &server).await;
    listed(&there, &[&slug]).await;
    there.ready(&slug).await;
    let changes = names.iter().enumerate().map(|(n, name)| {
        let session = [&here, &there][n % 2];
        session.must("connectors.enable_tools", json!({"slug": slug, "tools": [name]}))
    });
    futures_util::future::join_all(changes).await;
    for session in [&here, &there] {
        session.until(&slug, "all enabled", |status| status["enabled_count"] == TOOLS).await;
    }
    let [stored] = &home.manifest()[..] else { panic!("not one entry: {}", home.manifest_text()) };
    assert_eq!(stored["enabled_tools"].as_array().map(Vec::len), Some(TOOLS));
    assert_eq!(stored["tool_pins"].as_object().map(|pins| pins.len()), Some(TOOLS));
}

#[tokio::test]
async fn leftovers_of_a_killed_writer_are_gone_after_the_next_start_though_nothing_is_written() {
    for manifest in [None, Some("{\"connectors\":[]}")] {
        let home = TempHome::new();
        if let Some(manifest) = manifest {
            home.write_manifest(manifest);
        }
        let leftover = home.state().join(".connectors.json.AbC123.tmp");
        std::fs::write(&leftover, "{\"connectors\":[").expect("a file");
        let daemon = daemon().start(&home).await;
        let session = Session::open(&daemon).await;
        assert_eq!(session.list().await, Vec::<Value>::new());
        assert!(!leftover.exists(), "{manifest:?}");
        assert_eq!(home.manifest_text(), manifest.unwrap_or_default());
    }
}
