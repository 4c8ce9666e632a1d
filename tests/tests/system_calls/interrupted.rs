//! A daemon that dies at any of the calls by which it writes to the disk, and what the next one makes of what is left.
#![expect(
    clippy::print_stdout,
    reason = "a test that does nothing says why, and a failure is seen by where it stopped"
)]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use connectors_tests::ws_client::RpcError;
use connectors_tests::{Daemon, McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use super::assert_private;
use crate::disk::assert_nothing_temporary;
use crate::secrets::secrets;
use crate::session::{Session, daemon};

/// Each step of replacing a file: its folder is made, the temporary file is written, synchronised and renamed, the folder is
/// synchronised, what is left over removed. (With `?` where not every platform has the call.)
const STEPS: [&str; 5] = [
    "?mkdir,mkdirat",
    "write,pwrite64,writev",
    "fsync,fdatasync",
    "?rename,renameat,renameat2,?link,linkat",
    "?unlink,unlinkat",
];

/// More calls of one kind than any thread of the daemon makes here.
const MOST_CALLS: usize = 200;

/// The daemon, which dies when a thread of it makes the n-th call of these. It is not made any more.
fn dying(calls: &str, n: usize) -> Daemon {
    let (traced, inject) = (format!("trace={calls}"), format!("inject={calls}:signal=KILL:when={n}"));
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &traced, "-e", &inject];
    daemon().with_vault().run_by(&strace)
}

fn is_wanted() -> bool {
    let is_wanted = std::env::var_os("CONNECTORS_STRACE").is_some();
    if !is_wanted {
        println!("skipped: CONNECTORS_STRACE is not set");
    }
    is_wanted
}

fn server() -> McpServer {
    Script::modern().with_tools([Tool::echo(), Tool::add()]).start()
}

/// With a connector in the manifest, and its secret in the vault.
async fn furnished(server: &McpServer) -> TempHome {
    let home = TempHome::new();
    let running = daemon().with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let headers = json!({"X-Key": "first"});
    session.must("connectors.add", json!({"name": "Old", "url": server.url(), "headers": headers})).await;
    session.ready("old").await;
    session.enable("old", &["echo"]).await;
    drop(session);
    running.stop().await;
    home
}

fn copy_of(home: &TempHome) -> TempHome {
    let copy = TempHome::new();
    for (from, to) in [(home.state(), copy.state()), (home.user(), copy.user())] {
        let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp");
        assert!(copied.success());
    }
    copy
}

