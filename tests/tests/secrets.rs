//! Where secrets are kept, as the user sees and changes it, on machines without a keychain.

use std::path::PathBuf;

use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, daemon};

const SECRET: &str = "correct-horse-battery-staple";

/// A server that wants the secret.
pub(crate) fn server() -> McpServer {
    Script::modern().with_tools([Tool::echo()]).requiring_header("x-api-key", SECRET).start()
}

/// Adds a connector to [`server`], with the secret.
pub(crate) async fn add(session: &Session, name: &str, server: &McpServer) -> String {
    let params = json!({"name": name, "url": server.url(), "headers": {"X-Api-Key": SECRET}});
    let slug = session.must("connectors.add", params).await["slug"].as_str().expect("a slug").to_owned();
    session.ready(&slug).await;
    slug
}

pub(crate) async fn secrets(session: &Session) -> Value {
    session.must("connectors.secrets", json!({})).await
}

fn vault_notice(home: &TempHome, rest: &str) -> String {
    let vault = home.state().join("connectors.vault");
    format!("Secrets are kept in an encrypted vault ({}){rest}", vault.display())
}

#[tokio::test]
async fn a_vault_gets_a_passphrase_is_locked_after_a_restart_and_is_unlocked_in_place() {
    let (home, server) = (TempHome::new(), server());
    let with_vault = daemon().with_vault();
    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "Guarded", &server).await;
    let status = |notice: &str, locked: bool, key: &str| {
        json!({"kind": "vault", "notice": notice, "warning": locked, "locked": locked, "can_move_to": [],
            "vault_key": key})
    };
    let chosen = vault_notice(&home, ", as chosen.");
    assert_eq!(secrets(&session).await, status(&chosen, false, "key_file"));
    let error = session.must_fail("connectors.set_vault_passphrase", json!({"passphrase": ""})).await;
    assert_eq!(error.message, "invalid params: `passphrase`: a passphrase must not be empty");
    let set = session.must("connectors.set_vault_passphrase", json!({"passphrase": "open sesame"})).await;
    assert_eq!(set, json!({"vault_key": "passphrase"}));
    assert_eq!(secrets(&session).await, status(&chosen, false, "passphrase"));
    session.must("connectors.reconnect", json!({"slug": slug})).await;
    session.ready(&slug).await;
    drop(session);
    running.stop().await;

    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    let down = session.until(&slug, "down", |status| status["state"] == "backoff").await;
    assert!(down["last_error"].as_str().is_some_and(|said| said.contains("the vault is locked")), "{down}");
    let rest = ", as chosen, but it is protected by a passphrase, which has to be entered.";
    assert_eq!(secrets(&session).await, status(&vault_notice(&home, rest), true, "passphrase"));
    let update = json!({"slug": slug, "headers": {"X-Api-Key": SECRET}});
    let error = session.must_fail("connectors.update", update).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"));
    assert!(error.data["remedy"].is_string(), "{error:?}");

    let error = session.must_fail("connectors.unlock_secrets", json!({"passphrase": "hunter2"})).await;
    assert_eq!(
        (error.code, error.message.as_str()),
        (-32602, "invalid params: `passphrase`: this is not the vault's passphrase")
    );
    let unlocked = session.must("connectors.unlock_secrets", json!({"passphrase": "open sesame"})).await;
    assert_eq!(unlocked, json!({"unlocked": true}));
    session.ready(&slug).await;
    assert_eq!(secrets(&session).await, status(&chosen, false, "passphrase"));

    let back = session.must("connectors.set_vault_passphrase", json!({})).await;
    assert_eq!(back, json!({"vault_key": "key_file"}));
    drop(session);
    let output = running.stop().await;
    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    session.ready(&slug).await;
    drop(session);
    let output = output + &running.stop().await;
    for secret in [SECRET, "open sesame", "hunter2"] {
        assert_eq!(home.files_with(secret), Vec::<PathBuf>::new(), "{secret}");
        assert!(!output.contains(secret), "{output}");
    }
}

#[tokio::test]
async fn connectors_without_secrets_work_while_the_vault_is_locked() {
    let (home, open) = (TempHome::new(), Script::modern().with_tools([Tool::echo()]).start());
    let with_vault = daemon().with_vault();
    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    let slug = session.add_with("Open", &open, &["echo"]).await;
    session.must("connectors.set_vault_passphrase", json!({"passphrase": "open sesame"})).await;
    drop(session);
    running.stop().await;

    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    assert_eq!(secrets(&session).await["locked"], true);
    session.ready(&slug).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "hello"})).await, "hello");
    session.must("connectors.remove", json!({"slug": slug})).await;
    session.add("Open", &open).await;
}

