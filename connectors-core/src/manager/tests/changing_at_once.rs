//! Several who change one connector at the same time: nothing of what either does is undone.

use std::time::Duration;

use secrecy::SecretString;

use super::environment::{Fault, Noting, changes, command, faulty, given, stored, written};
use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::watched::WatchedConfigStore;
use crate::definition::{ConnectorDefinition, StdioCommand};
use crate::error::ConnectorError;
use crate::manager::ConnectorUpdate;
use crate::store::ConfigStore;
use crate::view::ConnectorStatus;

fn arguments(args: &[&str]) -> ConnectorUpdate {
    ConnectorUpdate { args: Some(strings(args)), ..ConnectorUpdate::default() }
}

fn secrets(variables: &[(&str, Option<&str>)]) -> ConnectorUpdate {
    ConnectorUpdate { secret_env: changes(variables), ..ConnectorUpdate::default() }
}

fn header(value: &str) -> ConnectorUpdate {
    let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from(value) };
    ConnectorUpdate { headers: Some(vec![header]), ..ConnectorUpdate::default() }
}

/// A manager on a store that others write to, which has this definition.
async fn watched(definition: &ConnectorDefinition) -> (ConnectorManager, Host, Arc<WatchedConfigStore>) {
    let (host, config) = (Host::new(), Arc::new(WatchedConfigStore::default()));
    config.write_quietly(std::slice::from_ref(definition)).await;
    let manager = host
        .without_dialer()
        .with_config(Arc::clone(&config) as _)
        .with_dialer(Arc::new(Noting::default()))
        .start()
        .await;
    settle().await;
    (manager, host, config)
}

/// An update that is under way.
fn updating(
    manager: &ConnectorManager,
    slug: &Slug,
    update: ConnectorUpdate,
) -> tokio::task::JoinHandle<Result<ConnectorStatus, ConnectorError>> {
    let (manager, slug) = (manager.clone(), slug.clone());
    tokio::spawn(async move { manager.update(&slug, update).await })
}

