#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod interrupted;
#[cfg(all(feature = "keychain", feature = "vault"))]
mod opening;
mod scripted;
mod slow_disk;
#[cfg(feature = "vault")]
mod vault_file;

use connectors_core::contract;
use futures_util::FutureExt;
use secrecy::SecretString;

use self::scripted::*;
use super::SecretPlace::{Keychain, Vault};
use super::marker::{Leftover, Marker, MarkerFile};
use super::switching::Purpose;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_that_switches_keeps_the_contract() {
    let machines = Mutex::new(Vec::new());
    let two = || {
        let machine = Machine::new();
        let open = || {
            let process = machine.process(&Arc::default());
            process.settle(Vault, 0);
            Arc::new(SwitchingStore(process))
        };
        let two = (open(), open());
        machines.lock().unwrap().push(machine);
        two
    };
    contract::credentials::run(|| two().0).await;
    contract::credentials::run_shared(two).await;
}

#[tokio::test]
async fn a_move_takes_everything_along_and_leaves_nothing_of_its_own() {
    for to in [Vault, Keychain] {
        let machine = Machine::new();
        machine.fill(to.other(), &SECRETS).await;
        let process = machine.started(to.other()).await;
        assert_eq!(process.move_to(to, own()).await.unwrap(), Moved { moved: 3, left: 0 });
        assert_eq!(machine.place(to).content().await, map(&SECRETS));
        assert_eq!(machine.place(to.other()).content().await, map(&[]));
        assert_eq!(process.marker.read().unwrap(), Some(Marker::new(to, 1, None)));
        // Again, and back.
        assert_eq!(process.move_to(to, own()).await.unwrap(), Moved { moved: 0, left: 0 });
        assert_eq!(process.move_to(to.other(), own()).await.unwrap(), Moved { moved: 3, left: 0 });
        assert_eq!(machine.place(to.other()).content().await, map(&SECRETS));
    }
}

#[tokio::test]
async fn what_other_state_roots_keep_in_a_keychain_is_neither_overwritten_nor_deleted() {
    let machine = Machine::new();
    machine.fill(Keychain, &SECRETS).await;
    machine.fill(Keychain, &[("connector:theirs:tokens", "theirs")]).await;
    let process = machine.started(Keychain).await;
    assert_eq!(process.move_to(Vault, own()).await.unwrap(), Moved { moved: 4, left: 1 });
    assert_eq!(machine.keychain.content().await, map(&[("connector:theirs:tokens", "theirs")]));

    machine.fill(Keychain, &[("connector:theirs:tokens", "refreshed by them")]).await;
    assert_eq!(process.move_to(Keychain, own()).await.unwrap(), Moved { moved: 3, left: 1 });
    let mut expected = map(&SECRETS);
    expected.insert("connector:theirs:tokens".to_owned(), "refreshed by them".to_owned());
    assert_eq!(machine.keychain.content().await, expected);
}

#[tokio::test]
async fn a_connector_that_is_added_while_a_move_waits_is_not_taken_for_another_state_roots() {
    let machine = Machine::new();
    machine.fill(Keychain, &[("connector:new:X-Key", "theirs")]).await;
    let process = machine.started(Vault).await;
    let known = Arc::new(Mutex::new(BTreeSet::new()));
    let read = Arc::clone(&known);
    // The call that writes its secret is under way.
    let (_, writing) = process.enter(Purpose::Write).await.unwrap();
    let mut moving =
        std::pin::pin!(process.move_to(Keychain, async move { Ok(read.lock().unwrap().clone()) }));
    assert_eq!(moving.as_mut().now_or_never().transpose().unwrap(), None);
    machine.fill(Vault, &[("connector:new:X-Key", "ours")]).await;
    known.lock().unwrap().insert(Slug::verbatim("new"));
    drop(writing);
    assert_eq!(moving.await.unwrap(), Moved { moved: 1, left: 0 });
    assert_eq!(machine.contents().await, [map(&[("connector:new:X-Key", "ours")]), map(&[])]);
}

#[tokio::test]
async fn a_process_that_was_told_to_look_elsewhere_keeps_what_it_finds_there() {
    let machine = Machine::new();
    machine.fill(Keychain, &SECRETS).await;
    machine.fill(Vault, &SECRETS).await;
    let accounts = SECRETS.map(|(account, _)| account.to_owned()).to_vec();
    let process = machine.process(&Arc::default());
    let leftover = Leftover { place: Vault, accounts };
    process.marker.write(&Marker::new(Keychain, 3, Some(leftover))).unwrap();
    process.settle(Vault, 3);
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.vault.content().await, map(&SECRETS));
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Keychain, 3, None)));

    machine.fill(Vault, &[("connector:a:tokens", "newer")]).await;
    assert_eq!(process.move_to(Keychain, own()).await.unwrap(), Moved { moved: 3, left: 0 });
    assert_eq!(machine.keychain.content().await["connector:a:tokens"], "newer");
    assert_eq!(machine.vault.content().await, map(&[]));
}

