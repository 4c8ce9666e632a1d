//! A keyring that goes away, is locked, or was never there: the same answer each time, in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connectors_core::{CredentialError, CredentialKey, CredentialStore, Slug, contract};
use connectors_store::KeychainStore;
use connectors_store::keychain::KeychainState;
use connectors_tests::TempHome;
use serde_json::json;

use super::desktop::{Desktop, orders, say_and_hear};
use crate::secrets::{add, secrets, server};
use crate::session::Session;

/// What a call may take: the store's own limit, and a busy machine.
const LIMIT: Duration = Duration::from_secs(14);

/// Asserts that a secret cannot be written, and that this is said in time and with a way out.
async fn assert_unavailable(session: &Session, slug: &str) {
    let began = Instant::now();
    let update = json!({"slug": slug, "headers": {"X-Api-Key": "another"}});
    let error = session.must_fail("connectors.update", update).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"), "{error:?}");
    assert!(error.data["remedy"].is_string(), "{error:?}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_keyring_that_dies_is_reported_and_found_again() {
    let Some(mut desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "Guarded", &server).await;

    desktop.kill_keyring();
    assert_unavailable(&session, &slug).await;
    let status = session.must("connectors.reconnect", json!({"slug": slug})).await;
    assert_eq!(status["state"], "backoff", "{status}");
    let said = status["last_error"].as_str().expect("a text");
    assert!(said.contains("the keychain is not available: no Secret Service is running"), "{said}");
    // Not the vault: what was chosen at the start stays chosen.
    let status = secrets(&session).await;
    assert_eq!(
        [&status["kind"], &status["warning"], &status["can_move_to"]],
        [&json!("keychain"), &json!(true), &json!([])]
    );
    assert!(!home.state().join("connectors.vault").exists());

    desktop.start_keyring().await;
    session.must("connectors.reconnect", json!({"slug": slug})).await;
    session.ready(&slug).await;
    assert_eq!(secrets(&session).await["warning"], false);
}

#[tokio::test]
async fn a_locked_keyring_whose_prompt_nobody_answers_holds_nothing_up() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "Guarded", &server).await;

    desktop.lock();
    assert_unavailable(&session, &slug).await;
    let began = Instant::now();
    let status = secrets(&session).await;
    assert_eq!(
        [&status["kind"], &status["locked"], &status["warning"]],
        [&json!("keychain"), &json!(true), &json!(true)]
    );
    // What needs no secret goes on.
    session.list().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(session);
    running.stop().await;

    // At a start: no vault beside it, and not stuck.
    let began = Instant::now();
    let running = desktop.daemon("auto").start(&home).await;
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    let session = Session::open(&running).await;
    assert_eq!(secrets(&session).await["locked"], true);
    assert!(!home.state().join("connectors.vault").exists());
    let down = session.until(&slug, "down", |status| status["state"] == "backoff").await;
    assert!(down["last_error"].as_str().is_some_and(|said| said.contains("keychain")), "{down}");
}

#[tokio::test]
async fn a_bus_without_a_keyring_means_a_vault_by_itself_and_an_error_where_a_keychain_was_asked_for() {
    let Some(desktop) = Desktop::without_keyring() else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!([&status["kind"], &status["warning"]], [&json!("vault"), &json!(false)]);
    assert!(
        status["notice"].as_str().is_some_and(|notice| notice.contains("because there is no keychain ("))
    );
    add(&session, "Guarded", &server).await;
    drop(session);
    running.stop().await;

    let home = TempHome::new();
    let running = desktop.daemon("keychain").start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    let said = "Secrets are kept in the keychain of this computer, as chosen, but there is no keychain (";
    assert!(status["notice"].as_str().is_some_and(|notice| notice.starts_with(said)), "{status}");
    let began = Instant::now();
    let params = json!({"name": "Guarded", "url": server.url(), "headers": {"X-Api-Key": "x"}});
    let error = session.must_fail("connectors.add", params).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"));
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

/// The limit of each call of the stores below.
const SHORT: Duration = Duration::from_secs(3);

fn is_absence(error: &CredentialError) -> bool {
    matches!(error, CredentialError::Unavailable { store: "keychain", .. })
}

/// Nobody shows a prompt here, or the desktop has dismissed one.
fn is_locked(error: &CredentialError) -> bool {
    matches!(error, CredentialError::Locked { .. } | CredentialError::TimedOut { limit: SHORT, .. })
}

/// A process that uses the keychain through everything that befalls it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "run by another test, as a process of a session"]
async fn a_keychain_through_outages() {
    let Some((state, _)) = orders() else { return };
    let count = AtomicUsize::new(0);
    let fresh = || {
        let service = format!("connectors-outage-{}", count.fetch_add(1, Ordering::Relaxed));
        let store = KeychainStore::with_service(&state, &service).expect("threads");
        Arc::new(store.with_timeout(SHORT))
    };
    // One that is there before there is a keyring, and stays.
    let store = fresh();
    let key = CredentialKey::header(&Slug::verbatim("kept"), "X-Key");

    contract::credentials::outage::refuses(&*store, LIMIT, is_absence).await;
    assert!(matches!(store.probe(SHORT).await, KeychainState::Missing { .. }));
    say_and_hear("there is none", "there is one").await;
    contract::credentials::run(fresh).await;
    store.put(&key, &"value".into()).await.expect("it is written");

    let (outage, back) =
        (say_and_hear("it is written to", "killed"), say_and_hear("writing has failed", "back"));
    contract::credentials::outage::interrupted(&store, LIMIT, outage, back).await;

    say_and_hear("all is there", "killed").await;
    contract::credentials::outage::refuses(&*store, LIMIT, is_absence).await;
    // Turns are taken without the keychain.
    store.exclusive(key.slug()).await.expect("a turn");
    say_and_hear("refused", "back").await;
    contract::credentials::run(fresh).await;

    say_and_hear("it works again", "locked").await;
    contract::credentials::outage::refuses(&*store, LIMIT, is_locked).await;
    assert_eq!(store.probe(SHORT).await, KeychainState::Locked);
    say_and_hear("refused", "unlocked").await;
    let value = store.get(&key).await.expect("it is read").expect("it is there");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&value), "value");
    contract::credentials::run(fresh).await;
    say_and_hear("done", "").await;
}

#[tokio::test]
async fn every_call_fails_as_documented_while_the_keyring_is_missing_dead_or_locked_and_keeps_the_contract_after()
 {
    let Some(mut desktop) = Desktop::without_keyring() else { return };
    let home = TempHome::new();
    let mut child = desktop.converse("secret_service::outages::a_keychain_through_outages", &home);
    child.hear("there is none").await;
    desktop.start_keyring().await;
    child.tell("there is one");

    child.hear("it is written to").await;
    desktop.kill_keyring();
    child.tell("killed");
    child.hear("writing has failed").await;
    desktop.start_keyring().await;
    child.tell("back");

    child.hear("all is there").await;
    desktop.kill_keyring();
    child.tell("killed");
    child.hear("refused").await;
    desktop.start_keyring().await;
    child.tell("back");

    child.hear("it works again").await;
    desktop.lock();
    child.tell("locked");
    child.hear("refused").await;
    // The password is asked for at a start alone.
    desktop.kill_keyring();
    desktop.start_keyring().await;
    child.tell("unlocked");
    child.hear("done").await;
    child.tell("");
    child.end();
}
