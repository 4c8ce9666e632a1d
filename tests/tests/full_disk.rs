//! What else is written than the manifest, on a disk that is full and in a folder that cannot be written: the files of a first start
//! (the vault, its key, the token of the launch), and the list of rejected proposals.

use std::fs;
use std::path::{Path, PathBuf};

use connectors_tests::{Daemon, TempHome};
use serde_json::json;

use crate::disk::{ReadOnly, SmallDisk, assert_nothing_temporary, unprivileged};
use crate::secrets::secrets;
use crate::session::{Session, daemon};

/// The folders that a first start writes to, and what it says of the one that it cannot write to.
fn folders(home: &TempHome) -> [(PathBuf, &'static str); 2] {
    let configuration = home.user().join(".config");
    fs::create_dir(&configuration).expect("a folder");
    [(home.state(), "auth-token"), (configuration, "vault.key")]
}

/// A start that cannot write a file says which; it neither hangs nor leaves anything half written.
async fn cannot_write(daemon: &Daemon, home: &TempHome, file: &str, cause: &str) {
    match daemon.try_start(home).await {
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
            assert!(ended.output.contains(file) && ended.output.contains(cause), "{}", ended.output);
        }
        Ok(running) => {
            // Connectors that need no secrets are of use without a vault.
            let status = secrets(&Session::open(&running).await).await;
            let said = status["notice"].as_str().unwrap_or_default();
            assert!(said.contains(file) && said.contains(cause), "{status}");
            assert_eq!(status["warning"], true, "{status}");
            running.stop().await;
        }
    }
    for folder in [home.state(), home.user()] {
        assert_nothing_temporary(&folder);
    }
}

async fn starts(daemon: &Daemon, home: &TempHome) {
    let running = daemon.start(home).await;
    let session = Session::open(&running).await;
    let params = json!({"name": "S", "url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "kept"}});
    session.must("connectors.add", params).await;
    assert_eq!(secrets(&session).await["warning"], false);
    drop(session);
    running.stop().await;
    let running = daemon.start(home).await;
    let session = Session::open(&running).await;
    assert_eq!(session.status("s").await["secret_headers"], json!(["X-Key"]));
    assert_eq!(secrets(&session).await["warning"], false);
    assert_nothing_temporary(&home.state());
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_says_so_and_the_next_one_with_room_is_well() {
    for index in 0..2 {
        let home = TempHome::new();
        let (folder, file) = folders(&home)[index].clone();
        let Some(disk) = SmallDisk::over(folder) else { return };
        let ballast = disk.fill();
        cannot_write(&daemon().with_vault(), &home, file, "No space left on device").await;
        drop(ballast);
        starts(&daemon().with_vault(), &home).await;
    }
}

#[tokio::test]
async fn a_vault_that_could_not_be_made_is_made_once_there_is_room() {
    let home = TempHome::new();
    let [_, (configuration, _)] = folders(&home);
    let Some(disk) = SmallDisk::over(configuration) else { return };
    let ballast = disk.fill();
    let running = daemon().with_vault().start(&home).await;
    let session = Session::open(&running).await;
    assert_eq!(secrets(&session).await["warning"], true);
    let params = json!({"name": "S", "url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "kept"}});
    let error = session.must_fail("connectors.add", params.clone()).await;
    assert_eq!(error.data_code(), "secret_store_unavailable", "{error:?}");
    assert_eq!(session.list().await, [json!(null); 0]);
    drop(ballast);
    let status = secrets(&session).await;
    assert_eq!(status["warning"], false, "{status}");
    assert!(status["notice"].as_str().is_some_and(|said| said.contains("keep a copy")), "{status}");
    session.must("connectors.add", params).await;
}

#[tokio::test]
async fn a_first_start_that_may_not_write_says_so_and_the_next_one_is_well() {
    for index in 0..2 {
        let home = TempHome::new();
        let Some(daemon) = unprivileged(&home) else { return };
        let daemon = daemon.with_vault();
        let (folder, file) = folders(&home)[index].clone();
        let unwritable = ReadOnly::folder(folder);
        cannot_write(&daemon, &home, file, "Permission denied").await;
        drop(unwritable);
        starts(&daemon, &home).await;
    }
}

/// A project whose team file proposes two connectors.
fn project(home: &TempHome) -> PathBuf {
    let project = home.user().join("project");
    for folder in [".git", ".car"] {
        fs::create_dir_all(project.join(folder)).expect("a new folder");
    }
    let entries = ["One", "Two"]
        .map(|name| format!("[[connector]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:9/mcp\"\n"));
    fs::write(project.join(".car").join("connectors.toml"), entries.concat()).expect("a team file");
    project
}

/// What `connectors.list` says of the two proposals.
async fn proposed(session: &Session) -> Vec<String> {
    let slug = |status: &serde_json::Value| status["slug"].as_str().expect("a slug").to_owned();
    session.list().await.iter().filter(|status| status["state"] == "proposed").map(slug).collect()
}

/// Rejecting fails with the error of a storage that cannot be written, and the proposal is still there.
async fn cannot_reject(session: &Session, state: &Path, before: &[&str]) {
    let file = state.join("rejected_proposals.json");
    let on_disk = fs::read_to_string(&file).ok();
    let error = session.must_fail("connectors.reject", json!({"slug": before[0]})).await;
    assert_eq!((error.code, error.data_code()), (-32049, "storage"), "{error:?}");
    assert_eq!(proposed(session).await, before);
    assert_eq!(fs::read_to_string(&file).ok(), on_disk);
    assert_nothing_temporary(state);
}

async fn rejected(daemon: &Daemon, home: &TempHome, session: Session) {
    session.must("connectors.reject", json!({"slug": "two"})).await;
    drop(session);
    let another = daemon.start(home).await;
    assert_eq!(proposed(&Session::open(&another).await).await, [""; 0]);
}

#[tokio::test]
async fn a_rejection_for_which_there_is_no_room_changes_nothing() {
    let home = TempHome::new();
    let Some(disk) = SmallDisk::over(home.state()) else { return };
    let daemon = daemon().in_folder(project(&home));
    let running = daemon.start(&home).await;
    let session = Session::open(&running).await;
    let ballast = disk.fill();
    cannot_reject(&session, &home.state(), &["one", "two"]).await;
    drop(ballast);
    session.must("connectors.reject", json!({"slug": "one"})).await;
    let ballast = disk.fill();
    cannot_reject(&session, &home.state(), &["two"]).await;
    drop(ballast);
    rejected(&daemon, &home, session).await;
}

#[tokio::test]
async fn a_rejection_that_may_not_be_written_changes_nothing() {
    let home = TempHome::new();
    let Some(daemon) = unprivileged(&home) else { return };
    let daemon = daemon.in_folder(project(&home));
    let running = daemon.start(&home).await;
    let session = Session::open(&running).await;
    let unwritable = ReadOnly::folder(home.state());
    cannot_reject(&session, &home.state(), &["one", "two"]).await;
    drop(unwritable);
    session.must("connectors.reject", json!({"slug": "one"})).await;
    let unwritable = ReadOnly::folder(home.state());
    cannot_reject(&session, &home.state(), &["two"]).await;
    drop(unwritable);
    rejected(&daemon, &home, session).await;
}
