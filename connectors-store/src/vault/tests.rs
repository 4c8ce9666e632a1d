use connectors_core::contract;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::secrets::keeper::{Condition, Keeper};

fn paths(folder: &TempDir) -> Paths {
    Paths::new(folder.path().join("state"), folder.path().join("config").join("vault.key"))
}

fn vault(folder: &TempDir) -> VaultStore {
    VaultStore::new(&paths(folder))
}

fn with_passphrase(folder: &TempDir, passphrase: &str) -> VaultStore {
    let paths = paths(folder).with_passphrase(Some(SecretString::from(passphrase)));
    VaultStore::with_cost(&paths, Cost { memory_kib: 64, passes: 1 })
}

fn key() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("a"))
}

async fn put(store: &VaultStore, value: &str) -> Result<(), CredentialError> {
    store.put(&key(), &SecretString::from(value)).await
}

async fn get(store: &VaultStore) -> Result<Option<String>, String> {
    let value = store.get(&key()).await.map_err(|error| error.to_string())?;
    Ok(value.map(|value| value.expose_secret().to_owned()))
}

/// What `store` says of a vault that it cannot read, having shown that it neither reads nor writes it.
async fn refusal(store: &VaultStore) -> String {
    let before = fs::read(store.path()).unwrap();
    let error = get(store).await.expect_err("an unreadable vault was read");
    put(store, "other").await.expect_err("an unreadable vault was written");
    store.delete(&key()).await.expect_err("an unreadable vault was written");
    store.open().await.expect_err("an unreadable vault was opened");
    assert!(fs::read(store.path()).unwrap() == before, "an unreadable vault was changed");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_vault_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let fresh = || {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Paths::new(folder.path().join(n.to_string()), folder.path().join("vault.key"))
    };
    contract::credentials::run(|| Arc::new(VaultStore::new(&fresh()))).await;
    contract::credentials::run_shared(|| {
        let paths = fresh();
        (Arc::new(VaultStore::new(&paths)), Arc::new(VaultStore::new(&paths)))
    })
    .await;
}

#[tokio::test]
async fn secrets_survive_a_restart_with_the_same_key_file_or_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    assert_eq!(get(&vault(&folder)).await, Ok(Some("value".to_owned())));

    let folder = tempfile::tempdir().unwrap();
    put(&with_passphrase(&folder, "correct horse"), "value").await.unwrap();
    assert_eq!(get(&with_passphrase(&folder, "correct horse")).await, Ok(Some("value".to_owned())));
}

#[tokio::test]
async fn no_file_holds_a_secret_or_is_open_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    put(&store, "canary-secret").await.unwrap();
    for file in [store.path().to_owned(), paths(&folder).key_file] {
        let content = fs::read(&file).unwrap();
        assert!(!content.windows(13).any(|window| window == b"canary-secret"), "{}", file.display());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "{}", file.display());
        }
    }
}

#[tokio::test]
async fn a_wrong_passphrase_says_so_and_the_right_one_still_works() {
    let folder = tempfile::tempdir().unwrap();
    put(&with_passphrase(&folder, "right"), "value").await.unwrap();
    let error = refusal(&with_passphrase(&folder, "wrong")).await;
    assert!(error.contains("the passphrase is not the one that it was made with"), "{error}");
    assert_eq!(refusal(&vault(&folder)).await, "the vault is locked; unlock it and try again");
    assert_eq!(get(&with_passphrase(&folder, "right")).await, Ok(Some("value".to_owned())));
}

