//! Entries in a keyring are kept, and are the same for every process and for other programs.

use std::path::PathBuf;
use std::sync::Arc;

use connectors_core::contract;
use connectors_store::KeychainStore;
use connectors_store::keychain::KeychainState;
use connectors_tests::{Script, TempHome, Tool};
use serde_json::json;

use super::desktop::{Desktop, orders};
use crate::secrets::{add, secrets, server};
use crate::session::Session;

const PROCESSES: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run by another test, in a session of its own"]
async fn contract_in_session() {
    let Some((state, _)) = orders() else { return };
    let count = std::cell::Cell::new(0);
    let open = |service: &str| Arc::new(KeychainStore::with_service(&state, service).expect("a keychain"));
    let fresh = || {
        count.set(count.get() + 1);
        format!("connectors-test-{}", count.get())
    };
    let probed = open("connectors-test").probe(std::time::Duration::from_secs(3)).await;
    assert_eq!(probed, KeychainState::Working);
    contract::credentials::run(|| open(&fresh())).await;
    contract::credentials::run_shared(|| {
        let service = fresh();
        (open(&service), open(&service))
    })
    .await;
}

#[tokio::test]
async fn a_keyring_keeps_the_contract() {
    let Some(desktop) = Desktop::start().await else { return };
    let mut run = desktop.run_test("secret_service::sharing::contract_in_session", &TempHome::new(), 0);
    assert!(run.wait().expect("it can be waited for").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, as one of several processes"]
async fn one_process() {
    let Some((state, number)) = orders() else { return };
    let store = KeychainStore::with_service(&state, "connectors-test").expect("a keychain");
    if number < PROCESSES {
        contract::credentials::processes::work(&store, number).await;
    } else {
        contract::credentials::processes::check(&store, PROCESSES).await;
    }
}

#[tokio::test]
async fn processes_that_share_a_keyring_keep_the_contract() {
    let Some(desktop) = Desktop::start().await else { return };
    let home = TempHome::new();
    let start = |number| desktop.run_test("secret_service::sharing::one_process", &home, number);
    let processes: Vec<_> = (0..PROCESSES).map(start).collect();
    for mut process in processes {
        assert!(process.wait().expect("it can be waited for").success());
    }
    assert!(start(PROCESSES).wait().expect("it can be waited for").success());
}

#[tokio::test]
async fn the_daemon_finds_what_it_has_stored_and_so_does_keyring_3() {
    let Some(mut desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("keychain").start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    let chosen = "Secrets are kept in the keychain of this computer, as chosen.";
    assert_eq!(
        status,
        json!({"kind": "keychain", "notice": chosen, "warning": false, "locked": false, "can_move_to": ["vault"]})
    );
    let slug = add(&session, "Guarded", &server).await;
    drop(session);
    running.stop().await;
    let account = format!("connector:{slug}:X-Api-Key");
    if let Some(writer) = desktop.writer() {
        assert_eq!(writer.get(&account).as_deref(), Some("correct-horse-battery-staple"));
    }
    assert_eq!(home.files_with("correct-horse-battery-staple"), Vec::<PathBuf>::new());

    desktop.kill_keyring();
    desktop.start_keyring().await;
    let running = desktop.daemon("keychain").start(&home).await;
    let session = Session::open(&running).await;
    session.ready(&slug).await;
    session.must("connectors.remove", json!({"slug": slug})).await;
    if let Some(writer) = desktop.writer() {
        assert_eq!(writer.get(&account), None);
    }
}

#[tokio::test]
async fn what_keyring_3_has_stored_is_found_by_the_daemon_replaced_and_deleted() {
    let Some(desktop) = Desktop::start().await else { return };
    let Some(writer) = desktop.writer() else { return };
    // More than fits into an entry elsewhere, where it is in chunks.
    let large = format!("zwölf-{}", "0123456789abcdef".repeat(500));
    let plain: String = large.chars().filter(char::is_ascii).collect();
    writer.set("connector:old:X-Api-Key", &plain);
    writer.set("connector:old:client_secret", &large);
    writer.set("OTHER_PROGRAMS_TOKEN", "not ours");
    let script = Script::modern().with_tools([Tool::echo()]);
    let server = script.requiring_header("x-api-key", &plain).start();
    let home = TempHome::new();
    let entry = json!({"slug": "old", "name": "Old", "url": server.url(), "secret_headers": ["X-Api-Key"]});
    home.write_manifest(&json!({"connectors": [entry]}).to_string());

    let running = desktop.daemon("keychain").start(&home).await;
    let session = Session::open(&running).await;
    session.ready("old").await;
    let update = json!({"slug": "old", "headers": {"X-Api-Key": format!("{plain}-new")}});
    session.must("connectors.update", update).await;
    assert_eq!(writer.get("connector:old:X-Api-Key"), Some(format!("{plain}-new")));
    writer.delete("connector:old:X-Api-Key");
    let status = session.must("connectors.reconnect", json!({"slug": "old"})).await;
    assert_eq!(status["state"], "needs_sign_in", "{status}");
    assert_eq!(writer.get("connector:old:client_secret"), Some(large));
    session.must("connectors.remove", json!({"slug": "old"})).await;
    assert_eq!(writer.get("connector:old:client_secret"), None);
    assert_eq!(writer.get("OTHER_PROGRAMS_TOKEN").as_deref(), Some("not ours"));
}
