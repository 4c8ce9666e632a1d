//! No file but the vault's own key opens it, a new vault is made with a whole key alone, and neither the key file nor the vault is
//! changed by that.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use connectors_core::{CredentialKey, CredentialStore, Slug};
use connectors_store::{Paths, VaultStore};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
/// A folder with a vault, and its key.
static MADE: LazyLock<(TempDir, Vec<u8>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths = paths(folder.path(), "state");
    RUNTIME.block_on(VaultStore::new(&paths).put(&tokens(), &"kept".into())).expect("a vault");
    let key = fs::read(&paths.key_file).expect("a key file");
    (folder, key)
});

fn paths(folder: &Path, state: &str) -> Paths {
    Paths::new(folder.join(state), folder.join("vault.key"))
}

fn tokens() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("a"))
}

/// True if both are one key, whatever white space follows it, or follows what of the file is read.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let key = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).trim_end().to_owned();
    key(one) == key(other)
}

/// Tries a key file with these bytes, and says whether it opens the vault.
fn opens(bytes: &[u8]) -> bool {
    let folder = MADE.0.path();
    let (present, new) = (paths(folder, "state"), paths(folder, "new"));
    fs::write(&present.key_file, bytes).expect("a file");
    let vault = fs::read(present.vault()).expect("the vault");
    let opened = RUNTIME.block_on(VaultStore::new(&present).get(&tokens())).is_ok();
    let made = RUNTIME.block_on(VaultStore::new(&new).open()).is_ok();
    assert!(made || !opened, "a key opens a vault, and none can be made with it");
    assert_eq!(made, new.vault().exists(), "a vault was made without a key");
    let _ = fs::remove_file(new.vault());
    assert!(fs::read(&present.key_file).expect("the file") == bytes, "the key file was changed");
    assert!(fs::read(present.vault()).expect("the vault") == vault, "the vault was changed");
    opened
}

fuzz_target!(|bytes: &[u8]| {
    let key = &MADE.1;
    assert!(!opens(bytes) || is_same(bytes, key), "a file that is not the key opens the vault");
    // With the key, so that it is not only its first bytes that are looked at.
    let changed = [&key[..key.len() - 1], bytes].concat();
    assert!(!opens(&changed) || is_same(&changed, key), "a file that is not the key opens the vault");
    assert!(opens(key), "the key does not open the vault");
});
