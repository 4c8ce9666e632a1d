use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::contract::scripted::{STDIO_LIKE, notification};
use crate::error::StorageError;
use crate::events::EventKind;
use crate::store::{ConfigStore, MockConfigStore};
use crate::view::StateName;

#[tokio::test(start_paused = true)]
async fn starting_returns_while_servers_hang_and_the_others_become_ready() {
    let host = Host::new();
    let (good, other) = (Tools::new(&["a"]), Tools::new(&["a"]));
    host.serve("http://good", &good.server);
    host.serve("http://other", &other.server);
    host.serve("http://hangs", &ScriptedServer::new(HTTP_LIKE, |_, _| Reply::Never));
    for (name, url) in
        [("h1", "http://hangs"), ("g1", "http://good"), ("h2", "http://hangs"), ("g2", "http://other")]
    {
        host.config.insert(&crate::ConnectorDefinition::http(Slug::verbatim(name), name, url)).await.unwrap();
    }
    let started = tokio::time::Instant::now();
    let manager = host.start().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let states: Vec<_> =
        manager.list().into_iter().map(|status| (status.slug.to_string(), status.connected)).collect();
    let expected = [("h1", false), ("g1", true), ("h2", false), ("g2", true)];
    assert_eq!(states, expected.map(|(slug, connected)| (slug.to_owned(), connected)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_up_later_is_found() {
    let host = Host::new();
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("Late", "http://late", vec![])).await.unwrap().slug;
    let tools = Tools::new(&["a"]);
    host.serve("http://late", &tools.server);
    let mut events = manager.events().subscribe();
    loop {
        let event = events.recv().await.unwrap();
        if matches!(event.kind, EventKind::State { state: Some(StateName::Ready), .. }) {
            break;
        }
    }
    assert_eq!(manager.status(&slug).unwrap().failed_attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_are_counted() {
    let host = Host::new();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let server = ScriptedServer::new(HTTP_LIKE, move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::Wire(TransportError::Closed { reason: "reset".to_owned() })
    });
    host.serve("http://bad", &server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("Bad", "http://bad", vec![])).await.unwrap().slug;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    let n = attempts.load(Ordering::SeqCst);
    // Full jitter below five minutes: some 600 attempts a day, never a storm.
    assert!((300..2_000).contains(&n), "{n}");
    assert_eq!(usize::try_from(manager.status(&slug).unwrap().failed_attempts).unwrap(), n);
}

#[tokio::test(start_paused = true)]
async fn an_announced_change_is_read_and_a_flood_of_announcements_is_not_followed_one_by_one() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let server = ScriptedServer::new(STDIO_LIKE, move |method, _| match method {
        "server/discover" => Reply::Error(-32601, "?"),
        "initialize" => Reply::Result(json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
        _ => {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            Reply::Result(json!({"tools": named(if n == 0 { &["a"] } else { &["a", "b"] })}))
        }
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..1_000 {
        server.send(Ok(notification("notifications/tools/list_changed", json!({}))));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(manager.status(&slug).unwrap().tool_count, 2);
    let n = lists.load(Ordering::SeqCst);
    assert!((2..20).contains(&n), "{n} lists for 1,000 announcements in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_no_longer_fresh_is_read_again_when_it_is_looked_at() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let server = ScriptedServer::new(HTTP_LIKE, move |method, _| match method {
        "server/discover" => Reply::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})),
        _ => {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            Reply::Result(json!({"tools": named(if n == 0 { &["a"] } else { &["a", "b"] }), "ttlMs": 0.001}))
        }
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(lists.load(Ordering::SeqCst), 1, "nobody looked");
    assert_eq!(manager.tools(&slug).unwrap().len(), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(manager.tools(&slug).unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_hardly_ever_fresh_is_not_read_at_every_look() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let server = ScriptedServer::new(HTTP_LIKE, move |method, _| match method {
        "server/discover" => Reply::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})),
        _ => {
            counted.fetch_add(1, Ordering::SeqCst);
            Reply::Result(json!({"tools": named(&["a"]), "ttlMs": 0.001}))
        }
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    for _ in 0..900 {
        manager.tools(&slug).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lists.load(Ordering::SeqCst), 2, "in nine seconds: at first, and after five");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_is_dialled_again() {
    let servers = Arc::new(Mutex::new(Vec::<Arc<ScriptedServer>>::new()));
    let made = Arc::clone(&servers);
    let dialer = crate::contract::scripted::ScriptedDialer(move |_: &crate::ConnectorDefinition| {
        let server = ScriptedServer::new(STDIO_LIKE, |method, _| match method {
            "server/discover" => Reply::Error(-32601, "?"),
            "initialize" => Reply::Result(json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
            _ => Reply::Result(json!({"tools": named(&["a"])})),
        });
        made.lock().unwrap().push(Arc::clone(&server));
        Ok(server)
    });
    let manager = ConnectorManager::builder().with_dialer(Arc::new(dialer)).start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let first = Arc::clone(&servers.lock().unwrap()[0]);
    first.send(Err(TransportError::Closed { reason: "the process was killed by signal 9".to_owned() }));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let status = manager.status(&slug).unwrap();
    assert!(status.last_error.unwrap().starts_with("the process was killed by signal 9; "));
    assert_eq!((status.tool_count, status.stale), (1, true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(manager.status(&slug).unwrap().connected);
    assert_eq!(servers.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_credentials_waits_for_the_user() {
    let server = ScriptedServer::new(HTTP_LIKE, |_, _| {
        let challenge = Box::new(crate::authorizer::Challenge::new(401, "http://one"));
        Reply::Wire(TransportError::Unauthorized { forbidden: false, challenge })
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert_eq!(
        (status.state, status.last_error.as_deref()),
        (StateName::NeedsSignIn, Some("the server wants a sign-in"))
    );
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(server.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_taken_for_a_change_of_the_era() {
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let refusing = Arc::clone(&refuses);
    let server = ScriptedServer::new(HTTP_LIKE, move |method, _| match method {
        _ if refusing.load(Ordering::SeqCst) => {
            let challenge = Box::new(crate::authorizer::Challenge::new(401, "http://one"));
            Reply::Wire(TransportError::Unauthorized { forbidden: false, challenge })
        }
        "initialize" => Reply::Result(json!({"protocolVersion": "2025-11-25", "capabilities": {}})),
        "tools/list" => Reply::Result(json!({"tools": []})),
        _ => Reply::Error(-32601, "?"),
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    refuses.store(true, Ordering::SeqCst);
    assert_eq!(manager.reconnect(&slug).await.unwrap().state, StateName::NeedsSignIn);
    let probes = server.methods().iter().filter(|method| *method == "server/discover").count();
    assert_eq!((probes, server.dials()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connector_removed_while_it_dials_does_not_come_back() {
    let host = Host::new();
    host.serve("http://hangs", &ScriptedServer::new(HTTP_LIKE, |_, _| Reply::Never));
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("Hangs", "http://hangs", vec![])).await.unwrap().slug;
    manager.remove(&slug).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(manager.list().is_empty());
    assert_eq!(manager.routes().iter().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_cannot_be_read_starts_nothing_and_is_reported() {
    let unparsable = || StorageError::Unparsable {
        file: "connectors.json".to_owned(),
        line: 3,
        column: 7,
        problem: "expected a comma".to_owned(),
    };
    let mut config = MockConfigStore::new();
    config.expect_load().returning(move || Err(unparsable()));
    let manager = Host::new().builder().with_config(Arc::new(config)).start().await;
    assert!(manager.list().is_empty());
    assert!(manager.storage_problem().unwrap().contains("line 3, column 7"));
    let error = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap_err();
    assert_eq!(error.code(), "storage");
}

#[tokio::test(start_paused = true)]
async fn shutting_down_closes_every_connection_and_removes_nothing() {
    let (manager, tools, host, slug) = with_tools(&["a"]).await;
    manager.shutdown().await;
    assert!(tools.server.is_closed());
    assert_eq!(manager.status(&slug).unwrap().state, StateName::Disconnected);
    assert_eq!(host.config.load().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn connectors_that_are_down_for_want_of_their_secrets_are_dialled_once_these_can_be_had() {
    let host = Host::new();
    let tools = Tools::new(&["a"]);
    host.serve("http://one", &tools.server);
    let mut guarded = crate::ConnectorDefinition::http(Slug::verbatim("one"), "One", "http://one");
    guarded.secret_headers = vec!["X-Key".to_owned()];
    host.config.insert(&guarded).await.unwrap();
    let unreachable = crate::ConnectorDefinition::http(Slug::verbatim("two"), "Two", "http://nowhere");
    host.config.insert(&unreachable).await.unwrap();
    let locked = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut store = crate::store::MockCredentialStore::new();
    store.expect_kind().return_const("vault");
    let is_locked = Arc::clone(&locked);
    store.expect_get().returning(move |key| match is_locked.load(Ordering::SeqCst) {
        true => Err(crate::CredentialError::Locked { store: "vault" }),
        false => Ok((key.name() == "X-Key").then(|| "value".into())),
    });
    let manager = host.builder().with_credentials(Arc::new(store)).start().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let status = |slug: &str| manager.status(&Slug::verbatim(slug)).unwrap();
    assert_eq!((status("one").state, status("two").state), (StateName::Backoff, StateName::Backoff));
    let attempts = status("two").failed_attempts;

    locked.store(false, Ordering::SeqCst);
    manager.secrets_available().await;
    settle().await;
    assert_eq!(status("one").state, StateName::Ready);
    assert_eq!(status("two").failed_attempts, attempts, "one that is down for another reason was dialled");
}
