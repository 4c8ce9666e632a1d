//! Which store is chosen, and what the user is told.

use connectors_core::CredentialError;
use connectors_store::{Paths, SecretsChoice, UnknownChoice, open_credentials};
use tempfile::TempDir;

fn paths(folder: &TempDir) -> Paths {
    Paths::new(folder.path().join("state"), folder.path().join("config").join("vault.key"))
}

#[test]
fn choices_are_read_as_they_are_written() {
    for choice in [SecretsChoice::Auto, SecretsChoice::Keychain, SecretsChoice::Vault, SecretsChoice::Memory]
    {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    let wrong: Result<SecretsChoice, UnknownChoice> = "file".parse();
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "`file` is not a place for secrets; choose auto, keychain, vault or memory"
    );
}

#[tokio::test]
async fn memory_is_had_for_the_asking_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_credentials(SecretsChoice::Memory, &paths(&folder)).await.unwrap();
    assert_eq!((opened.store.kind(), opened.warning), ("memory", true));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[cfg(feature = "vault")]
#[tokio::test]
async fn a_chosen_vault_is_created_once_and_then_used() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    let first = open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
    assert_eq!((first.store.kind(), first.warning), ("vault", false));
    assert!(first.notice.contains("It is new: its key is in "), "{}", first.notice);
    let second = open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
    assert!(!second.notice.contains("It is new"), "{}", second.notice);
}

#[cfg(all(unix, feature = "vault"))]
#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_is_an_error_and_holds_nothing_up() {
    use connectors_core::{ConfigStore, ConnectorDefinition, Slug};

    let pipe = |path: &std::path::Path| {
        std::fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    let manifest = connectors_store::ManifestStore::new(paths.manifest());
    let definition = ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a");
    manifest.insert(&definition).await.unwrap();
    pipe(&paths.manifest());
    for error in [manifest.load().await.unwrap_err(), manifest.insert(&definition).await.unwrap_err()] {
        assert!(error.to_string().ends_with("connectors.json: it is not a regular file"), "{error}");
    }

    for file in [paths.key_file.clone(), paths.vault(), paths.state_root.join("secrets.json")] {
        open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
        std::fs::write(paths.state_root.join("secrets.json"), r#"{"version":1,"kept_in":"vault","moves":1}"#)
            .unwrap();
        pipe(&file);
        let opened = open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
        let said = opened.notice.contains("it is not a regular file");
        assert!(opened.warning && said, "{}: {}", file.display(), opened.notice);
        std::fs::remove_file(&file).unwrap();
        let _ = std::fs::remove_file(paths.vault());
    }
}

#[cfg(feature = "vault")]
#[tokio::test]
async fn a_passphrase_beside_a_vault_with_a_key_file_is_warned_of_as_long_as_it_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    let with_passphrase = paths.clone().with_passphrase(Some("correct horse".into()));
    open_credentials(SecretsChoice::Vault, &paths).await.unwrap();

    let opened = open_credentials(SecretsChoice::Vault, &with_passphrase).await.unwrap();
    let said = format!(
        "The passphrase has no effect: this vault was made with the key file {}",
        paths.key_file.display()
    );
    assert!(opened.warning && opened.notice.contains(&said), "{}", opened.notice);
    assert!(!opened.notice.contains("correct horse"), "{}", opened.notice);

    std::fs::remove_file(&paths.key_file).unwrap();
    let opened = open_credentials(SecretsChoice::Vault, &with_passphrase).await.unwrap();
    assert!(opened.warning && opened.notice.contains("vault.key is missing"), "{}", opened.notice);
    assert!(opened.notice.contains(&said), "{}", opened.notice);

    std::fs::remove_file(paths.vault()).unwrap();
    for new in [true, false] {
        let opened = open_credentials(SecretsChoice::Vault, &with_passphrase).await.unwrap();
        assert_eq!((opened.warning, opened.notice.contains("It is new")), (false, new), "{}", opened.notice);
        assert!(!opened.notice.contains("no effect"), "{}", opened.notice);
    }
}

