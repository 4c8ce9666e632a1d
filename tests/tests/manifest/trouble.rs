//! What happens when the manifest, or a vault beside it, cannot be written: an error, and nothing else.

#![cfg(unix)]

use std::fs;
use std::path::Path;

use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::disk::{ReadOnly, SmallDisk, through, unprivileged};
use crate::session::{Session, daemon};

/// Where secrets are: in neither of these can a change of the manifest fail half.
const PLACES: [&str; 2] = ["memory", "vault"];

/// A connector with an enabled tool, one that is not, and one whose definition has changed since.
async fn prepare(session: &Session, server: &McpServer) -> String {
    let slug = session.add_with("s", server, &["echo", "add"]).await;
    server.set_tools([Tool::echo().described("Something else."), Tool::add(), Tool::fail()]);
    session.must("connectors.refresh", json!({"slug": slug})).await;
    let status = session.until(&slug, "changed", |status| status["tool_count"] == 3).await;
    assert_eq!(status["enabled_count"], 1);
    slug
}

fn server() -> McpServer {
    Script::modern().with_tools([Tool::echo(), Tool::add()]).start()
}

/// What is in a folder, by name, with the contents of files.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry"));
    let mut contents: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a name");
            // Not the vault's: a value that is put back is encrypted anew.
            (name, fs::read_to_string(entry.path()).unwrap_or_default())
        })
        .collect();
    contents.sort();
    contents
}

/// Every change fails with the same error, and afterwards everything is as it was.
async fn nothing_changes(session: &Session, home: &TempHome, slug: &str, server: &McpServer) {
    let state = async || {
        let tools = session.tools(slug).await;
        // Locks are no state: whoever wants one makes it, whatever becomes of the change.
        let is_lock = |name: &str| name == "locks" || name.ends_with(".lock");
        let manifest = contents(&home.state()).into_iter().filter(|(name, _)| !is_lock(name));
        let mut connectors = session.list().await;
        for status in connectors.iter_mut().filter_map(Value::as_object_mut) {
            // The server has announced its change, and is asked again some time.
            status.remove("tools_fetched_at");
        }
        (connectors, tools, manifest.collect::<Vec<_>>())
    };
    let before = state().await;
    let headers = json!({"X-Key": "not-to-be-kept"});
    for (method, params) in [
        ("connectors.add", json!({"name": "New", "url": server.url(), "headers": headers})),
        ("connectors.add_stdio", json!({"name": "New", "command": "true"})),
        ("connectors.update", json!({"slug": slug, "name": "New name", "headers": headers})),
        ("connectors.update", json!({"slug": slug, "disabled": true})),
        ("connectors.enable_tools", json!({"slug": slug, "tools": ["fail"]})),
        ("connectors.disable_tools", json!({"slug": slug, "tools": ["add"]})),
        ("connectors.accept_changes", json!({"slug": slug, "tools": ["echo"]})),
        ("connectors.remove", json!({"slug": slug})),
    ] {
        let error = session.must_fail(method, params.clone()).await;
        assert_eq!((error.code, error.data_code()), (-32049, "storage"), "{method} {params}: {error:?}");
        assert!(error.data["remedy"].is_string(), "{error:?}");
        assert_eq!(state().await, before, "after {method} {params}");
    }
    assert_eq!(session.text(slug, "add", json!({"a": 20, "b": 22})).await, "42");
}

/// Everything that failed before succeeds.
async fn all_is_well(session: &Session, home: &TempHome, slug: &str) {
    let tools = |tool: &str| json!({"slug": slug, "tools": [tool]});
    session.must("connectors.accept_changes", tools("echo")).await;
    session.must("connectors.enable_tools", tools("fail")).await;
    session.must("connectors.disable_tools", tools("add")).await;
    assert_eq!(home.manifest()[0]["enabled_tools"], json!(["echo", "fail"]));
    session.must("connectors.remove", json!({"slug": slug})).await;
    assert!(home.manifest().iter().all(|entry| entry["slug"] != slug));
}

#[tokio::test]
async fn a_limit_on_the_size_of_files_changes_nothing_in_memory_or_on_disk() {
    for place in PLACES {
        with_a_limit_on_the_size_of_files(place).await;
    }
}

async fn with_a_limit_on_the_size_of_files(place: &'static str) {
    let (home, server) = (TempHome::new(), server());
    // Writing beyond the limit ends a program that does not ignore the signal; then it is an error in the midst of a write.
    let daemon = through(&home, "trap '' XFSZ\nulimit -f 24\nexec \"$DAEMON\" \"$@\"");
    let daemon = daemon.with_secrets(place).start(&home).await;
    let session = Session::open(&daemon).await;
    let slug = prepare(&session, &server).await;
    let mut manifest: Value = serde_json::from_str(&home.manifest_text()).expect("JSON");
    // More than any limit that the shell may have set, whose unit is 512 or 1024 bytes.
    manifest["ballast"] = json!("x".repeat(30 << 10));
    home.write_manifest(&manifest.to_string());
    nothing_changes(&session, &home, &slug, &server).await;
    manifest["ballast"].take();
    home.write_manifest(&manifest.to_string());
    all_is_well(&session, &home, &slug).await;
}

#[tokio::test]
async fn a_full_disk_changes_nothing_in_memory_or_on_disk() {
    for place in PLACES {
        on_a_full_disk(place).await;
    }
}

async fn on_a_full_disk(place: &'static str) {
    let (home, server) = (TempHome::new(), server());
    let Some(disk) = SmallDisk::over(home.state()) else { return };
    let daemon = daemon().with_secrets(place).start(&home).await;
    let session = Session::open(&daemon).await;
    let slug = prepare(&session, &server).await;
    let ballast = disk.fill();
    nothing_changes(&session, &home, &slug, &server).await;
    drop(ballast);
    all_is_well(&session, &home, &slug).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_changes_nothing_in_memory_or_on_disk() {
    for place in PLACES {
        in_a_folder_that_cannot_be_written(place).await;
    }
}

async fn in_a_folder_that_cannot_be_written(place: &'static str) {
    let (home, server) = (TempHome::new(), server());
    let Some(daemon) = unprivileged(&home) else { return };
    let daemon = daemon.with_secrets(place).start(&home).await;
    let session = Session::open(&daemon).await;
    let slug = prepare(&session, &server).await;
    let lock = home.state().join("connectors.json.lock");
    for with_lock in [true, false] {
        if !with_lock {
            fs::remove_file(&lock).expect("the lock's file");
        }
        let _unwritable = ReadOnly::folder(home.state());
        nothing_changes(&session, &home, &slug, &server).await;
    }
    all_is_well(&session, &home, &slug).await;
}
