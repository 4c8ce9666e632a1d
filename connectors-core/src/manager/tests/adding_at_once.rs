//! Several processes that add a connector of one name at the same time, over one manifest and one secret store.

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::proposing::{accept, leading_to, one};
use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::proposals::ScriptedProposals;
use crate::definition::ConnectorDefinition;
use crate::error::StorageError;
use crate::store::ConfigStore;
use crate::view::ConnectorStatus;

/// The manifest as a process sees it that stands still before it adds a connector, until it may.
struct Halting {
    config: Arc<MemoryConfigStore>,
    may_insert: Semaphore,
}

impl Halting {
    fn of(host: &Host) -> Arc<Self> {
        Arc::new(Self { config: Arc::clone(&host.config), may_insert: Semaphore::new(0) })
    }

    fn release(&self) {
        self.may_insert.close();
    }
}

#[async_trait]
impl ConfigStore for Halting {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.config.load().await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        // Closed is how it is released.
        let _ = self.may_insert.acquire().await;
        self.config.insert(definition).await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.config.replace(definition).await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        self.config.compare_and_swap(expected, new).await
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.config.remove(slug).await
    }
}

/// An addition of the name `One` that is under way.
fn adding(manager: &ConnectorManager, url: &str, key: &str) -> tokio::task::JoinHandle<ConnectorStatus> {
    let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from(key) };
    let (manager, new) = (manager.clone(), NewConnector::http("One", url, vec![header]));
    tokio::spawn(async move { manager.add(new).await.unwrap() })
}

/// Every connector with its secrets, as `slug url name=value`.
async fn all(host: &Host) -> Vec<String> {
    let mut all = Vec::new();
    for definition in host.config.load().await.unwrap() {
        let secrets = host.secrets(&definition.slug).await.join(" ");
        all.push(format!("{} {} {secrets}", definition.slug, definition.url));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn of_two_who_add_one_name_each_keeps_its_own_key() {
    let host = Host::new();
    let halting = Halting::of(&host);
    let first = host.builder().with_config(Arc::clone(&halting) as _).start().await;
    let second = host.start().await;
    // Its key is stored, and its definition is not yet.
    let at_first = adding(&first, "http://a", "a");
    settle().await;
    let at_second = adding(&second, "http://b", "b");
    settle().await;
    halting.release();
    let slugs = [at_first.await.unwrap().slug, at_second.await.unwrap().slug];
    assert_eq!(slugs, ["one", "one_2"].map(Slug::verbatim));
    assert_eq!(all(&host).await, ["one http://a X-Key=a", "one_2 http://b X-Key=b"]);
}

#[tokio::test(start_paused = true)]
async fn a_proposal_is_not_accepted_over_the_key_of_who_is_adding_its_name_elsewhere() {
    let host = Host::new();
    let halting = Halting::of(&host);
    let first = host.builder().with_config(Arc::clone(&halting) as _).start().await;
    let source = ScriptedProposals::of([leading_to("http://proposed")]);
    let second = host.builder().with_proposals(source).start().await;
    assert_eq!(second.list().len(), 1);
    let adding = adding(&first, "http://a", "a");
    settle().await;
    let accepting = tokio::spawn(async move { accept(&second).await.map(|status| status.url) });
    settle().await;
    halting.release();
    adding.await.unwrap();
    assert_eq!(accepting.await.unwrap().unwrap_err().code(), "storage");
    assert_eq!(all(&host).await, ["one http://a X-Key=a"]);
}

#[tokio::test(start_paused = true)]
async fn who_adds_a_name_that_is_being_accepted_elsewhere_gets_another_slug() {
    let host = Host::new();
    let halting = Halting::of(&host);
    let source = ScriptedProposals::of([leading_to("http://proposed")]);
    let builder = host.builder().with_config(Arc::clone(&halting) as _);
    let first = builder.with_proposals(source).start().await;
    assert_eq!(first.list().len(), 1);
    let second = host.start().await;
    host.put(&one(), "X-Key", "of an earlier one").await;
    let accepting = tokio::spawn(async move { accept(&first).await.unwrap().url });
    settle().await;
    let adding = adding(&second, "http://b", "b");
    settle().await;
    halting.release();
    assert_eq!(accepting.await.unwrap(), "http://proposed");
    assert_eq!(adding.await.unwrap().slug.as_str(), "one_2");
    assert_eq!(all(&host).await, ["one http://proposed ", "one_2 http://b X-Key=b"]);
}
