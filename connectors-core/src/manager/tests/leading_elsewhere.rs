//! Changes that lead a connector elsewhere and bring secrets for there: what is for the new address never goes to the old one, whatever
//! becomes of the change, or of the process that makes it.

use secrecy::SecretString;

use super::environment::{Fault, Noting, changes, command, faulty, given};
use super::*;
use crate::authorizer::SecretHeader;
use crate::definition::{ConnectorDefinition, OAuthSettings, StdioCommand};
use crate::error::CredentialError;
use crate::manager::ConnectorUpdate;
use crate::store::{ConfigStore, Exclusive};

/// A store whose user dies once it has written.
struct LastWrite(Arc<MemoryCredentialStore>);

#[async_trait::async_trait]
impl CredentialStore for LastWrite {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.0.get(key).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.0.put(key, value).await?;
        std::future::pending().await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.0.delete(key).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.0.list(slug).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.0.compare_and_swap(key, expected, new).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.0.exclusive(slug).await
    }
}

/// What is in the manifest after a process has died while it wrote the first secret of an update.
async fn died(host: &Host, update: ConnectorUpdate) -> ConnectorDefinition {
    let before = host.config.load().await.unwrap().remove(0);
    let dying = host
        .without_dialer()
        .with_credentials(Arc::new(LastWrite(Arc::clone(&host.credentials))))
        .with_dialer(Arc::new(Noting::default()))
        .start()
        .await;
    let slug = before.slug.clone();
    let updating = tokio::spawn(async move { dying.update(&slug, update).await });
    settle().await;
    updating.abort();
    host.config.load().await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_server_is_not_shown_what_was_entered_for_another() {
    let host = Host::new();
    let slug = Slug::verbatim("a");
    let mut before = ConnectorDefinition::http(slug.clone(), "A", "http://one");
    before.secret_headers = strings(&["X-Key"]);
    before.oauth = Some(OAuthSettings { client_id: "id".to_owned(), ..OAuthSettings::default() });
    host.config.insert(&before).await.unwrap();
    host.put(&slug, "X-Key", "of one").await;
    let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from("of another") };
    let update = ConnectorUpdate {
        url: Some("http://another".to_owned()),
        headers: Some(vec![header]),
        ..ConnectorUpdate::default()
    };
    let left = died(&host, update).await;
    assert_eq!(host.secrets(&slug).await, ["X-Key=of another"]);
    before.secret_headers = Vec::new();
    before.oauth = None;
    assert_eq!(left, before);
}

#[tokio::test(start_paused = true)]
async fn a_program_is_not_given_what_was_entered_for_another() {
    let (host, slug) = (Host::new(), Slug::verbatim("local"));
    let stdio = StdioCommand { secret_env: strings(&["A_TOKEN"]), ..command(&[]) };
    host.config.insert(&ConnectorDefinition::stdio(slug.clone(), "Local", stdio)).await.unwrap();
    host.put(&slug, "env:A_TOKEN", "of one").await;
    let update = ConnectorUpdate {
        command: Some("another".to_owned()),
        secret_env: changes(&[("A_TOKEN", Some("of another"))]),
        ..ConnectorUpdate::default()
    };
    died(&host, update).await;
    assert_eq!(host.secrets(&slug).await, ["env:A_TOKEN=of another"]);
    let dialer = Arc::new(Noting::default());
    let _next = host.without_dialer().with_dialer(Arc::clone(&dialer) as _).start().await;
    settle().await;
    assert_eq!(given(&dialer), [""; 0]);
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
