//! What ends, or begins, later than everybody has gone on.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::*;
use crate::definition::ConnectorDefinition;
use crate::error::StorageError;
use crate::store::ConfigStore;
use crate::view::StateName;

/// Definitions in memory, on a disk that does not answer while it is told not to.
struct Stalling {
    definitions: Arc<MemoryConfigStore>,
    answers: watch::Receiver<bool>,
}

impl Stalling {
    async fn answer(&self) {
        let _ = self.answers.clone().wait_for(|answers| *answers).await;
    }
}

#[async_trait]
impl ConfigStore for Stalling {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.answer().await;
        self.definitions.load().await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.answer().await;
        self.definitions.insert(definition).await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.answer().await;
        self.definitions.replace(definition).await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        self.answer().await;
        self.definitions.compare_and_swap(expected, new).await
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.answer().await;
        self.definitions.remove(slug).await
    }
}

/// A host with a server at `http://one`, and a manager on a disk that answers as the sender says.
async fn stalling() -> (ConnectorManager, Tools, Host, watch::Sender<bool>) {
    let (host, tools) = (Host::new(), Tools::new(&["a"]));
    host.serve("http://one", &tools.server);
    let (answering, answers) = watch::channel(true);
    let config = Arc::new(Stalling { definitions: Arc::clone(&host.config), answers });
    (host.builder().with_config(config).start().await, tools, host, answering)
}

async fn adding(manager: &ConnectorManager) {
    let manager = manager.clone();
    let add = async move { manager.add(NewConnector::http("One", "http://one", vec![])).await };
    // Whoever added it has gone.
    assert!(tokio::time::timeout(Duration::from_secs(1), add).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_being_added_when_the_last_manager_went_is_stored_and_not_started() {
    let (manager, tools, host, answering) = stalling().await;
    answering.send(false).unwrap();
    adding(&manager).await;
    drop(manager);
    answering.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((host.config.load().await.unwrap().len(), tools.server.dials()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_being_added_at_a_shutdown_is_stored_and_not_started() {
    let (manager, tools, host, answering) = stalling().await;
    answering.send(false).unwrap();
    adding(&manager).await;
    manager.shutdown().await;
    answering.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((host.config.load().await.unwrap().len(), tools.server.dials()), (1, 0));
    // Nobody waits for what is not going to happen.
    let began = tokio::time::Instant::now();
    let status = manager.add(NewConnector::http("Two", "http://one", vec![])).await.unwrap();
    assert_eq!((status.state, began.elapsed()), (StateName::Disconnected, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_connector_is_ready_and_ends_while_the_disk_does_not_answer() {
    let (manager, tools, host, answering) = stalling().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    // Enabled by hand, and so without a fingerprint that is to be written.
    let mut by_hand = host.config.load().await.unwrap().remove(0);
    by_hand.enabled_tools = strings(&["a"]);
    host.config.replace(&by_hand).await.unwrap();
    manager.reload().await.unwrap();
    settle().await;
    assert_eq!(host.config.load().await.unwrap()[0].tool_pins.len(), 1);
    by_hand.tool_pins.clear();
    host.config.replace(&by_hand).await.unwrap();
    manager.reload().await.unwrap();

    answering.send(false).unwrap();
    let renaming = tokio::spawn({
        let (manager, slug) = (manager.clone(), slug.clone());
        async move { manager.disable_tools(&slug, &strings(&["a"])).await }
    });
    settle().await;
    assert_eq!(manager.reconnect(&slug).await.unwrap().state, StateName::Ready);
    assert_eq!(tools.server.dials(), 2);
    let began = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(60), manager.shutdown()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(5), "of the changes that are under way");
    renaming.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_removed_connector_still_does_is_not_told_of_the_one_that_has_its_slug() {
    let (manager, tools, host, slug) = with_tools(&["a"]).await;
    let definition = host.config.load().await.unwrap().remove(0);
    tools.server.set_slow_to_close(Duration::from_secs(5));
    let mut events = manager.events().subscribe();
    host.config.remove(&slug).await.unwrap();
    manager.reload().await.unwrap();
    host.config.insert(&definition).await.unwrap();
    manager.reload().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut states = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::State { state, removed, .. } = &event.kind {
            states.push((*state, *removed));
        }
    }
    let expected = [(None, true), (Some(StateName::Connecting), false), (Some(StateName::Ready), false)];
    assert_eq!(states, expected);
    assert!(manager.status(&slug).unwrap().connected);
}

/// A store that does not tell capitals apart, as some platforms' do not.
#[tokio::test(start_paused = true)]
async fn a_header_that_is_given_anew_in_other_capitals_keeps_its_new_value() {
    let host = Host::new();
    let tools = Tools::new(&["a"]);
    host.serve("http://one", &tools.server);
    let manager =
        host.builder().with_credentials(Arc::new(Capitals(Arc::clone(&host.credentials)))).start().await;
    let header = |name: &str, value: &str| crate::authorizer::SecretHeader {
        name: name.to_owned(),
        value: value.into(),
    };
    let new = NewConnector::http("One", "http://one", vec![header("X-API-Key", "old")]);
    let slug = manager.add(new).await.unwrap().slug;
    let update = crate::manager::ConnectorUpdate {
        headers: Some(vec![header("X-Api-Key", "new")]),
        ..crate::manager::ConnectorUpdate::default()
    };
    manager.update(&slug, update).await.unwrap();
    assert_eq!(host.secrets(&slug).await, ["x-api-key=new"]);
}

struct Capitals(Arc<MemoryCredentialStore>);

impl Capitals {
    fn of(key: &CredentialKey) -> CredentialKey {
        CredentialKey::header(key.slug(), &key.name().to_lowercase())
    }
}

#[async_trait]
impl CredentialStore for Capitals {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    async fn get(
        &self,
        key: &CredentialKey,
    ) -> Result<Option<secrecy::SecretString>, crate::CredentialError> {
        self.0.get(&Self::of(key)).await
    }

    async fn put(
        &self,
        key: &CredentialKey,
        value: &secrecy::SecretString,
    ) -> Result<(), crate::CredentialError> {
        self.0.put(&Self::of(key), value).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), crate::CredentialError> {
        self.0.delete(&Self::of(key)).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, crate::CredentialError> {
        self.0.list(slug).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a secrecy::SecretString>,
        new: &secrecy::SecretString,
    ) -> Result<bool, crate::CredentialError> {
        self.0.compare_and_swap(&Self::of(key), expected, new).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<crate::store::Exclusive, crate::CredentialError> {
        self.0.exclusive(slug).await
    }
}