#[cfg(feature = "vault")]
#[tokio::test]
async fn a_vault_that_cannot_be_decrypted_is_opened_with_a_warning_and_answers_with_the_reason() {
    use connectors_core::{CredentialKey, Slug};
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(&folder);
    open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
    std::fs::remove_file(&paths.key_file).unwrap();
    let opened = open_credentials(SecretsChoice::Vault, &paths).await.unwrap();
    assert!(opened.warning && opened.notice.contains("vault.key is missing"), "{}", opened.notice);
    let error = opened.store.get(&CredentialKey::tokens(&Slug::verbatim("a"))).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { .. }), "{error}");
}

#[cfg(not(feature = "vault"))]
#[tokio::test]
async fn a_store_that_this_build_lacks_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_credentials(SecretsChoice::Vault, &paths(&folder)).await.unwrap_err();
    assert!(matches!(error, CredentialError::Unavailable { store: "vault", .. }), "{error}");
}

#[cfg(all(feature = "keychain", target_os = "linux"))]
mod keychain {
    use std::sync::Arc;
    use std::time::Duration;

    use connectors_core::contract;
    use connectors_store::KeychainStore;
    use connectors_store::keychain::KeychainState;
    #[cfg(feature = "vault")]
    use connectors_store::{Paths, SecretsChoice, open_credentials};

    /// Run by the next test in a process of its own, since the environment is the whole process's.
    #[cfg(feature = "vault")]
    #[tokio::test]
    #[ignore = "run by another test, with no session bus"]
    async fn without_a_session_bus() {
        let Some(folder) = std::env::var_os("CONNECTORS_STORE_OPEN_TEST_FOLDER") else { return };
        let folder = std::path::PathBuf::from(folder);
        let paths = Paths::new(folder.join("state"), folder.join("vault.key"));
        let opened = open_credentials(SecretsChoice::Auto, &paths).await.unwrap();
        assert_eq!((opened.store.kind(), opened.warning), ("vault", false), "{}", opened.notice);
        assert!(opened.notice.contains("because there is no keychain ("), "{}", opened.notice);

        let opened = open_credentials(SecretsChoice::Keychain, &paths).await.unwrap();
        assert_eq!((opened.store.kind(), opened.warning), ("keychain", true), "{}", opened.notice);
        assert!(opened.notice.contains("as chosen, but there is no keychain ("), "{}", opened.notice);
    }

    #[cfg(feature = "vault")]
    #[test]
    fn without_a_session_bus_a_vault_is_made_and_a_chosen_keychain_is_warned_of() {
        for bus in [Some("unix:path=/nonexistent/bus"), Some("nonsense"), None] {
            let folder = tempfile::tempdir().unwrap();
            let mut process = std::process::Command::new(std::env::current_exe().unwrap());
            process
                .args(["--exact", "open::keychain::without_a_session_bus", "--ignored", "--nocapture"])
                .env("CONNECTORS_STORE_OPEN_TEST_FOLDER", folder.path())
                .env("XDG_RUNTIME_DIR", folder.path())
                .env_remove("DBUS_SESSION_BUS_ADDRESS");
            process.envs(bus.map(|bus| ("DBUS_SESSION_BUS_ADDRESS", bus)));
            let output = process.output().unwrap();
            assert!(output.status.success(), "{bus:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Runs against the Secret Service of the session that the tests run in, where there is one that works: entries of
    /// a service of their own, never the user's.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_secret_service_of_this_session_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let open = |service: &str| Arc::new(KeychainStore::with_service(folder.path(), service).unwrap());
        let state = open("connectors-test").probe(Duration::from_secs(3)).await;
        if !matches!(state, KeychainState::Working | KeychainState::Volatile) {
            println!("skipped: {state}");
            return;
        }
        let count = std::cell::Cell::new(0);
        let fresh = || {
            count.set(count.get() + 1);
            format!("connectors-test-{}-{}", std::process::id(), count.get())
        };
        contract::credentials::run(|| open(&fresh())).await;
        contract::credentials::run_shared(|| {
            let service = fresh();
            (open(&service), open(&service))
        })
        .await;
    }
}