/// The next daemon starts as if nothing had been, reaches every connector, and leaves nothing behind. Returns what it lists.
///
/// A connector whose removal was cut short may be without its secret, and says so.
async fn whole(home: &TempHome, after: &str) -> Vec<Value> {
    println!("after {after}");
    let running = daemon().with_vault().start(home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!([&status["kind"], &status["warning"]], [&json!("vault"), &json!(false)], "{status}");
    let mut connectors = Vec::new();
    for connector in session.list().await {
        let slug = connector["slug"].as_str().expect("a slug");
        let settled = |status: &Value| status["connected"] == true || status["state"] == "needs_sign_in";
        let status = session.until(slug, "ready", settled).await;
        let is_being_removed = after.ends_with("in the change 4");
        assert!(status["connected"] == true || is_being_removed, "{status}");
        connectors.push(status);
    }
    drop(session);
    running.stop().await;
    assert!(!home.token_path().exists());
    for folder in [home.state(), home.user()] {
        assert_nothing_temporary(&folder);
    }
    assert_private(&home.state());
    connectors
}

#[tokio::test]
async fn a_start_may_die_at_any_step() {
    if !is_wanted() {
        return;
    }
    let server = server();
    for before in [TempHome::new(), furnished(&server).await] {
        let connectors = before.manifest().len();
        let mut deaths = 0;
        for calls in STEPS {
            for n in 1..MOST_CALLS {
                let home = copy_of(&before);
                match dying(calls, n).try_start(&home).await {
                    // Fewer calls are made.
                    Ok(running) => {
                        running.kill().await;
                        break;
                    }
                    Err(ended) => assert_eq!(ended.status.signal(), Some(9), "{}", ended.output),
                }
                deaths += 1;
                let listed = whole(&home, &format!("call {n} of {calls}")).await;
                assert_eq!(listed.len(), connectors);
            }
        }
        println!("{deaths} deaths");
        assert!(deaths > 5, "{deaths}");
    }
}

/// How many there are of the following.
const CHANGES: usize = 5;

/// Changes of all kinds, one after the other; how many were answered.
async fn change(session: &Session, to: &McpServer) -> usize {
    let headers = json!({"X-Key": "for the new address"});
    let moved = json!({"slug": "old", "name": "Moved", "url": to.url(), "headers": headers});
    let changes = [
        ("connectors.add", json!({"name": "New", "url": to.url(), "headers": headers})),
        ("connectors.enable_tools", json!({"slug": "new", "tools": ["echo", "add"]})),
        ("connectors.update", moved),
        ("connectors.disable_tools", json!({"slug": "new", "tools": ["add"]})),
        ("connectors.remove", json!({"slug": "old"})),
    ];
    for (done, (method, params)) in changes.into_iter().enumerate() {
        match session.call(method, params).await {
            Ok(_) => {}
            Err(error) if error.code == RpcError::CLOSED => return done,
            Err(error) => panic!("{method}: {error:?}"),
        }
    }
    CHANGES
}

/// What the manifest says of a connector that has a secret.
fn entry(name: &str, server: &McpServer, tools: &[&str]) -> Value {
    json!({"name": name, "url": server.url(), "secret_headers": ["X-Key"], "enabled_tools": tools})
}

/// What the manifest says after so many changes.
fn after(changes: usize, old: &McpServer, new: &McpServer) -> Value {
    let mut all = match changes {
        0..3 => json!({"old": entry("Old", old, &["echo"])}),
        3..5 => json!({"old": entry("Moved", new, &["echo"])}),
        _ => json!({}),
    };
    match changes {
        0 => {}
        1 => all["new"] = entry("New", new, &[]),
        2 | 3 => all["new"] = entry("New", new, &["add", "echo"]),
        _ => all["new"] = entry("New", new, &["echo"]),
    }
    all
}

/// The same of what it says now.
fn now(home: &TempHome) -> Value {
    let mut all = json!({});
    for entry in home.manifest() {
        let tools = entry["enabled_tools"].as_array().into_iter().flatten();
        let tools: BTreeSet<_> = tools.map(|tool| tool.as_str().expect("a name")).collect();
        all[entry["slug"].as_str().expect("a slug")] = json!({
            "name": entry["name"], "url": entry["url"], "secret_headers": entry["secret_headers"],
            "enabled_tools": tools,
        });
    }
    all
}

#[tokio::test]
async fn a_change_that_dies_at_any_step_is_made_or_not_made_or_has_lost_secrets_and_none_goes_elsewhere() {
    if !is_wanted() {
        return;
    }
    let (old, new) = (server(), server());
    let before = furnished(&old).await;
    let mut deaths = 0;
    // Folders are there by then, and whatever else is written (to a log, to sockets) would end the daemon too early.
    for calls in &STEPS[2..] {
        for n in 1..MOST_CALLS {
            let home = copy_of(&before);
            // A start makes some of these calls itself.
            let Ok(running) = dying(calls, n).try_start(&home).await else { continue };
            let session = Session::open(&running).await;
            let changes = change(&session, &new).await;
            drop(session);
            running.kill().await;
            let mut possible = vec![after(changes, &old, &new), after(changes + 1, &old, &new)];
            if changes == 2 {
                // On the way to another address: the old one, without what must not be shown to it.
                let mut parted = possible[0].clone();
                parted["old"]["secret_headers"] = json!([]);
                possible.push(parted);
            }
            assert!(possible.contains(&now(&home)), "call {n} of {calls}: {}", now(&home));
            whole(&home, &format!("call {n} of {calls}, in the change {changes}")).await;
            if changes == CHANGES {
                break;
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 5, "{deaths}");
    let shown: BTreeSet<_> = old.seen().requests.iter().map(|seen| seen.header("x-key").to_owned()).collect();
    assert!(!shown.contains("for the new address"), "{shown:?}");
}
