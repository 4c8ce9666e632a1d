//! A daemon that dies at any of the calls by which it writes to the disk, and what the next one makes of what is left.
#![expect(
    clippy::print_stdout,
    reason = "a test that does nothing says why, and a failure is seen by where it stopped"
)]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use connectors_core::{ConfigStore, CredentialStore, Slug};
use connectors_store::{ManifestStore, Paths, VaultStore};
use connectors_tests::deadline::soon;
use connectors_tests::ws_client::RpcError;
use connectors_tests::{Daemon, McpServer, Script, TempHome, Tool};
use futures_util::StreamExt;
use secrecy::ExposeSecret;
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
async fn whole(home: &TempHome, after: &str) -> Vec<Value> {
    println!("after {after}");
    let running = daemon().with_vault().start(home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!([&status["kind"], &status["warning"]], [&json!("vault"), &json!(false)], "{status}");
    let mut connectors = Vec::new();
    for connector in session.list().await {
        connectors.push(session.ready(connector["slug"].as_str().expect("a slug")).await);
    }
    soon("what was begun to be cleared away", all_finished(home)).await;
    drop(session);
    running.stop().await;
    assert!(!home.token_path().exists());
    for folder in [home.state(), home.user()] {
        assert_nothing_temporary(&folder);
    }
    assert_private(&home.state());
    connectors
}

/// Returns once the manifest says of no connector that it is being added or removed.
async fn all_finished(home: &TempHome) {
    let manifest = ManifestStore::new(home.manifest_path());
    let mut changes = manifest.changes().expect("a file can be watched");
    while manifest.load().await.expect("a manifest").iter().any(|definition| definition.unfinished) {
        changes.next().await;
    }
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
const CHANGES: usize = 6;

/// Makes one of several changes of all kinds, which follow one another; false if the daemon died over it.
async fn change(session: &Session, which: usize, to: &McpServer) -> bool {
    let headers = json!({"X-Key": "for the new address"});
    let moved = json!({"slug": "old", "name": "Moved", "url": to.url(), "headers": headers});
    let changes: [_; CHANGES] = [
        ("connectors.add", json!({"name": "New", "url": to.url(), "headers": headers})),
        ("connectors.enable_tools", json!({"slug": "new", "tools": ["echo", "add"]})),
        ("connectors.update", moved),
        ("connectors.disable_tools", json!({"slug": "new", "tools": ["add"]})),
        ("connectors.update", json!({"slug": "new", "name": "Other", "headers": {"X-Other": "other"}})),
        ("connectors.remove", json!({"slug": "old"})),
    ];
    let (method, params) = &changes[which];
    let mut is_made = true;
    if which == 1 {
        // Before that nothing is known of its tools.
        is_made = lives_to_answer(session, "connectors.reconnect", json!({"slug": "new"})).await;
    }
    is_made && lives_to_answer(session, method, params.clone()).await
}

async fn lives_to_answer(session: &Session, method: &str, params: Value) -> bool {
    match session.call(method, params).await {
        Ok(_) => true,
        Err(error) if error.code == RpcError::CLOSED => false,
        Err(error) => panic!("{method}: {error:?}"),
    }
}

/// A connector and its secret, as they are to be.
fn entry(name: &str, server: &McpServer, tools: &[&str], (header, value): (&str, &str)) -> Value {
    json!({
        "name": name, "url": server.url(), "secret_headers": [header], "enabled_tools": tools,
        "secrets": {header: value},
    })
}

/// What there is after so many changes.
fn after(changes: usize, old: &McpServer, new: &McpServer) -> Value {
    let elsewhere = ("X-Key", "for the new address");
    let mut all = match changes {
        0..3 => json!({"old": entry("Old", old, &["echo"], ("X-Key", "first"))}),
        3..6 => json!({"old": entry("Moved", new, &["echo"], elsewhere)}),
        _ => json!({}),
    };
    match changes {
        0 => {}
        1 => all["new"] = entry("New", new, &[], elsewhere),
        2 | 3 => all["new"] = entry("New", new, &["add", "echo"], elsewhere),
        4 => all["new"] = entry("New", new, &["echo"], elsewhere),
        _ => all["new"] = entry("Other", new, &["echo"], ("X-Other", "other")),
    }
    all
}

/// What there is now, in the manifest and in the vault.
async fn now(home: &TempHome) -> Value {
    let mut all = json!({});
    for entry in home.manifest() {
        let tools = entry["enabled_tools"].as_array().into_iter().flatten();
        let tools: BTreeSet<_> = tools.map(|tool| tool.as_str().expect("a name")).collect();
        all[entry["slug"].as_str().expect("a slug")] = json!({
            "name": entry["name"], "url": entry["url"], "secret_headers": entry["secret_headers"],
            "enabled_tools": tools,
        });
    }
    let vault = VaultStore::new(&Paths::new(home.state(), home.vault_key_path()));
    for slug in ["old", "new"] {
        for key in vault.list(&Slug::verbatim(slug)).await.expect("a vault") {
            let value = vault.get(&key).await.expect("a vault").expect("a value");
            let account = key.account();
            let name = account.rsplit(':').next().expect("a name");
            all[slug]["secrets"][name] = json!(value.expose_secret());
        }
    }
    all
}

#[tokio::test]
async fn a_change_that_dies_at_any_step_is_made_or_not_made_and_no_secret_goes_elsewhere() {
    if !is_wanted() {
        return;
    }
    let (old, new) = (server(), server());
    let mut before = furnished(&old).await;
    for which in 0..CHANGES {
        // Each thread counts its own calls, and a start makes some, too: a change may survive by chance.
        let deaths = loop {
            match deaths_in(&before, which, &old, &new).await {
                0 => {}
                deaths => break deaths,
            }
        };
        println!("{deaths} deaths in the change {which}");
        let next = copy_of(&before);
        let running = daemon().with_vault().start(&next).await;
        let session = Session::open(&running).await;
        assert!(change(&session, which, &new).await);
        drop(session);
        running.stop().await;
        before = next;
    }
    let shown = |server: &McpServer| -> BTreeSet<String> {
        server.seen().requests.iter().map(|seen| seen.header("x-key").to_owned()).collect()
    };
    assert_eq!(shown(&old), BTreeSet::from(["first".to_owned()]));
    assert_eq!(shown(&new), BTreeSet::from([String::new(), "for the new address".to_owned()]));
}

/// Has a daemon die at each step of a change in turn, and looks at what is left; how often it died.
async fn deaths_in(before: &TempHome, which: usize, old: &McpServer, new: &McpServer) -> usize {
    let mut deaths = 0;
    // Folders are there by then, and whatever else is written (to a log, to sockets) would end the daemon too early.
    for calls in &STEPS[2..] {
        for n in 1..MOST_CALLS {
            let home = copy_of(before);
            // Not even started.
            let Ok(running) = dying(calls, n).try_start(&home).await else { continue };
            let session = Session::open(&running).await;
            let is_made = change(&session, which, new).await;
            drop(session);
            running.kill().await;
            let at = format!("call {n} of {calls}, in the change {which}");
            whole(&home, &at).await;
            let now = now(&home).await;
            let possible = [which, which + 1].map(|changes| after(changes, old, new));
            assert!(now == possible[1] || !is_made && now == possible[0], "{at}: {now}");
            if is_made {
                break;
            }
            deaths += 1;
        }
    }
    deaths
}
