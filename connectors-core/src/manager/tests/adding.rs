use secrecy::{ExposeSecret, SecretString};

use super::environment::{Fault, Faulty};
use super::*;
use crate::authorizer::SecretHeader;
use crate::error::{ConnectorError, StorageError};
use crate::manager::ConnectorUpdate;
use crate::store::{ConfigStore, CredentialKey, CredentialStore, MockConfigStore};
use crate::view::StateName;

fn key_header(value: &str) -> SecretHeader {
    SecretHeader { name: "X-Key".to_owned(), value: SecretString::from(value.to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn a_new_connector_shows_its_tools_disabled() {
    let (manager, _tools, _host, slug) = with_tools(&["a", "b"]).await;
    let status = manager.status(&slug).unwrap();
    assert_eq!((status.tool_count, status.enabled_count, status.last_error), (2, 0, None));
    let shown: Vec<_> =
        manager.tools(&slug).unwrap().into_iter().map(|t| (t.name, t.canonical, t.enabled)).collect();
    let expected = [("a", "mcp_one_a", false), ("b", "mcp_one_b", false)];
    assert_eq!(shown, expected.map(|(name, canonical, on)| (name.to_owned(), canonical.to_owned(), on)));
    assert_eq!(manager.routes().iter().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_added_and_says_so() {
    let manager = Host::new().start().await;
    let status = manager.add(NewConnector::http("Gone", "http://gone", vec![])).await.unwrap();
    assert_eq!(status.state, StateName::Backoff);
    let error = status.last_error.unwrap();
    assert!(error.starts_with("nothing listens at http://gone; "), "{error}");
    assert!(status.retry_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_added_while_it_is_still_dialled() {
    let host = Host::new();
    host.serve("http://hangs", &ScriptedServer::new(HTTP_LIKE, |_, _| Reply::Never));
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("Hangs", "http://hangs", vec![])).await.unwrap();
    assert_eq!(
        (status.state, status.last_error.as_deref()),
        (StateName::Connecting, Some("no answer within 10 s; still trying"))
    );
}

#[tokio::test(start_paused = true)]
async fn adds_of_one_name_at_once_get_slugs_of_their_own() {
    let (host, tools) = (Host::new(), Tools::new(&[]));
    host.serve("http://one", &tools.server);
    let manager = host.start().await;
    let adds = (0..5).map(|_| manager.add(NewConnector::http("Same", "http://one", vec![])));
    let mut slugs: Vec<_> =
        futures_util::future::join_all(adds).await.into_iter().map(|s| s.unwrap().slug.to_string()).collect();
    slugs.sort();
    assert_eq!(slugs, ["same", "same_2", "same_3", "same_4", "same_5"]);
    assert_eq!(host.config.load().await.unwrap().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn header_values_go_to_the_secret_store_and_nowhere_else() {
    let host = Host::new();
    let manager = host.start().await;
    let status =
        manager.add(NewConnector::http("One", "http://one", vec![key_header("hunter2")])).await.unwrap();
    let stored = host.credentials.get(&CredentialKey::header(&status.slug, "X-Key")).await.unwrap().unwrap();
    assert_eq!(stored.expose_secret(), "hunter2");
    let manifest = serde_json::to_string(&host.config.load().await.unwrap()).unwrap();
    assert!(manifest.contains("X-Key") && !manifest.contains("hunter2"), "{manifest}");
    assert!(!format!("{status:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn headers_that_no_request_can_carry_are_refused_by_name() {
    let manager = Host::new().start().await;
    let bad = [
        ("Host", "x"),
        ("content-length", "5"),
        ("Mcp-Session-Id", "x"),
        ("a b", "x"),
        ("", "x"),
        ("tokens", "x"),
        ("Client_Secret", "x"),
        ("X", "a\r\nb"),
    ];
    for (name, value) in bad {
        let header = SecretHeader { name: name.to_owned(), value: SecretString::from(value.to_owned()) };
        let error = manager.add(NewConnector::http("N", "http://n", vec![header])).await.unwrap_err();
        assert!(
            matches!(&error, ConnectorError::Invalid(invalid) if invalid.field == "headers"),
            "{name}: {error}"
        );
    }
    assert!(manager.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_of_nothing_is_refused() {
    let error = Host::new()
        .start()
        .await
        .add(NewConnector::http(" \u{202e} ", "http://n", vec![]))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "`name`: a connector needs a name");
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_cannot_be_written_leaves_nothing_behind() {
    let mut config = MockConfigStore::new();
    config.expect_load().returning(|| Ok(vec![]));
    config.expect_insert().returning(|_| {
        Err(StorageError::Io {
            action: "write",
            file: "connectors.json".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    });
    let host = Host::new();
    let manager = host.builder().with_config(Arc::new(config)).start().await;
    let error =
        manager.add(NewConnector::http("One", "http://one", vec![key_header("x")])).await.unwrap_err();
    assert_eq!(error.code(), "storage");
    assert!(manager.list().is_empty());
    assert!(host.credentials.list(&Slug::verbatim("one")).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slug_that_another_process_took_meanwhile_is_left_to_it() {
    let mut loads = 0;
    let mut seen = MockConfigStore::new();
    seen.expect_load().returning(move || {
        loads += 1;
        // At the start, at the first try and once its secrets are held, the other process has not written yet.
        let theirs = crate::ConnectorDefinition::http(Slug::verbatim("one"), "Theirs", "http://theirs");
        Ok(if loads > 3 { vec![theirs] } else { vec![] })
    });
    seen.expect_insert().returning(|definition| match definition.slug.as_str() {
        "one" => Err(StorageError::SlugTaken(definition.slug.clone())),
        _ => Ok(()),
    });
    let host = Host::new();
    let manager = host.builder().with_config(Arc::new(seen)).start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![key_header("k")])).await.unwrap();
    assert_eq!(status.slug.as_str(), "one_2");
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, strings(&[]));
    assert_eq!(host.secrets(&status.slug).await, ["X-Key=k"]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_connector_leaves_nothing_behind() {
    let (manager, tools, host, slug) = with_tools(&["a"]).await;
    let update = ConnectorUpdate { headers: Some(vec![key_header("x")]), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    manager.remove(&slug).await.unwrap();
    assert!(manager.list().is_empty());
    assert_eq!(manager.routes().iter().count(), 0);
    assert!(host.config.load().await.unwrap().is_empty());
    assert!(host.credentials.list(&slug).await.unwrap().is_empty());
    assert!(tools.server.is_closed());
    assert_eq!(manager.remove(&slug).await.unwrap_err().code(), "connector_not_found");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_secrets_is_added_and_removed_while_the_secret_store_is_locked() {
    let (host, store) = (Host::new(), Arc::new(Faulty::default()));
    let manager = host.builder().with_credentials(Arc::clone(&store) as _).start().await;
    manager.add(NewConnector::http("Keyed", "http://keyed", vec![key_header("k")])).await.unwrap();
    store.set(Fault::Locked);
    let open = manager.add(NewConnector::http("Open", "http://open", vec![])).await.unwrap().slug;
    manager.remove(&open).await.unwrap();
    let error = manager.remove(&Slug::verbatim("keyed")).await.unwrap_err();
    assert_eq!((error.code(), manager.list().len()), ("secret_store_unavailable", 1));
    store.set(Fault::None);
    assert_eq!(store.names("keyed").await, ["X-Key"]);
    manager.remove(&Slug::verbatim("keyed")).await.unwrap();
    assert_eq!(store.names("keyed").await, strings(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_cannot_be_written_changes_nothing() {
    let mut config = MockConfigStore::new();
    config.expect_load().returning(|| Ok(vec![]));
    // It says that it is being removed, and then that it is not.
    config.expect_compare_and_swap().times(2).returning(|_, _| Ok(true));
    config.expect_insert().returning(|_| Ok(()));
    config.expect_remove().returning(|_| {
        Err(StorageError::Io {
            action: "write",
            file: "f".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    });
    let (host, tools) = (Host::new(), Tools::new(&["a"]));
    host.serve("http://one", &tools.server);
    let manager = host.builder().with_config(Arc::new(config)).start().await;
    let slug =
        manager.add(NewConnector::http("One", "http://one", vec![key_header("x")])).await.unwrap().slug;
    assert_eq!(manager.remove(&slug).await.unwrap_err().code(), "storage");
    assert!(manager.status(&slug).unwrap().connected);
    assert_eq!(host.credentials.list(&slug).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_the_selection_and_dials_the_new_url() {
    let (manager, _tools, host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    let moved = Tools::new(&["a", "b"]);
    host.serve("http://moved", &moved.server);
    let update = ConnectorUpdate {
        name: Some("Renamed".to_owned()),
        url: Some("http://moved".to_owned()),
        ..ConnectorUpdate::default()
    };
    let status = manager.update(&slug, update).await.unwrap();
    assert_eq!(
        (status.slug.as_str(), status.name.as_str(), status.tool_count, status.enabled_count),
        ("one", "Renamed", 2, 1)
    );
    assert!(moved.server.dials() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_is_switched_off_is_closed_until_it_is_switched_on() {
    let (manager, tools, _host, slug) = with_tools(&["a"]).await;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    let switch =
        |off| manager.update(&slug, ConnectorUpdate { disabled: Some(off), ..ConnectorUpdate::default() });
    let status = switch(true).await.unwrap();
    assert_eq!((status.state, status.enabled_count), (StateName::Disabled, 0));
    let status = switch(false).await.unwrap();
    assert_eq!((status.state, status.enabled_count), (StateName::Ready, 1));
    assert_eq!(tools.server.dials(), 2);
}
