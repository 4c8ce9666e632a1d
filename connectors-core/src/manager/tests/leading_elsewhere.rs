//! Changes that lead a connector elsewhere and bring secrets for there: what is for the new address never goes to the old one, whatever
//! becomes of the change, or of the process that makes it.

use secrecy::ExposeSecret;

use super::environment::{Fault, Faulty, Noting, changes, command, faulty, given};
use super::*;
use crate::authorizer::SecretHeader;
use crate::definition::{ConnectorDefinition, OAuthSettings, StdioCommand};
use crate::manager::ConnectorUpdate;
use crate::store::ConfigStore;

/// A host with this connector, whose secrets are in a store that can be told to fail.
async fn with(definition: &ConnectorDefinition) -> (Host, Arc<Faulty>) {
    let (host, store) = (Host::new(), Arc::<Faulty>::default());
    host.config.insert(definition).await.unwrap();
    (host, store)
}

async fn start(host: &Host, store: &Arc<Faulty>) -> (ConnectorManager, Arc<Noting>) {
    let dialer = Arc::<Noting>::default();
    let builder = host.without_dialer().with_credentials(Arc::clone(store) as _);
    let manager = builder.with_dialer(Arc::clone(&dialer) as _).start().await;
    settle().await;
    (manager, dialer)
}

/// What is in the manifest after a process has died while it wrote the first secret of an update.
async fn died(host: &Host, store: &Arc<Faulty>, slug: &Slug, update: ConnectorUpdate) -> ConnectorDefinition {
    let (dying, _) = start(host, store).await;
    store.set(Fault::Last);
    let slug = slug.clone();
    tokio::spawn(async move { dying.update(&slug, update).await });
    settle().await;
    store.set(Fault::None);
    host.config.load().await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_server_is_not_shown_what_was_entered_for_another() {
    let slug = Slug::verbatim("a");
    let mut definition = ConnectorDefinition::http(slug.clone(), "A", "http://one");
    definition.secret_headers = strings(&["X-Key"]);
    definition.oauth = Some(OAuthSettings { client_id: "id".to_owned(), ..OAuthSettings::default() });
    let (host, store) = with(&definition).await;
    let key = CredentialKey::header(&slug, "X-Key");
    store.put(&key, &"of one".into()).await.unwrap();
    let header = SecretHeader { name: "X-Key".to_owned(), value: "of another".into() };
    let update = ConnectorUpdate {
        url: Some("http://another".to_owned()),
        headers: Some(vec![header]),
        ..ConnectorUpdate::default()
    };
    let left = died(&host, &store, &slug, update).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap().expose_secret(), "of another");
    definition.secret_headers = Vec::new();
    definition.oauth = None;
    assert_eq!(left, definition);
}

#[tokio::test(start_paused = true)]
async fn a_program_is_not_given_what_was_entered_for_another() {
    let slug = Slug::verbatim("local");
    let stdio = StdioCommand { secret_env: strings(&["A_TOKEN"]), ..command(&[]) };
    let (host, store) = with(&ConnectorDefinition::stdio(slug.clone(), "Local", stdio)).await;
    let key = CredentialKey::env(&slug, "A_TOKEN");
    store.put(&key, &"of one".into()).await.unwrap();
    let update = ConnectorUpdate {
        command: Some("another".to_owned()),
        secret_env: changes(&[("A_TOKEN", Some("of another"))]),
        ..ConnectorUpdate::default()
    };
    died(&host, &store, &slug, update).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap().expose_secret(), "of another");
    let (_next, dialer) = start(&host, &store).await;
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
