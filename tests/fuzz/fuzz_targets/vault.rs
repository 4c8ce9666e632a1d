//! Any file but a genuine vault is refused and left alone, whatever is secret in a genuine one is read or refused, and a change
//! keeps what it does not concern.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use connectors_core::{CredentialKey, CredentialStore, Slug};
use connectors_store::{Paths, VaultStore};
use libfuzzer_sys::fuzz_target;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const KEY: [u8; 32] = [7; 32];

/// Vaults of this key: one without secrets, one with the tokens of the connectors `a` and `b`.
const GENUINE: [&[u8]; 2] = [include_bytes!("../seeds/vault/empty"), include_bytes!("../seeds/vault/whole")];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key_file = paths(folder.path()).key_file;
    fs::write(&key_file, format!("connectors-vault-key-1:{}\n", BASE64.encode(KEY))).expect("a key file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).expect("a private key file");
    }
    fs::create_dir(paths(folder.path()).state_root).expect("a state root");
    folder
});
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fn paths(folder: &Path) -> Paths {
    Paths::new(folder.join("state"), folder.join("vault.key"))
}

fn tokens(slug: &str) -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim(slug))
}

async fn get(store: &VaultStore, slug: &str) -> Result<Option<String>, String> {
    let value = store.get(&tokens(slug)).await.map_err(|error| error.to_string())?;
    Ok(value.map(|value| value.expose_secret().to_owned()))
}

/// A vault of this key with these bytes for its secrets.
fn sealed(secrets: &[u8]) -> Vec<u8> {
    let line = GENUINE[0].split(|&byte| byte == b'\n').next().expect("a header");
    let mut header: Value = serde_json::from_slice(line).expect("a header");
    let nonce = BASE64.decode(header["nonce"].as_str().expect("a nonce")).expect("a nonce");
    let nonce = XNonce::from(<[u8; 24]>::try_from(nonce).expect("a nonce"));
    header["length"] = (secrets.len() + 16).into();
    let mut file = serde_json::to_vec(&header).expect("a header");
    file.push(b'\n');
    let mut secrets = secrets.to_vec();
    XChaCha20Poly1305::new(&KEY.into()).encrypt_in_place(&nonce, &file, &mut secrets).expect("a vault");
    file.extend_from_slice(&secrets);
    file
}

/// Writes `file`, and says whether it is a vault that can be read.
async fn check(file: &[u8]) -> bool {
    let paths = paths(FOLDER.path());
    fs::write(paths.vault(), file).expect("a file");
    // None has the key in memory: every call reads what a process reads that has just started.
    let store = || VaultStore::new(&paths);
    let value = SecretString::from("written by the fuzzer");
    let Ok(before) = get(&store(), "a").await else {
        store().put(&tokens("a"), &value).await.expect_err("a damaged vault takes nothing");
        store().delete(&tokens("a")).await.expect_err("a damaged vault lets nothing go");
        store().open().await.expect_err("a damaged vault is not opened");
        assert!(fs::read(paths.vault()).expect("the file") == file, "a damaged vault was changed");
        return false;
    };
    let other = get(&store(), "b").await.expect("still a vault");
    store().put(&tokens("a"), &value).await.expect("a vault takes a secret");
    assert_eq!(get(&store(), "a").await.expect("still a vault").as_deref(), Some(value.expose_secret()));
    store().delete(&tokens("a")).await.expect("a vault lets a secret go");
    assert_eq!(get(&store(), "a").await.expect("still a vault"), None);
    if let Some(before) = before {
        store().put(&tokens("a"), &before.clone().into()).await.expect("a vault takes a secret");
        assert_eq!(get(&store(), "a").await.expect("still a vault"), Some(before));
    }
    assert_eq!(get(&store(), "b").await.expect("still a vault"), other);
    true
}

fuzz_target!(|bytes: &[u8]| {
    RUNTIME.block_on(async {
        let is_vault = check(bytes).await;
        assert_eq!(is_vault, GENUINE.contains(&bytes), "a forged vault is read, or a genuine one is not");
        check(&sealed(bytes)).await;
    });
});