#[tokio::test(start_paused = true)]
async fn new_arguments_do_not_bring_back_a_secret_that_is_being_moved_out_of_the_file() {
    let (manager, host, dialer, slug) = written(&[("A_TOKEN", "a"), ("LOG", "debug")]).await;
    settle().await;
    let (moved, updated) =
        tokio::join!(manager.protect_env(&slug, None), manager.update(&slug, arguments(&["-v"])));
    moved.unwrap();
    updated.unwrap();
    let definition = host.config.load().await.unwrap().remove(0);
    let expected = StdioCommand {
        args: strings(&["-v"]),
        secret_env: strings(&["A_TOKEN"]),
        ..command(&[("LOG", "debug")])
    };
    assert_eq!(definition.stdio, Some(expected));
    assert_eq!(host.secrets(&slug).await, ["env:A_TOKEN=a"]);
    assert_eq!(given(&dialer), ["A_TOKEN=a"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_leaves_what_was_edited_by_hand_and_nobody_has_noticed_yet() {
    let mut definition =
        ConnectorDefinition::stdio(Slug::verbatim("local"), "Local", command(&[("LOG", "debug")]));
    let (manager, host, config) = watched(&definition).await;
    let by_hand = command(&[("LOG", "trace"), ("MORE", "1")]);
    let by_hand = StdioCommand { cwd: Some("/srv/x".to_owned()), ..by_hand };
    definition.stdio = Some(by_hand.clone());
    config.write_quietly(std::slice::from_ref(&definition)).await;
    manager.update(&definition.slug, arguments(&["-v"])).await.unwrap();
    let expected = StdioCommand { args: strings(&["-v"]), ..by_hand };
    assert_eq!(config.load().await.unwrap().remove(0).stdio, Some(expected.clone()));

    // What is asked for counts, also where it was so before that edit.
    let expected = StdioCommand { args: strings(&["-q"]), ..expected };
    definition.disabled = true;
    config.write_quietly(std::slice::from_ref(&definition)).await;
    let update = ConnectorUpdate { disabled: Some(false), ..arguments(&["-q"]) };
    manager.update(&definition.slug, update).await.unwrap();
    (definition.disabled, definition.stdio) = (false, Some(expected.clone()));
    assert_eq!(config.load().await.unwrap(), std::slice::from_ref(&definition));

    // The same for one variable, and what names all of them names those that are really there.
    let by_hand = StdioCommand { secret_env: strings(&["B_TOKEN"]), ..expected };
    definition.stdio = Some(by_hand.clone());
    host.put(&definition.slug, "env:B_TOKEN", "b").await;
    config.write_quietly(std::slice::from_ref(&definition)).await;
    manager.update(&definition.slug, secrets(&[("A_TOKEN", Some("a"))])).await.unwrap();
    let expected = StdioCommand { secret_env: strings(&["B_TOKEN", "A_TOKEN"]), ..by_hand };
    assert_eq!(config.load().await.unwrap().remove(0).stdio, Some(expected.clone()));
    assert_eq!(host.secrets(&definition.slug).await, ["env:A_TOKEN=a", "env:B_TOKEN=b"]);

    definition.stdio =
        Some(StdioCommand { secret_env: strings(&["A_TOKEN", "B_TOKEN", "C_TOKEN"]), ..expected });
    host.put(&definition.slug, "env:C_TOKEN", "c").await;
    config.write_quietly(std::slice::from_ref(&definition)).await;
    let update = ConnectorUpdate { env: changes(&[("A_TOKEN", None)]), ..ConnectorUpdate::default() };
    manager.update(&definition.slug, update).await.unwrap();
    assert_eq!(host.secrets(&definition.slug).await, ["env:A_TOKEN=a"]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_has_just_been_set_is_not_deleted_by_whoever_dropped_the_one_before() {
    let (manager, host, dialer, slug) = written(&[]).await;
    manager.update(&slug, secrets(&[("A_TOKEN", Some("old"))])).await.unwrap();
    let dropping = ConnectorUpdate { env: changes(&[]), ..ConnectorUpdate::default() };
    let (dropped, set) = tokio::join!(
        manager.update(&slug, dropping),
        manager.update(&slug, secrets(&[("A_TOKEN", Some("new"))]))
    );
    dropped.unwrap();
    set.unwrap();
    assert_eq!(stored(&host).await, (strings(&[]), strings(&["A_TOKEN"])));
    assert_eq!(host.secrets(&slug).await, ["env:A_TOKEN=new"]);
    assert_eq!(given(&dialer), ["A_TOKEN=new"]);
}

#[tokio::test(start_paused = true)]
async fn what_touches_secrets_waits_for_whoever_holds_them_and_the_rest_does_not() {
    let (manager, host, _dialer, slug) = written(&[("A_TOKEN", "a")]).await;
    let held = host.credentials.exclusive(&slug).await.unwrap();
    manager.update(&slug, arguments(&["-v"])).await.unwrap();
    let setting = updating(&manager, &slug, secrets(&[("B_TOKEN", Some("b"))]));
    let (protector, protected) = (manager.clone(), slug.clone());
    let moving = tokio::spawn(async move { protector.protect_env(&protected, None).await });
    settle().await;
    assert_eq!(stored(&host).await, (strings(&["A_TOKEN=a"]), vec![]));
    assert_eq!(host.secrets(&slug).await, strings(&[]));
    drop(held);
    setting.await.unwrap().unwrap();
    moving.await.unwrap().unwrap();
    assert_eq!(stored(&host).await, (vec![], strings(&["B_TOKEN", "A_TOKEN"])));
    assert_eq!(host.secrets(&slug).await, ["env:A_TOKEN=a", "env:B_TOKEN=b"]);
}

#[tokio::test(start_paused = true)]
async fn an_editor_that_deletes_the_file_before_it_writes_it_loses_no_secret() {
    let definition = ConnectorDefinition::http(Slug::verbatim("a"), "A", "http://a");
    let (manager, host, config) = watched(&definition).await;
    manager.update(&definition.slug, header("old")).await.unwrap();
    let mut edited = config.load().await.unwrap().remove(0);
    // Put back as it was, and put back with another name.
    for name in ["A", "Renamed"] {
        config.write_quietly(&[]).await;
        let update = ConnectorUpdate { disabled: Some(name == "A"), ..header(name) };
        let update = updating(&manager, &definition.slug, update);
        tokio::time::sleep(Duration::from_millis(500)).await;
        edited.name = name.to_owned();
        config.write_quietly(std::slice::from_ref(&edited)).await;
        update.await.unwrap().unwrap();
        edited.disabled = name == "A";
        let written = config.load().await.unwrap().remove(0);
        assert_ne!(written.secrets_revision, edited.secrets_revision);
        edited.secrets_revision = written.secrets_revision;
        assert_eq!(written, edited);
        assert_eq!(host.secrets(&definition.slug).await, [format!("X-Key={name}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_is_gone_from_the_file_keeps_the_secrets_that_it_had() {
    let definition = ConnectorDefinition::http(Slug::verbatim("a"), "A", "http://a");
    let (manager, host, config) = watched(&definition).await;
    manager.update(&definition.slug, header("old")).await.unwrap();
    config.write_quietly(&[]).await;
    let update = ConnectorUpdate { name: Some("New".to_owned()), ..header("new") };
    let error = manager.update(&definition.slug, update).await.unwrap_err();
    assert_eq!((error.code(), manager.list().len()), ("connector_not_found", 0));
    // Whoever took it out may be about to put it back.
    assert_eq!(host.secrets(&definition.slug).await, ["X-Key=old"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_connector_that_is_removed_meanwhile_no_secret_is_put_back() {
    let (manager, _host, store, slug) = faulty(&[]).await;
    manager.update(&slug, secrets(&[("A_TOKEN", Some("old"))])).await.unwrap();
    store.set(Fault::Slow);
    let update = updating(&manager, &slug, secrets(&[("A_TOKEN", Some("new")), ("B_TOKEN", Some("b"))]));
    settle().await;
    manager.remove(&slug).await.unwrap();
    assert_eq!(update.await.unwrap().unwrap_err().code(), "connector_not_found");
    assert_eq!(store.names("local").await, strings(&[]));
}
