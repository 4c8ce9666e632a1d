//! Whatever `secrets.json` says, a secret is where it was, and a record that cannot be read is left alone.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use connectors_core::{CredentialKey, CredentialStore, Slug};
use connectors_store::{Paths, SecretsChoice, VaultStore, open_credentials};
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
/// With a vault that holds one secret.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let vault = VaultStore::new(&paths(folder.path()));
    RUNTIME.block_on(vault.put(&key(), &"kept".into())).expect("a vault");
    folder
});

fn paths(folder: &Path) -> Paths {
    Paths::new(folder.join("state"), folder.join("vault.key"))
}

fn key() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("a"))
}

fuzz_target!(|bytes: &[u8]| {
    let paths = paths(FOLDER.path());
    let record = paths.state_root.join("secrets.json");
    fs::write(&record, bytes).expect("a file");
    RUNTIME.block_on(async {
        let opened = open_credentials(SecretsChoice::Vault, &paths).await.expect("this build has a vault");
        match opened.store.get(&key()).await {
            Ok(value) => assert_eq!(value.expect("the secret is gone").expose_secret(), "kept"),
            Err(_) => {
                opened.store.put(&key(), &"other".into()).await.expect_err("it is written somewhere");
                assert!(opened.warning, "{}", opened.notice);
                assert!(
                    fs::read(&record).expect("the file") == bytes,
                    "a record that cannot be read was changed"
                );
            }
        }
        let value = VaultStore::new(&paths).get(&key()).await.expect("the vault is whole");
        assert_eq!(value.expect("the secret is gone").expose_secret(), "kept");
    });
});
