//! A keyring that goes away, is locked, or was never there: the same answer each time, in time.

use std::time::{Duration, Instant};

use connectors_tests::TempHome;
use serde_json::json;

use super::desktop::Desktop;
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