#[tokio::test]
async fn nothing_is_moved_to_a_place_that_does_not_keep_it() {
    let mut machine = Machine::new();
    machine.keychain.problem = Some("the keychain forgets");
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let error = process.move_to(Keychain, own()).await.unwrap_err();
    assert_eq!(error.to_string(), "the keychain is not available: the keychain forgets");
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    assert_eq!(process.marker.read().unwrap(), None);
}

#[tokio::test]
async fn a_record_of_moves_that_cannot_be_read_is_reported_and_nothing_is_touched() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let store = SwitchingStore(Arc::clone(&process));
    for (text, said) in [
        ("{\"version\":1", "is damaged, so that it is not known where the secrets are"),
        ("{\"version\":1,\"kept_in\":\"cloud\",\"moves\":1}", "is damaged"),
        ("{\"version\":2,\"kept_in\":\"vault\",\"moves\":1}", "was written by a newer version"),
        ("{\"version\":2,\"kept_in\":{\"cloud\":7}}", "was written by a newer version"),
    ] {
        std::fs::write(&process.marker.path, text).unwrap();
        let error = store.get(&key("connector:a:tokens")).await.unwrap_err().to_string();
        assert!(error.starts_with("the secret store is not available: ") && error.contains(said), "{error}");
        store.put(&key("connector:a:tokens"), &SecretString::from("x")).await.unwrap_err();
        process.move_to(Keychain, own()).await.unwrap_err();
        assert_eq!(std::fs::read_to_string(&process.marker.path).unwrap(), text);
        assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    }
}

#[tokio::test]
async fn what_the_place_in_use_does_not_hold_is_not_deleted_in_the_other() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS[..1]).await;
    machine.fill(Keychain, &SECRETS).await;
    let accounts =
        |secrets: &[(&str, &str)]| secrets.iter().map(|(account, _)| (*account).to_owned()).collect();
    let process = machine.process(&Arc::default());
    let leftover = Leftover { place: Keychain, accounts: accounts(&SECRETS) };
    process.marker.write(&Marker::new(Vault, 1, Some(leftover))).unwrap();
    process.settle(Vault, 1);
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.contents().await, [map(&SECRETS[1..]), map(&SECRETS[..1])]);
    let leftover = Leftover { place: Keychain, accounts: accounts(&SECRETS[1..]) };
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Vault, 1, Some(leftover))));

    machine.fill(Vault, &SECRETS[1..]).await;
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Vault, 1, None)));
}

#[tokio::test]
async fn without_the_lock_of_moves_nothing_is_read_or_written_that_another_process_may_be_moving() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let store = SwitchingStore(machine.started(Vault).await);
    std::fs::write(machine.folder.path().join("locks"), "in the way").unwrap();
    let (key, value) = (key("connector:a:tokens"), SecretString::from("new"));
    for error in [
        store.get(&key).await.map(drop),
        store.put(&key, &value).await,
        store.delete(&key).await,
        store.compare_and_swap(&key, None, &value).await.map(drop),
    ] {
        let error = error.unwrap_err();
        assert!(matches!(error, CredentialError::Storage { action: "lock", .. }), "{error}");
    }
    assert_eq!(machine.vault.content().await, map(&SECRETS));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn where_nobody_can_make_the_lock_of_moves_secrets_are_read_and_not_written() {
    use secrecy::ExposeSecret;

    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let store = SwitchingStore(machine.started(Vault).await);
    // Nobody, not even root, makes a file there.
    std::os::unix::fs::symlink("/sys", machine.folder.path().join("locks")).unwrap();
    let key = key("connector:a:tokens");
    assert_eq!(store.get(&key).await.unwrap().unwrap().expose_secret(), "one");
    assert_eq!(store.list(key.slug()).await.unwrap().len(), 2);
    let error = store.put(&key, &SecretString::from("new")).await.unwrap_err();
    assert!(matches!(error, CredentialError::Storage { action: "lock", .. }), "{error}");
    assert_eq!(machine.vault.content().await, map(&SECRETS));
}

#[test]
fn a_record_of_moves_that_cannot_be_written_is_an_error_of_the_storage() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let marker = MarkerFile::new(in_the_way.join("secrets.json"), folder.path().join("lock"));
    let error = marker.write(&Marker::new(Vault, 1, None)).unwrap_err();
    assert!(matches!(error, CredentialError::Storage { action: "write", .. }), "{error}");
    assert_eq!(connectors_core::ConnectorError::from(error).code(), "storage");
}

#[tokio::test]
async fn secrets_in_memory_are_not_moved() {
    let secrets = Secrets::in_memory(", as chosen".to_owned());
    let error = secrets.move_to(Vault, own()).await.unwrap_err();
    assert!(matches!(error, SecretsError::InMemory), "{error}");
    let status = secrets.status().await;
    assert_eq!(
        (status.kind, status.notice.as_str(), status.warning, status.can_move_to),
        ("memory", "Secrets are kept in memory, as chosen.", true, vec![])
    );
}
