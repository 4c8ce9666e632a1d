//! Secrets move between a keyring and a vault, and are not lost on the way.

use std::time::Duration;

use connectors_tests::{McpServer, TempHome};
use serde_json::json;

use super::desktop::Desktop;
use crate::disk::{ReadOnly, SmallDisk, assert_nothing_temporary, unprivileged};
use crate::secrets::{add, secrets, server};
use crate::session::Session;

#[tokio::test]
async fn secrets_move_to_a_vault_and_back_and_another_daemon_follows() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slugs = [add(&session, "One", &server).await, add(&session, "Two", &server).await];
    let other = desktop.daemon("auto").start(&home).await;
    let watching = Session::open(&other).await;
    watching.ready(&slugs[1]).await;
    let account = format!("connector:{}:X-Api-Key", slugs[0]);

    for (to, back) in [("vault", "keychain"), ("keychain", "vault"), ("vault", "keychain")] {
        assert_eq!(secrets(&session).await["can_move_to"], json!([to]));
        let moved = session.must("connectors.move_secrets", json!({"to": to})).await;
        assert_eq!(moved, json!({"moved": 2, "left": 0, "kind": to}));
        if let Some(writer) = desktop.writer() {
            assert_eq!(writer.get(&account).is_some(), to == "keychain");
        }
        // Without having needed a secret meanwhile.
        assert_eq!(secrets(&watching).await["kind"], to);
        for session in [&session, &watching] {
            for slug in &slugs {
                session.must("connectors.reconnect", json!({"slug": slug})).await;
                session.ready(slug).await;
            }
            let status = secrets(session).await;
            assert_eq!([&status["kind"], &status["can_move_to"]], [&json!(to), &json!([back])], "{status}");
        }
        assert_eq!(secrets(&session).await["warning"], false);
    }
    drop((session, watching));
    running.stop().await;
    other.stop().await;

    // A start finds them where they were moved to, though the keychain works.
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    for slug in &slugs {
        session.ready(slug).await;
    }
    let status = secrets(&session).await;
    assert_eq!(status["kind"], "vault");
    assert!(
        status["notice"].as_str().is_some_and(|said| said.contains(", where they were moved to")),
        "{status}"
    );
    drop(session);
    running.stop().await;
    let running = desktop.daemon("keychain").start(&home).await;
    let status = secrets(&Session::open(&running).await).await;
    assert_eq!([&status["kind"], &status["warning"]], [&json!("keychain"), &json!(true)]);
    assert!(
        status["notice"].as_str().is_some_and(|said| said.contains("last moved to the vault")),
        "{status}"
    );
}

#[tokio::test]
async fn a_daemon_that_was_told_where_secrets_are_says_that_it_has_to_be_told_otherwise_after_a_move() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("keychain").start(&home).await;
    let session = Session::open(&running).await;
    add(&session, "One", &server).await;
    session.must("connectors.move_secrets", json!({"to": "vault"})).await;
    let status = secrets(&session).await;
    let said = "Start with `--secrets auto` from now on: `--secrets keychain` would not find them.";
    assert_eq!(status["warning"], true, "{status}");
    assert!(status["notice"].as_str().is_some_and(|notice| notice.ends_with(said)), "{status}");
}

/// Connectors whose secrets are to be found after every kill.
async fn furnish(session: &Session, server: &McpServer) -> Vec<String> {
    let mut slugs = Vec::new();
    for n in 0..6 {
        slugs.push(add(session, &format!("C{n}"), server).await);
    }
    slugs
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_moves_secrets_loses_none() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slugs = furnish(&session, &server).await;
    drop(session);
    running.stop().await;
    let marker = home.state().join("secrets.json");
    let (mut interrupted, mut places) = (0, Vec::new());
    for round in 0..12 {
        let running = desktop.daemon("auto").start(&home).await;
        let session = Session::open(&running).await;
        let from = secrets(&session).await["kind"].clone();
        for slug in &slugs {
            session.ready(slug).await;
        }
        let text = std::fs::read_to_string(&marker).unwrap_or_default();
        assert!(!text.contains("leftover"), "an interrupted move was not finished: {text}");
        let to = if from == "vault" { "keychain" } else { "vault" };
        let answer = session.start("connectors.move_secrets", json!({"to": to}));
        // A spread over the time that a move takes, which no signal from within it could give.
        tokio::time::sleep(Duration::from_millis(2 + round * 9)).await;
        running.kill().await;
        interrupted += usize::from(!matches!(answer.await, Ok(Ok(_))));
        places.push(from);
    }
    println!("{interrupted} of 12 moves were interrupted; they began in {places:?}");
    assert!(interrupted > 3, "{interrupted}");
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    for slug in &slugs {
        session.ready(slug).await;
    }
}

/// A move fails with the error of a storage that cannot be written; secrets are where they were, and in use.
async fn cannot_move(session: &Session, home: &TempHome, slug: &str, to: &str) {
    let marker = || std::fs::read(home.state().join("secrets.json")).ok();
    let (place, marked) = (secrets(session).await["kind"].clone(), marker());
    let error = session.must_fail("connectors.move_secrets", json!({"to": to})).await;
    assert_eq!((error.code, error.data_code()), (-32049, "storage"), "{error:?}");
    assert_eq!((&secrets(session).await["kind"], marker()), (&place, marked));
    assert_eq!(home.state().join("connectors.vault").exists(), to == "keychain");
    session.must("connectors.reconnect", json!({"slug": slug})).await;
    session.ready(slug).await;
    assert_nothing_temporary(&home.state());
}

#[tokio::test]
async fn a_move_for_which_there_is_no_room_moves_nothing() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let Some(disk) = SmallDisk::over(home.state()) else { return };
    let running = desktop.daemon("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "One", &server).await;
    for to in ["vault", "keychain"] {
        let ballast = disk.fill();
        cannot_move(&session, &home, &slug, to).await;
        drop(ballast);
        session.must("connectors.move_secrets", json!({"to": to})).await;
        session.must("connectors.reconnect", json!({"slug": slug})).await;
        session.ready(&slug).await;
        assert_eq!(secrets(&session).await["kind"], to);
    }
}

#[tokio::test]
async fn a_move_that_may_not_be_written_moves_nothing() {
    let Some(desktop) = Desktop::start().await else { return };
    let (home, server) = (TempHome::new(), server());
    let Some(daemon) = unprivileged(&home) else { return };
    let running = desktop.hosting(daemon).with_secrets("auto").start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "One", &server).await;
    for to in ["vault", "keychain"] {
        let unwritable = ReadOnly::folder(home.state());
        cannot_move(&session, &home, &slug, to).await;
        drop(unwritable);
        session.must("connectors.move_secrets", json!({"to": to})).await;
        session.must("connectors.reconnect", json!({"slug": slug})).await;
        session.ready(&slug).await;
    }
}
