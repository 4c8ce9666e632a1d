//! Changes of secrets and definitions together: where the store fails, and where others look on.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::dying::Shown;
use super::environment::{Fault, Faulty, changes, faulty};
use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::watched::{Flaw, WatchedConfigStore};
use crate::definition::{ConnectorDefinition, StdioCommand};
use crate::error::ConnectorError;
use crate::manager::ConnectorUpdate;
use crate::store::ConfigStore;
use crate::view::ConnectorStatus;

/// Processes that share their settings and their secrets, with a connector `a` that has a secret.
struct Home {
    config: Arc<WatchedConfigStore>,
    secrets: Arc<Faulty>,
}

impl Home {
    async fn furnished() -> Self {
        let (config, secrets) = (Arc::<WatchedConfigStore>::default(), Arc::<Faulty>::default());
        let mut definition = ConnectorDefinition::http(slug(), "A", "http://one");
        definition.secret_headers = strings(&["X-Key"]);
        config.write_quietly(&[definition]).await;
        secrets.put(&CredentialKey::header(&slug(), "X-Key"), &"of one".into()).await.unwrap();
        Self { config, secrets }
    }

    /// A process, and what it shows to servers.
    async fn process(&self) -> (ConnectorManager, Arc<Shown>) {
        let shown = Arc::<Shown>::default();
        let manager = ConnectorManager::builder()
            .with_config(Arc::clone(&self.config) as _)
            .with_credentials(Arc::clone(&self.secrets) as _)
            .with_dialer(Arc::clone(&shown) as _)
            .start()
            .await;
        settle().await;
        (manager, shown)
    }

    async fn is_empty(&self) -> bool {
        self.config.load().await.unwrap().is_empty() && self.secrets.names("a").await.is_empty()
    }
}

fn slug() -> Slug {
    Slug::verbatim("a")
}

/// An update to another address, with these headers for it.
fn elsewhere(headers: &[&str]) -> ConnectorUpdate {
    let header = |name: &&str| SecretHeader { name: (*name).to_owned(), value: "of another".into() };
    ConnectorUpdate {
        url: Some("http://another".to_owned()),
        headers: Some(headers.iter().map(header).collect()),
        ..ConnectorUpdate::default()
    }
}

fn updating(
    manager: &ConnectorManager,
    update: ConnectorUpdate,
) -> JoinHandle<Result<ConnectorStatus, ConnectorError>> {
    let manager = manager.clone();
    tokio::spawn(async move { manager.update(&slug(), update).await })
}

fn removing(manager: &ConnectorManager) -> JoinHandle<Result<(), ConnectorError>> {
    let manager = manager.clone();
    tokio::spawn(async move { manager.remove(&slug()).await })
}

