//! Processes that share a vault hold a connector one at a time, though some are killed meanwhile.

use std::fs::{File, TryLockError};
use std::path::Path;

use connectors_core::{CredentialKey, CredentialStore, Slug, contract};
use connectors_store::{Paths, VaultStore};
use secrecy::{ExposeSecret, SecretString};

use crate::process::{lines, orders, say, start};

fn vault(folder: &Path) -> VaultStore {
    VaultStore::new(&Paths::new(folder.join("state"), folder.join("vault.key")))
}

fn key() -> CredentialKey {
    CredentialKey::tokens(&Slug::verbatim("a"))
}

fn lock_is_free(folder: &Path) -> bool {
    let file = File::options()
        .write(true)
        .open(folder.join("state").join("locks").join("connector-a.lock"))
        .unwrap();
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

async fn number(store: &VaultStore) -> u64 {
    store.get(&key()).await.unwrap().map_or(0, |number| number.expose_secret().parse().unwrap())
}

/// Increments the number by a read and a write, while it holds the connector.
async fn increment(store: &VaultStore) -> u64 {
    let _held = store.exclusive(key().slug()).await.unwrap();
    let next = number(store).await + 1;
    store.put(&key(), &SecretString::from(next.to_string())).await.unwrap();
    next
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
#[ignore = "run by another test, as one of several processes"]
fn counter() {
    let Some((folder, times)) = orders() else { return };
    runtime().block_on(async {
        let store = vault(&folder);
        for _ in 0..times {
            increment(&store).await;
        }
    });
}

#[tokio::test]
async fn processes_that_take_turns_lose_no_update() {
    const PROCESSES: u64 = 3;
    const EACH: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..PROCESSES).map(|_| start("exclusive::counter", folder.path(), EACH)).collect();
    let store = vault(folder.path());
    for _ in 0..EACH {
        increment(&store).await;
    }
    for mut child in children {
        let _ = lines(&mut child).last();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(number(&store).await, (PROCESSES + 1) * EACH);
}

#[test]
#[ignore = "run by another test, as one of several processes"]
fn worker() {
    let Some((folder, process)) = orders() else { return };
    let process = usize::try_from(process).unwrap();
    runtime().block_on(contract::credentials::processes::work(&vault(&folder), process));
}

#[tokio::test]
async fn processes_that_share_a_vault_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..4).map(|n| start("exclusive::worker", folder.path(), n)).collect();
    for mut child in children {
        let _ = lines(&mut child).last();
        assert!(child.wait().unwrap().success());
    }
    contract::credentials::processes::check(&vault(folder.path()), 4).await;
}

#[test]
#[ignore = "run by another test, as a process to be killed"]
fn holder() {
    let Some((folder, round)) = orders() else { return };
    runtime().block_on(async {
        let store = vault(&folder);
        let _held = store.exclusive(key().slug()).await.unwrap();
        say("holds", round);
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_holds_a_connector_lets_the_next_one_in() {
    const ROUNDS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=ROUNDS {
        let mut child = start("exclusive::holder", folder.path(), round);
        let said = lines(&mut child).find(|line| line.starts_with("holds "));
        assert_eq!(said, Some(format!("holds {round}")));
        assert!(!lock_is_free(folder.path()), "a process that holds a connector has not locked it");

        // In this process and in another, both of which wait when the holder is killed.
        let mut other = start("exclusive::counter", folder.path(), 1);
        let store = vault(folder.path());
        let waiter = tokio::spawn(async move { increment(&store).await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished() && other.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        waiter.await.unwrap();
        assert!(other.wait().unwrap().success());
        assert_eq!(number(&vault(folder.path())).await, 2 * round);
    }
    assert!(lock_is_free(folder.path()));
}
