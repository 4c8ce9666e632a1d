//! What happens when the manifest, or a vault beside it, cannot be written: an error, and nothing else.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::{Daemon, McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, daemon};

/// A daemon that is started by a script, which ends with this line; `$DAEMON` is the daemon, `"$@"` are its arguments.
fn through(home: &TempHome, script: &str) -> Daemon {
    let path = home.user().join("start");
    let program = env!("CARGO_BIN_EXE_daemon-under-test");
    fs::write(&path, format!("#!/bin/sh\nDAEMON='{program}'\n{script}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    Daemon::new(path)
}

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

/// A small file system in memory over a folder; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason printed, where that is not possible.
    fn over(folder: PathBuf) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(&folder)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                skipped(&format!("nothing can be mounted: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                skipped(&format!("nothing can be mounted: {error}"));
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while a daemon still has a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[allow(clippy::print_stderr, reason = "what was not tested has to be seen")]
fn skipped(why: &str) {
    eprintln!("NOT TESTED: {}", why.trim());
}

#[tokio::test]
async fn a_full_disk_changes_nothing_in_memory_or_on_disk() {
    for place in PLACES {
        on_a_full_disk(place).await;
    }
}

async fn on_a_full_disk(place: &'static str) {
    let (home, server) = (TempHome::new(), server());
    let Some(_disk) = SmallDisk::over(home.state()) else { return };
    let daemon = daemon().with_secrets(place).start(&home).await;
    let session = Session::open(&daemon).await;
    let slug = prepare(&session, &server).await;
    let ballast = home.state().join("ballast");
    // As much as there is room for.
    let error = fs::write(&ballast, vec![b'x'; 1 << 20]).expect_err("the disk is small");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    nothing_changes(&session, &home, &slug, &server).await;
    fs::remove_file(&ballast).expect("the ballast");
    all_is_well(&session, &home, &slug).await;
}

/// Starts a daemon that folder modes hold for, though the tests may run as a user for whom they do not; `None`, with the reason
/// printed, where there is no way.
async fn start_unprivileged(home: &TempHome, place: &'static str) -> Option<RunningDaemon> {
    let without_rights = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all --";
    let folder = home.user().join("probe");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("a mode");
    for prefix in ["", without_rights] {
        let probe = format!("{prefix} sh -c ': > \"$0/file\"' '{}'", folder.display());
        let tried = Command::new("sh").args(["-c", &probe]).output().expect("a shell");
        let is_denied = String::from_utf8_lossy(&tried.stderr).contains("denied");
        let _ = fs::remove_file(folder.join("file"));
        if !tried.status.success() && is_denied {
            let daemon = through(home, &format!("exec {prefix} \"$DAEMON\" \"$@\""));
            return Some(daemon.with_secrets(place).start(home).await);
        }
    }
    skipped("this user may write to every folder, and there is no `setpriv` to give that up");
    None
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_changes_nothing_in_memory_or_on_disk() {
    for place in PLACES {
        in_a_folder_that_cannot_be_written(place).await;
    }
}

async fn in_a_folder_that_cannot_be_written(place: &'static str) {
    let (home, server) = (TempHome::new(), server());
    let Some(daemon) = start_unprivileged(&home, place).await else { return };
    let session = Session::open(&daemon).await;
    let slug = prepare(&session, &server).await;
    let lock = home.state().join("connectors.json.lock");
    for with_lock in [true, false] {
        if !with_lock {
            fs::remove_file(&lock).expect("the lock's file");
        }
        fs::set_permissions(home.state(), fs::Permissions::from_mode(0o500)).expect("a mode");
        nothing_changes(&session, &home, &slug, &server).await;
        fs::set_permissions(home.state(), fs::Permissions::from_mode(0o700)).expect("a mode");
    }
    all_is_well(&session, &home, &slug).await;
}