fn shown(shown: &Shown) -> Vec<String> {
    shown.0.lock().unwrap().iter().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_that_fails_leaves_the_connector_with_its_secrets() {
    let (manager, host, store, slug) = faulty(&[]).await;
    let first = ConnectorUpdate {
        secret_env: changes(&[("A_TOKEN", Some("a")), ("B_TOKEN", Some("b"))]),
        ..ConnectorUpdate::default()
    };
    manager.update(&slug, first.clone()).await.unwrap();
    let mut before = host.config.load().await.unwrap().remove(0);
    store.set(Fault::RefusesB);
    let elsewhere = ConnectorUpdate { command: Some("another".to_owned()), ..first };
    let error = manager.update(&slug, elsewhere).await.unwrap_err();
    assert_eq!(error.code(), "secret_store_unavailable");
    let after = host.config.load().await.unwrap().remove(0);
    // Somebody may have read a secret that was there for a moment.
    assert_ne!(after.secrets_revision, before.secrets_revision);
    before.secrets_revision = after.secrets_revision;
    assert_eq!(after, before);
    assert_eq!(store.names("local").await, ["env:A_TOKEN", "env:B_TOKEN"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_staged_change_is_thrown_away() {
    let records = [
        "",
        "{",
        "null",
        r#"{"secrets_revision": 0}"#,
        r#"{"secrets_revision": 0, "secrets": []}"#,
        r#"{"secrets_revision": -1, "secrets": {"X-Key": "evil"}}"#,
        r#"{"secrets_revision": 0, "secrets": {"X-Key": 1}}"#,
        r#"{"secrets_revision": 7, "secrets": {"X-Key": "of a change that was not made"}}"#,
    ];
    for record in records {
        let home = Home::furnished().await;
        home.secrets.put(&CredentialKey::staged(&slug()), &record.into()).await.unwrap();
        let (manager, shown_by_it) = home.process().await;
        assert_eq!(shown(&shown_by_it), ["http://one X-Key=of one"], "{record}");
        assert_eq!(home.secrets.names("a").await, ["X-Key"], "{record}");
        drop(manager);
    }
}

#[tokio::test(start_paused = true)]
async fn a_staged_change_that_is_damaged_holds_nothing_up() {
    let home = Home::furnished().await;
    home.secrets.set(Fault::DamagesStaged);
    home.secrets.put(&CredentialKey::staged(&slug()), &"?".into()).await.unwrap();
    let (_manager, shown_by_it) = home.process().await;
    assert_eq!(shown(&shown_by_it), ["http://one X-Key=of one"]);
    assert_eq!(home.secrets.names("a").await, ["X-Key"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_the_store_is_locked() {
    let home = Home::furnished().await;
    let (manager, _) = home.process().await;
    let local = StdioCommand { command: "c".to_owned(), ..StdioCommand::default() };
    manager.add(NewConnector::stdio("Local", local)).await.unwrap();
    let before = home.config.load().await.unwrap();
    let is_locked = |outcome: Result<ConnectorStatus, ConnectorError>| {
        assert_eq!(outcome.unwrap_err().code(), "secret_store_unavailable");
    };
    home.secrets.set(Fault::Locked);
    // Not even for a moment.
    home.config.set(Flaw::Full);
    let header = SecretHeader { name: "X-Key".to_owned(), value: "v".into() };
    is_locked(manager.add(NewConnector::http("New", "http://new", vec![header])).await);
    let variable = ConnectorUpdate { secret_env: changes(&[("A", Some("a"))]), ..ConnectorUpdate::default() };
    is_locked(manager.update(&Slug::verbatim("local"), variable).await);
    is_locked(manager.update(&slug(), elsewhere(&["X-Key"])).await);
    is_locked(manager.remove(&slug()).await.map(|()| unreachable!("it is removed")));
    home.config.set(Flaw::None);
    assert_eq!(home.config.load().await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_removal_after_somebody_has_deleted_the_entry_deletes_the_secrets() {
    let home = Home::furnished().await;
    let (manager, _) = home.process().await;
    home.config.write_quietly(&[]).await;
    assert_eq!(manager.remove(&slug()).await.unwrap_err().code(), "connector_not_found");
    assert!(home.is_empty().await);
}

#[tokio::test(start_paused = true)]
async fn whoever_was_not_told_of_a_new_address_shows_the_old_one_nothing_new() {
    let home = Home::furnished().await;
    let ((changing, _), (other, shown_by_other)) = (home.process().await, home.process().await);
    changing.update(&slug(), elsewhere(&["X-Key"])).await.unwrap();
    other.reconnect(&slug()).await.unwrap();
    let expected = ["http://another X-Key=of another", "http://one X-Key=of one"];
    assert_eq!(shown(&shown_by_other), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_because_others_were_faster_is_not_made_later() {
    let home = Home::furnished().await;
    let stdio = |env: &[&str], secret_env: &[&str]| {
        let env = env.iter().map(|name| ((*name).to_owned(), "old".to_owned())).collect();
        StdioCommand {
            command: "c".to_owned(),
            env,
            secret_env: strings(secret_env),
            ..StdioCommand::default()
        }
    };
    let definition = |command| ConnectorDefinition::stdio(slug(), "A", command);
    home.config.write_quietly(&[definition(stdio(&["A_TOKEN"], &["B_TOKEN"]))]).await;
    home.secrets.put(&CredentialKey::env(&slug(), "B_TOKEN"), &"b".into()).await.unwrap();
    let ((one, _), (other, shown_by_other)) = (home.process().await, home.process().await);
    let replaced = ConnectorUpdate {
        env: changes(&[("B_TOKEN", None)]),
        secret_env: changes(&[("A_TOKEN", Some("new"))]),
        ..ConnectorUpdate::default()
    };
    one.update(&slug(), replaced).await.unwrap();
    // It has not been told yet, and would move what was there before.
    let error = other.protect_env(&slug(), None).await.unwrap_err();
    assert_eq!(error.code(), "invalid_params", "{error}");
    other.reconnect(&slug()).await.unwrap();
    settle().await;
    assert_eq!(shown(&shown_by_other).last().unwrap(), "c B_TOKEN=b A_TOKEN=new");
    assert_eq!(home.secrets.names("a").await, ["X-Key", "env:A_TOKEN", "env:B_TOKEN"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_connects_during_a_change_waits_for_its_end() {
    let home = Home::furnished().await;
    let ((changing, shown_by_it), (other, shown_by_other)) = (home.process().await, home.process().await);
    home.secrets.set(Fault::Slow);
    let update = updating(&changing, elsewhere(&["X-Key"]));
    // Staged, written, and replaced one after the other.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        home.config.announce();
        other.reconnect(&slug()).await.unwrap();
        changing.reconnect(&slug()).await.unwrap();
    }
    update.await.unwrap().unwrap();
    settle().await;
    let expected = ["http://another X-Key=of another", "http://one X-Key=of one"];
    assert_eq!([shown(&shown_by_it), shown(&shown_by_other)], [expected; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_read_for_one_address_and_is_for_another_is_shown_to_neither_wrongly() {
    let home = Home::furnished().await;
    let (manager, shown_by_it) = home.process().await;
    home.secrets.set(Fault::HoldsRead);
    manager.reconnect(&slug()).await.unwrap();
    settle().await;
    // Replaced, and not yet dialled again.
    home.secrets.set(Fault::SlowToDelete);
    let update = updating(&manager, elsewhere(&["X-Key"]));
    settle().await;
    home.secrets.answer();
    settle().await;
    assert_eq!(shown(&shown_by_it), ["http://one X-Key=of one"]);
    update.await.unwrap().unwrap();
    assert_eq!(shown(&shown_by_it), ["http://another X-Key=of another", "http://one X-Key=of one"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_leaves_something_behind_is_not_made_again_later() {
    let home = Home::furnished().await;
    let (manager, shown_by_it) = home.process().await;
    home.secrets.set(Fault::RefusesToDelete);
    manager.update(&slug(), elsewhere(&["X-Key"])).await.unwrap();
    home.secrets.set(Fault::None);
    // As a sign-in does with its tokens.
    home.secrets.put(&CredentialKey::header(&slug(), "X-Key"), &"renewed".into()).await.unwrap();
    manager.reconnect(&slug()).await.unwrap();
    settle().await;
    assert!(shown(&shown_by_it).contains(&"http://another X-Key=renewed".to_owned()));
    assert_eq!(home.secrets.names("a").await, ["X-Key"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_a_removal_could_not_wait_for_leaves_nothing_behind() {
    // The removal comes while the change is staged, and while it is made: it ends before it, or after it.
    for (begun, deletes_slowly) in [(1, false), (25, false), (25, true)] {
        let home = Home::furnished().await;
        let (manager, _) = home.process().await;
        home.secrets.set(Fault::Slow);
        let update = updating(&manager, elsewhere(&["X-Key", "X-More"]));
        tokio::time::sleep(Duration::from_secs(begun)).await;
        let removal = removing(&manager);
        tokio::time::sleep(Duration::from_secs(9)).await;
        if deletes_slowly {
            home.secrets.set(Fault::SlowToDelete);
        }
        removal.await.unwrap().unwrap();
        let _ = update.await.unwrap();
        assert!(home.is_empty().await, "{begun} {deletes_slowly}: {:?}", home.secrets.names("a").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_another_process_is_removing_is_gone_and_comes_back_where_that_fails() {
    let home = Home::furnished().await;
    let ((remover, _), (other, shown_by_other)) = (home.process().await, home.process().await);
    home.secrets.set(Fault::RefusesToDelete);
    let removal = removing(&remover);
    settle().await;
    home.config.announce();
    settle().await;
    assert_eq!((remover.list().len(), other.list().len()), (1, 0));
    assert_eq!(removal.await.unwrap().unwrap_err().code(), "secret_store_unavailable");
    home.config.announce();
    settle().await;
    assert_eq!((remover.list().len(), other.list().len()), (1, 1));
    assert_eq!(home.secrets.names("a").await, ["X-Key"]);
    assert_eq!(shown(&shown_by_other), ["http://one X-Key=of one"]);
    assert!(!home.config.load().await.unwrap()[0].unfinished);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_can_be_neither_completed_nor_taken_back_is_completed_as_soon_as_it_can_be() {
    let home = Home::furnished().await;
    let ((remover, _), (other, _)) = (home.process().await, home.process().await);
    home.secrets.set(Fault::SlowToDelete);
    let removal = removing(&remover);
    settle().await;
    home.config.set(Flaw::Full);
    assert_eq!(removal.await.unwrap().unwrap_err().code(), "storage");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((remover.list().len(), other.list().len()), (1, 0));
    home.config.set(Flaw::None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    home.config.announce();
    settle().await;
    assert_eq!((remover.list().len(), other.list().len()), (0, 0));
    assert!(home.is_empty().await);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_connector_is_cleared_away_once_the_store_can_be_used() {
    let home = Home::furnished().await;
    let mut definition = home.config.load().await.unwrap().remove(0);
    definition.unfinished = true;
    home.config.write_quietly(&[definition]).await;
    home.secrets.set(Fault::Locked);
    let (manager, shown_by_it) = home.process().await;
    assert_eq!((manager.list().len(), shown(&shown_by_it).len()), (0, 0));
    assert!(!home.is_empty().await);
    home.secrets.set(Fault::None);
    manager.secrets_available().await;
    settle().await;
    assert!(home.is_empty().await);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_being_cleared_away_is_not_given_to_another_connector() {
    let home = Home::furnished().await;
    let mut definition = home.config.load().await.unwrap().remove(0);
    definition.unfinished = true;
    home.config.write_quietly(&[definition]).await;
    let held = home.secrets.exclusive(&slug()).await.unwrap();
    let (manager, _) = home.process().await;
    let added = manager.add(NewConnector::http("A", "http://two", vec![])).await.unwrap();
    assert_eq!(added.slug.as_str(), "a_2");
    drop(held);
    settle().await;
    assert_eq!(home.config.load().await.unwrap().len(), 1);
    let added = manager.add(NewConnector::http("A", "http://three", vec![])).await.unwrap();
    assert_eq!(added.slug.as_str(), "a");
}
