//! What others write to the manifest takes effect.

use secrecy::SecretString;

use super::*;
use crate::authorizer::SecretHeader;
use crate::contract::watched::{Flaw, WatchedConfigStore};
use crate::definition::{ConnectorDefinition, OAuthSettings};
use crate::manager::ConnectorUpdate;
use crate::store::ConfigStore;
use crate::view::StateName;

fn definition(slug: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(Slug::verbatim(slug), slug.to_uppercase(), format!("http://{slug}"))
}

/// A manager on a store that others write to, and a server with the tool `t` for each of these connectors.
struct Rig {
    host: Host,
    config: Arc<WatchedConfigStore>,
    manager: ConnectorManager,
    servers: Vec<Tools>,
}

async fn rig(stored: &[&str], served: &[&str]) -> Rig {
    let (host, config) = (Host::new(), Arc::new(WatchedConfigStore::default()));
    let servers: Vec<_> = served.iter().map(|_| Tools::new(&["t", "u"])).collect();
    for (slug, tools) in served.iter().zip(&servers) {
        host.serve(&format!("http://{slug}"), &tools.server);
    }
    let definitions: Vec<_> = stored.iter().map(|slug| definition(slug)).collect();
    config.write_elsewhere(&definitions).await;
    let manager = host.builder().with_config(Arc::clone(&config) as _).start().await;
    settle().await;
    Rig { host, config, manager, servers }
}

impl Rig {
    fn slugs(&self) -> Vec<String> {
        self.manager.list().into_iter().map(|status| status.slug.to_string()).collect()
    }

    async fn write(&self, definitions: &[ConnectorDefinition]) {
        self.config.write_elsewhere(definitions).await;
        settle().await;
    }

    fn dials(&self) -> Vec<usize> {
        self.servers.iter().map(|tools| tools.server.dials()).collect()
    }

    fn status(&self, slug: &str) -> crate::ConnectorStatus {
        self.manager.status(&Slug::verbatim(slug)).unwrap()
    }
}

fn kinds(events: &mut Events) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        let slug = event.slug.as_ref().map_or("-", Slug::as_str);
        seen.push(match &event.kind {
            EventKind::State { removed: true, .. } => format!("{slug} removed"),
            EventKind::State { state, .. } => format!("{slug} {state:?}"),
            EventKind::Catalogue { enabled_count, .. } => format!("{slug} routes {enabled_count}"),
            EventKind::Storage { problem } => format!("storage {}", problem.is_some()),
            other => format!("{other:?}"),
        });
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_somebody_adds_is_dialled_and_one_that_somebody_removes_is_forgotten() {
    let rig = rig(&["a", "b"], &["a", "b", "c"]).await;
    rig.host.put(&Slug::verbatim("a"), "X-Key", "kept").await;
    let mut enabled = definition("b");
    enabled.enabled_tools = strings(&["t"]);
    rig.write(&[definition("a"), enabled.clone()]).await;
    assert_eq!(rig.manager.routes().iter().count(), 1);
    let mut events = rig.manager.events().subscribe();
    rig.write(&[definition("c"), definition("a")]).await;
    assert_eq!(rig.slugs(), ["c", "a"]);
    assert!(rig.status("c").connected);
    assert_eq!((rig.manager.routes().iter().count(), rig.dials()), (0, vec![1, 1, 1]));
    assert!(rig.servers[1].server.is_closed());
    let seen = kinds(&mut events);
    assert!(seen.contains(&"b removed".to_owned()) && seen.contains(&"c Some(Ready)".to_owned()), "{seen:?}");

    rig.write(&[]).await;
    assert!(rig.slugs().is_empty());
    assert_eq!(rig.host.secrets(&Slug::verbatim("a")).await, ["X-Key=kept"], "it may be put back");
}