#[tokio::test]
async fn a_wrong_or_missing_key_file_says_so_and_no_new_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    let key_file = paths(&folder).key_file;
    let kept = key_file.with_extension("kept");
    fs::rename(&key_file, &kept).unwrap();

    let error = refusal(&vault(&folder)).await;
    assert!(error.contains("vault.key is missing"), "{error}");
    assert!(!key_file.exists());

    let elsewhere = tempfile::tempdir().unwrap();
    put(&vault(&elsewhere), "value").await.unwrap();
    fs::copy(paths(&elsewhere).key_file, &key_file).unwrap();
    let store = vault(&folder);
    let error = refusal(&store).await;
    assert!(error.contains("its key file is not the one that it was made with"), "{error}");

    fs::rename(&kept, &key_file).unwrap();
    assert_eq!(get(&store).await, Ok(Some("value".to_owned())), "the restored key is not tried");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    let key_file = paths(&folder).key_file;
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&key_file, fs::Permissions::from_mode(mode)).unwrap();
        let said = format!(
            "its key file {0} is open to other users (mode {mode:o}); run `chmod 600 {0}`",
            key_file.display()
        );
        assert_eq!(refusal(&vault(&folder)).await, format!("the vault is not available: {said}"));
    }
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(get(&vault(&folder)).await, Ok(Some("value".to_owned())));
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    let key_file = paths(&folder).key_file;
    if std::os::unix::fs::chown(&key_file, Some(12345), None).is_err() {
        // Only a privileged user can give a file away.
        return;
    }
    let error = refusal(&vault(&folder)).await;
    assert!(error.contains("belongs to another user (id 12345); restore your own"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_the_service_manager_provides_may_have_any_mode_and_place_and_is_never_made() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    let mut provided = paths(&folder);
    let key_file = provided.state_root.join("connectors-vault-key");
    fs::rename(&provided.key_file, &key_file).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o440)).unwrap();
    (provided.key_file, provided.key_is_provided) = (key_file.clone(), true);
    assert_eq!(get(&VaultStore::new(&provided)).await, Ok(Some("value".to_owned())));

    fs::remove_file(&key_file).unwrap();
    fs::remove_file(provided.vault()).unwrap();
    put(&VaultStore::new(&provided), "value").await.unwrap_err();
    assert!(!key_file.exists());
}

#[tokio::test]
async fn a_key_file_in_the_state_root_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = VaultStore::new(&Paths::new(folder.path(), folder.path().join("vault.key")));
    let error = put(&store, "value").await.unwrap_err().to_string();
    assert!(error.contains("must not be in the state root"), "{error}");
    assert!(!store.exists());
}

#[tokio::test]
async fn a_vault_cut_short_anywhere_is_told_from_one_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    put(&store, "a value of some length").await.unwrap();
    let whole = fs::read(store.path()).unwrap();

    for length in [0, 1, 40, whole.len() / 2, whole.len() - 1] {
        fs::write(store.path(), &whole[..length]).unwrap();
        let error = refusal(&store).await;
        assert!(error.contains("is cut short"), "{length}: {error}");
    }
    for at in (whole.len() - 30)..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(store.path(), &changed).unwrap();
        assert!(refusal(&store).await.contains("has been changed"), "byte {at}");
    }
    fs::write(store.path(), [&whole[..], b"x"].concat()).unwrap();
    assert!(refusal(&store).await.contains("has been changed"));

    fs::write(store.path(), &whole).unwrap();
    assert_eq!(get(&store).await, Ok(Some("a value of some length".to_owned())));
}

#[tokio::test]
async fn the_header_is_authenticated_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    put(&store, "value").await.unwrap();
    let whole = fs::read(store.path()).unwrap();
    let end = whole.iter().position(|&byte| byte == b'\n').unwrap();
    let header = std::str::from_utf8(&whole[..end]).unwrap();
    let refused = async |from: &str, to: &str| {
        assert!(header.contains(from));
        let changed = [header.replacen(from, to, 1).as_bytes(), &whole[end..]].concat();
        fs::write(store.path(), changed).unwrap();
        refusal(&store).await
    };
    for (from, to, said) in [
        ("{\"format\"", "{ \"format\"", "has been changed"),
        ("xchacha20poly1305", "none", "has been changed"),
        ("\"version\":1", "\"version\":2", "newer version of this program (format 2)"),
        ("connectors-vault", "other", "is not a vault of this program"),
        ("{\"from\":\"file\"}", "{\"from\":\"star\"}", "has been changed"),
    ] {
        let error = refused(from, to).await;
        assert!(error.contains(said), "{to}: {error}");
    }
}

