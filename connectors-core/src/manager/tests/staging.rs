//! Changes of secrets and definitions together: where the store fails, and where others look on.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::dying::Shown;
use super::environment::{Fault, Faulty, changes, faulty};
use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::watched::WatchedConfigStore;
use crate::definition::ConnectorDefinition;
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
    let before = host.config.load().await.unwrap();
    store.set(Fault::RefusesB);
    let elsewhere = ConnectorUpdate { command: Some("another".to_owned()), ..first };
    let error = manager.update(&slug, elsewhere).await.unwrap_err();
    assert_eq!(error.code(), "secret_store_unavailable");
    assert_eq!(host.config.load().await.unwrap(), before);
    assert_eq!(store.names("local").await, ["env:A_TOKEN", "env:B_TOKEN"]);
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