#[tokio::test(start_paused = true)]
async fn a_name_or_a_selection_takes_effect_without_another_dial() {
    let rig = rig(&["a"], &["a"]).await;
    let mut edited = definition("a");
    edited.name = "Renamed".to_owned();
    edited.enabled_tools = strings(&["t"]);
    rig.write(&[edited]).await;
    let status = rig.status("a");
    assert_eq!((status.name.as_str(), status.enabled_count, rig.dials()), ("Renamed", 1, vec![1]));
    // Whoever enables a tool by hand has seen it as it is now.
    let pinned = &rig.config.load().await.unwrap()[0];
    assert_eq!(pinned.tool_pins.keys().collect::<Vec<_>>(), ["t"]);
    let mut edited = pinned.clone();
    edited.enabled_tools.clear();
    rig.write(&[edited]).await;
    assert_eq!((rig.status("a").enabled_count, rig.dials()), (0, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn what_decides_how_a_server_is_reached_has_it_dialled_again() {
    let rig = rig(&["a"], &["a", "b"]).await;
    rig.host.put(&Slug::verbatim("a"), "X-Key", "v").await;
    let mut edited = definition("a");
    edited.secret_headers = strings(&["X-Key"]);
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!(rig.dials(), [2, 0]);
    edited.url = "http://b".to_owned();
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!(rig.dials(), [2, 1]);
    edited.network.allow_private = true;
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!(rig.dials(), [2, 2]);
    edited.disabled = true;
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!((rig.status("a").state, rig.dials()), (StateName::Disabled, vec![2, 2]));
    edited.disabled = false;
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!((rig.status("a").state, rig.dials()), (StateName::Ready, vec![2, 3]));
    // As somebody else's sign-in to more leaves it: its tokens are in the store that both share.
    edited.oauth = Some(OAuthSettings { client_id: "c".to_owned(), ..OAuthSettings::default() });
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!(rig.dials(), [2, 4]);
    edited.oauth.as_mut().unwrap().scopes = strings(&["more"]);
    rig.write(std::slice::from_ref(&edited)).await;
    assert_eq!(rig.dials(), [2, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_under_way_is_void_when_the_connector_goes_or_leads_elsewhere() {
    for moved in [false, true] {
        let (host, config, sign_in) =
            (Host::new(), Arc::new(WatchedConfigStore::default()), ScriptedSignIn::new());
        let tools = Tools::new(&["t"]);
        host.serve("http://a", &tools.server);
        config.write_elsewhere(&[definition("a")]).await;
        let manager = host.guarded(&sign_in).with_config(Arc::clone(&config) as _).start().await;
        settle().await;
        let view = manager.sign_in(&Slug::verbatim("a"), SignInRequest::default()).await.unwrap();
        let mut edited = definition("a");
        edited.url = "http://a/elsewhere".to_owned();
        config.write_elsewhere(if moved { std::slice::from_ref(&edited) } else { &[] }).await;
        settle().await;
        let error = manager.complete_sign_in(agreed(&view)).await.unwrap_err();
        assert_eq!(error.code(), "invalid_params", "moved: {moved}");
        assert!(host.secrets(&Slug::verbatim("a")).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_elsewhere_gets_a_waiting_connector_going() {
    let (host, config, sign_in) =
        (Host::new(), Arc::new(WatchedConfigStore::default()), ScriptedSignIn::new());
    let tools = Tools::new(&["t"]);
    host.serve("http://a", &tools.server);
    config.write_elsewhere(&[definition("a")]).await;
    let here = host.guarded(&sign_in).with_config(Arc::clone(&config) as _).start().await;
    let elsewhere = host.guarded(&sign_in).with_config(Arc::clone(&config) as _).start().await;
    settle().await;
    let a = Slug::verbatim("a");
    // The second time nothing about it is new, but the tokens.
    for _ in 0..2 {
        assert_eq!(here.status(&a).unwrap().state, StateName::NeedsSignIn);
        let view = elsewhere.sign_in(&a, SignInRequest::default()).await.unwrap();
        elsewhere.complete_sign_in(agreed(&view)).await.unwrap();
        config.announce();
        settle().await;
        assert_eq!(here.status(&a).unwrap().state, StateName::Ready);
        assert_eq!(here.status(&a).unwrap().oauth, elsewhere.status(&a).unwrap().oauth);
        sign_in.revoke_all();
        for manager in [&here, &elsewhere] {
            manager.reconnect(&a).await.ok();
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_managers_that_change_one_connector_undo_nothing_of_each_other() {
    let rig = rig(&["a"], &["a"]).await;
    let other = rig.host.builder().with_config(Arc::clone(&rig.config) as _).start().await;
    settle().await;
    let a = Slug::verbatim("a");
    // Nobody is told: each finds out when it writes.
    let name = |name: &str| ConnectorUpdate { name: Some(name.to_owned()), ..ConnectorUpdate::default() };
    rig.manager.update(&a, name("Here")).await.unwrap();
    assert_eq!(other.enable_tools(&a, &strings(&["t"])).await.unwrap(), 1);
    assert_eq!(rig.manager.enable_tools(&a, &strings(&["u"])).await.unwrap(), 1);
    other.update(&a, ConnectorUpdate { disabled: Some(true), ..ConnectorUpdate::default() }).await.unwrap();
    let stored = rig.config.load().await.unwrap().remove(0);
    assert_eq!(
        (stored.name.as_str(), stored.enabled_tools, stored.disabled),
        ("Here", strings(&["t", "u"]), true)
    );
    // And one that the other has removed is not brought back.
    rig.manager.remove(&a).await.unwrap();
    let error = other.update(&a, name("There")).await.unwrap_err();
    assert_eq!(error.code(), "connector_not_found");
    assert!(other.list().is_empty() && rig.config.load().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_leaves_the_connectors_and_is_reported_until_it_can() {
    let rig = rig(&["a"], &["a", "b"]).await;
    let mut events = rig.manager.events().subscribe();
    rig.config.set(Flaw::Unparsable);
    settle().await;
    assert!(rig.manager.storage_problem().unwrap().contains("line 3, column 7"));
    assert!(rig.status("a").connected);
    let error = rig.manager.enable_tools(&Slug::verbatim("a"), &strings(&["t"])).await.unwrap_err();
    assert_eq!((error.code(), rig.status("a").enabled_count), ("storage", 0));
    assert_eq!(kinds(&mut events), ["storage true"]);
    rig.config.write_quietly(&[definition("a"), definition("b")]).await;
    rig.config.set(Flaw::None);
    settle().await;
    assert_eq!((rig.manager.storage_problem(), rig.slugs()), (None, strings(&["a", "b"])));
    assert_eq!(kinds(&mut events)[0], "storage false");
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_mended_after_the_start_brings_its_connectors() {
    let rig = rig(&[], &["a"]).await;
    rig.config.set(Flaw::Unparsable);
    let late = rig.host.builder().with_config(Arc::clone(&rig.config) as _).start().await;
    assert!(late.storage_problem().is_some() && late.list().is_empty());
    rig.config.write_quietly(&[definition("a")]).await;
    rig.config.set(Flaw::None);
    settle().await;
    assert!(late.storage_problem().is_none() && late.list()[0].connected);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_says_nothing_new_causes_nothing() {
    let rig = rig(&["a"], &["a"]).await;
    rig.manager.enable_tools(&Slug::verbatim("a"), &strings(&["t"])).await.unwrap();
    let routes = rig.manager.routes();
    let mut events = rig.manager.events().subscribe();
    for _ in 0..3 {
        rig.config.announce();
        settle().await;
    }
    assert_eq!(kinds(&mut events), [""; 0]);
    assert!(Arc::ptr_eq(&routes, &rig.manager.routes()));
    assert_eq!(rig.dials(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_changes_nothing_in_memory_or_in_the_store() {
    let rig = rig(&["a"], &["a", "b"]).await;
    let a = Slug::verbatim("a");
    rig.manager.enable_tools(&a, &strings(&["t"])).await.unwrap();
    rig.servers[0].set(json!([{"name": "t", "description": "new", "inputSchema": {"type": "object"}}, {"name": "u", "inputSchema": {"type": "object"}}]));
    rig.manager.refresh(&a).await.unwrap();
    let (before, stored) = (format!("{:?}", rig.manager.list()), rig.config.load().await.unwrap());
    rig.config.set(Flaw::Full);
    settle().await;
    let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from("v") };
    let new = NewConnector::http("B", "http://b", vec![header.clone()]);
    let update = ConnectorUpdate {
        name: Some("New".to_owned()),
        headers: Some(vec![header]),
        ..ConnectorUpdate::default()
    };
    let outcomes = [
        rig.manager.add(new).await.map(drop),
        rig.manager.update(&a, update).await.map(drop),
        rig.manager.enable_tools(&a, &strings(&["u"])).await.map(drop),
        rig.manager.disable_tools(&a, &strings(&["t"])).await.map(drop),
        rig.manager.accept_changes(&a, &strings(&["t"])).await.map(drop),
        rig.manager.remove(&a).await,
    ];
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().code(), "storage");
    }
    settle().await;
    assert_eq!((format!("{:?}", rig.manager.list()), rig.config.load().await.unwrap()), (before, stored));
    for slug in ["a", "b"] {
        assert!(rig.host.secrets(&Slug::verbatim(slug)).await.is_empty(), "{slug}");
    }
    assert_eq!(rig.dials(), [1, 0]);
    rig.config.set(Flaw::None);
    assert_eq!(rig.manager.accept_changes(&a, &strings(&["t"])).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_watches_for_a_manager_that_is_gone_or_shut_down() {
    let rig = rig(&["a"], &["a"]).await;
    assert_eq!(rig.config.watchers(), 1);
    rig.manager.shutdown().await;
    settle().await;
    assert_eq!(rig.config.watchers(), 0);
    rig.write(&[definition("a"), definition("b")]).await;
    assert_eq!(rig.slugs(), ["a"]);

    let other = rig.host.builder().with_config(Arc::clone(&rig.config) as _).start().await;
    assert_eq!(rig.config.watchers(), 1);
    drop(other);
    settle().await;
    assert_eq!(rig.config.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_value_of_a_header_reaches_the_others_who_share_the_manifest() {
    let rig = rig(&["a"], &["a"]).await;
    let other = rig.host.builder().with_config(Arc::clone(&rig.config) as _).start().await;
    settle().await;
    assert_eq!(rig.dials(), [2]);
    for (value, dials) in [("old", 4), ("new", 6)] {
        let header = SecretHeader { name: "X-Key".to_owned(), value: SecretString::from(value) };
        let update = ConnectorUpdate { headers: Some(vec![header]), ..ConnectorUpdate::default() };
        rig.manager.update(&Slug::verbatim("a"), update).await.unwrap();
        rig.config.announce();
        settle().await;
        assert_eq!(rig.dials(), [dials], "{value}");
    }
    other.shutdown().await;
}