#[tokio::test]
async fn a_header_that_asks_for_more_than_the_bounds_is_refused_before_a_key_is_derived() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_passphrase(&folder, "p");
    put(&store, "value").await.unwrap();
    let whole = fs::read(store.path()).unwrap();
    let end = whole.iter().position(|&byte| byte == b'\n').unwrap();
    let header = std::str::from_utf8(&whole[..end]).unwrap();
    // What is still allowed is tried, and is not the key.
    for (from, to, is_tried) in [
        ("\"passes\":1", "\"passes\":64", true),
        ("\"passes\":1", "\"passes\":65", false),
        ("\"passes\":1", "\"passes\":4294967295", false),
        ("\"memory_kib\":64", "\"memory_kib\":1048577", false),
        ("\"memory_kib\":64", "\"memory_kib\":4294967295", false),
        ("\"lanes\":1", "\"lanes\":17", false),
    ] {
        assert!(header.contains(from));
        let changed = [header.replacen(from, to, 1).as_bytes(), &whole[end..]].concat();
        fs::write(store.path(), changed).unwrap();
        let said = if is_tried { "passphrase is not the one" } else { "has been changed" };
        let error = refusal(&with_passphrase(&folder, "p")).await;
        assert!(error.contains(said), "{to}: {error}");
        let error = vault(&folder).unlock(SecretString::from("p")).await.unwrap_err();
        assert_eq!(matches!(error, UnlockError::WrongPassphrase), is_tried, "{to}: {error}");
    }
}

#[tokio::test]
async fn opening_creates_a_vault_once_and_leaves_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    assert!(!store.exists());
    store.open().await.unwrap();
    let created = fs::read(store.path()).unwrap();
    vault(&folder).open().await.unwrap();
    assert!(fs::read(store.path()).unwrap() == created, "opening has written an existing vault");
    let mut names: Vec<_> = fs::read_dir(store.path().parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["connectors.vault", "connectors.vault.lock"]);
}

#[tokio::test]
async fn every_byte_that_is_flipped_is_reported_and_nothing_is_written() {
    let of_passphrase = |folder: &TempDir| with_passphrase(folder, "p");
    for store in [vault as fn(&TempDir) -> VaultStore, of_passphrase] {
        let folder = tempfile::tempdir().unwrap();
        put(&store(&folder), "value").await.unwrap();
        let path = store(&folder).path().to_owned();
        let has_passphrase = store(&folder).key_source().await == Some("passphrase");
        let whole = fs::read(&path).unwrap();
        let header = whole.iter().position(|&byte| byte == b'\n').unwrap();
        let mut told = std::collections::BTreeMap::<_, usize>::new();
        for (at, bit) in (0..whole.len()).flat_map(|at| [0, 4, 7].map(|bit| (at, bit))) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            fs::write(&path, &changed).unwrap();
            let error = get(&store(&folder)).await.expect_err("a changed vault was read");
            put(&store(&folder), "other").await.expect_err("a changed vault was written");
            assert!(fs::read(&path).unwrap() == changed, "byte {at}: the file was touched");
            let kinds =
                ["has been changed", "is cut short", "is not a vault", "newer version", "passphrase is not"];
            let kind = kinds.into_iter().find(|kind| error.contains(kind));
            let kind = kind.unwrap_or_else(|| panic!("byte {at}: {error}"));
            assert!(at <= header || kind == "has been changed", "byte {at} of the secrets: {error}");
            // The salt is part of the key: it cannot be told from a passphrase that is not the one.
            assert!(has_passphrase || kind != "passphrase is not", "byte {at}: {error}");
            *told.entry(kind).or_default() += 1;
        }
        assert!(told["has been changed"] > told.values().sum::<usize>() / 2, "{told:?}");
        fs::write(&path, &whole).unwrap();
        assert_eq!(get(&store(&folder)).await, Ok(Some("value".to_owned())));
    }
}

#[tokio::test]
async fn a_locked_vault_is_unlocked_in_place_and_by_the_right_passphrase_only() {
    let folder = tempfile::tempdir().unwrap();
    put(&with_passphrase(&folder, "right"), "value").await.unwrap();
    for wrong_already in [false, true] {
        let store = if wrong_already { with_passphrase(&folder, "wrong") } else { vault(&folder) };
        let condition = store.condition().await;
        assert!(condition.locked && condition.problem.is_some(), "{condition:?}");
        assert_eq!(store.key_source().await, Some("passphrase"));
        let error = store.unlock(SecretString::from("hunter2")).await.unwrap_err();
        assert!(matches!(error, UnlockError::WrongPassphrase), "{error}");
        assert!(store.condition().await.locked);
        store.unlock(SecretString::from("right")).await.unwrap();
        assert_eq!(store.condition().await, Condition::default());
        assert_eq!(get(&store).await, Ok(Some("value".to_owned())));
        put(&store, "value").await.unwrap();
        store.unlock(SecretString::from("hunter2")).await.unwrap_err();
        assert_eq!(get(&store).await, Ok(Some("value".to_owned())), "a wrong attempt has locked it again");
    }
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    let error = store.unlock(SecretString::from("p")).await.unwrap_err();
    assert_eq!(error.to_string(), "the vault is not available: there is none yet");
    put(&store, "value").await.unwrap();
    let error = store.unlock(SecretString::from("p")).await.unwrap_err();
    assert!(matches!(error, UnlockError::NoPassphrase), "{error}");
}