#[tokio::test]
async fn a_service_manager_provides_the_passphrase_or_the_key() {
    let (home, server) = (TempHome::new(), server());
    let credentials = home.user().join("credentials");
    std::fs::create_dir(&credentials).expect("a new folder");
    let passphrase = credentials.join("connectors-vault-passphrase");
    std::fs::write(&passphrase, "from the service manager\n").expect("a new file");
    let folder = credentials.to_str().expect("a path of text");
    let provided = daemon().with_vault().with_variable("CREDENTIALS_DIRECTORY", folder);
    let running = provided.start(&home).await;
    let session = Session::open(&running).await;
    let slug = add(&session, "Guarded", &server).await;
    assert_eq!(secrets(&session).await["vault_key"], "passphrase");
    // Another one cannot open it, and the environment wins.
    drop(session);
    running.stop().await;
    let wrong = provided.clone().with_variable("CONNECTORS_VAULT_PASSPHRASE", "another");
    let running = wrong.start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!([&status["locked"], &status["warning"]], [true, true], "{status}");
    let key_file = session.must_fail("connectors.set_vault_passphrase", json!({})).await;
    assert_eq!((key_file.code, key_file.data_code()), (-32048, "secret_store_unavailable"));
    drop(session);
    running.stop().await;

    let running = provided.start(&home).await;
    let session = Session::open(&running).await;
    session.ready(&slug).await;
    session.must("connectors.set_vault_passphrase", json!({})).await;
    drop(session);
    running.stop().await;
    std::fs::remove_file(&passphrase).expect("it is there");
    std::fs::rename(home.vault_key_path(), credentials.join("connectors-vault-key")).expect("it is there");
    let running = provided.start(&home).await;
    let session = Session::open(&running).await;
    session.ready(&slug).await;
    assert_eq!(secrets(&session).await["vault_key"], "key_file");
}

#[tokio::test]
async fn without_a_keychain_a_vault_is_made_visibly_and_a_keychain_that_was_asked_for_is_missed_in_time() {
    let (home, server) = (TempHome::new(), server());
    let running = daemon().with_secrets("auto").start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!([&status["kind"], &status["warning"]], [&json!("vault"), &json!(false)]);
    let notice = status["notice"].as_str().expect("a text");
    assert!(notice.starts_with(&vault_notice(&home, ", because there is no keychain (")), "{notice}");
    let error = session.must_fail("connectors.move_secrets", json!({"to": "keychain"})).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"));
    let error = session.must_fail("connectors.move_secrets", json!({"to": "mattress"})).await;
    assert_eq!(error.code, -32602);
    drop(session);
    let output = running.stop().await;
    assert!(output.contains("because there is no keychain ("), "{output}");

    let home = TempHome::new();
    let running = daemon().with_secrets("keychain").start(&home).await;
    let session = Session::open(&running).await;
    let status = secrets(&session).await;
    assert_eq!(
        [&status["kind"], &status["warning"], &status["locked"]],
        [&json!("keychain"), &json!(true), &json!(false)]
    );
    let params = json!({"name": "Guarded", "url": server.url(), "headers": {"X-Api-Key": SECRET}});
    let error = session.must_fail("connectors.add", params).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"));
    assert!(error.data["remedy"].is_string(), "{error:?}");
    assert_eq!(home.files_with(SECRET), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn secrets_in_memory_say_so_and_stay_there() {
    let (_home, _daemon, session) = crate::session::start().await;
    let expected = json!({"kind": "memory", "warning": true, "locked": false, "can_move_to": [],
        "notice": "Secrets are kept in memory, as chosen: they are gone when this process ends."});
    assert_eq!(secrets(&session).await, expected);
    for (method, params) in [
        ("connectors.move_secrets", json!({"to": "vault"})),
        ("connectors.unlock_secrets", json!({"passphrase": "p"})),
        ("connectors.set_vault_passphrase", json!({"passphrase": "p"})),
    ] {
        let error = session.must_fail(method, params).await;
        assert!(error.code == -32602 && error.message.contains("secrets are in memory"), "{error:?}");
    }
}