#[tokio::test]
async fn the_passphrase_is_set_changed_and_taken_away_and_another_process_needs_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other) = (vault(&folder), vault(&folder));
    put(&store, "value").await.unwrap();
    assert_eq!(get(&other).await, Ok(Some("value".to_owned())));

    for passphrase in ["first", "second"] {
        let before = fs::read(store.path()).unwrap();
        store.set_passphrase(Some(SecretString::from(passphrase))).await.unwrap();
        assert!(fs::read(store.path()).unwrap() != before);
        assert_eq!(get(&store).await, Ok(Some("value".to_owned())));
        assert!(other.condition().await.locked, "{passphrase}");
        other.unlock(SecretString::from(passphrase)).await.unwrap();
        assert_eq!(get(&other).await, Ok(Some("value".to_owned())));
    }
    other.set_passphrase(None).await.unwrap();
    assert_eq!(
        (get(&store).await, store.key_source().await),
        (Ok(Some("value".to_owned())), Some("key_file"))
    );
    assert_eq!(get(&vault(&folder)).await, Ok(Some("value".to_owned())));
}

#[tokio::test]
async fn the_passphrase_of_a_locked_vault_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    put(&with_passphrase(&folder, "right"), "value").await.unwrap();
    let before = fs::read(vault(&folder).path()).unwrap();
    for passphrase in [None, Some(SecretString::from("mine"))] {
        let error = vault(&folder).set_passphrase(passphrase).await.unwrap_err();
        assert!(matches!(error, CredentialError::Locked { .. }), "{error}");
    }
    assert!(fs::read(vault(&folder).path()).unwrap() == before);
}

#[tokio::test]
async fn a_change_is_sealed_with_the_key_that_the_vault_was_opened_with() {
    let folder = tempfile::tempdir().unwrap();
    put(&vault(&folder), "value").await.unwrap();
    // The passphrase has no effect on a vault that has a key file.
    let store = with_passphrase(&folder, "p");
    let file = Arc::clone(&store.file);
    let value = SecretString::from("other");
    let changed = file.change(|records, _| {
        // As a reader does that has met another key.
        file.keys.forget(&key::KeySource::File);
        records.insert(key().account(), value);
        (true, ())
    });
    changed.unwrap();
    assert_eq!(store.key_source().await, Some("key_file"));
    assert_eq!(get(&vault(&folder)).await, Ok(Some("other".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_can_be_read_while_the_passphrase_changes() {
    let folder = tempfile::tempdir().unwrap();
    let store = with_passphrase(&folder, "0");
    put(&store, "value").await.unwrap();
    let readers = [(); 3].map(|()| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                assert_eq!(get(&store).await, Ok(Some("value".to_owned())));
            }
        })
    });
    let mut changes = 0;
    while !readers.iter().all(tokio::task::JoinHandle::is_finished) {
        changes += 1;
        let passphrase = (changes % 3 > 0).then(|| SecretString::from(changes.to_string()));
        store.set_passphrase(passphrase).await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(changes > 3, "{changes}");
}

#[test]
fn nothing_secret_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let printed = format!("{:?}", with_passphrase(&folder, "hunter2"));
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[tokio::test]
async fn a_vault_and_a_key_file_that_another_process_has_replaced_are_read_at_the_first_call() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder);
    put(&store, "old").await.unwrap();
    fs::remove_file(store.path()).unwrap();
    fs::remove_file(paths(&folder).key_file).unwrap();
    put(&vault(&folder), "new").await.unwrap();
    assert_eq!(get(&store).await, Ok(Some("new".to_owned())));
}
