//! Who follows the routes hears of every change, before and after it.

use std::sync::OnceLock;

use async_trait::async_trait;

use super::*;
use crate::RouteObserver;
use crate::manager::RouteTable;

/// The step, the tools that it was told of, and those that were dispatchable.
type Told = (&'static str, Vec<String>, Vec<String>);

/// Notes what it is told, with what is dispatchable at that moment.
#[derive(Default)]
struct Witness {
    manager: OnceLock<ConnectorManager>,
    told: Mutex<Vec<Told>>,
    panics: bool,
}

fn names(routes: &RouteTable) -> Vec<String> {
    let mut names: Vec<_> = routes.iter().map(|route| route.tool.name.clone()).collect();
    names.sort();
    names
}

impl Witness {
    fn note(&self, step: &'static str, after: &RouteTable) {
        let present = self.manager.get().map(|manager| names(&manager.routes())).unwrap_or_default();
        self.told.lock().unwrap().push((step, names(after), present));
        assert!(!self.panics, "as the test wants");
    }
}

#[async_trait]
impl RouteObserver for Witness {
    async fn withdraw(&self, _: &RouteTable, after: &RouteTable) {
        self.note("withdraw", after);
    }

    async fn publish(&self, _: &RouteTable, after: &RouteTable) {
        self.note("publish", after);
    }
}

async fn observed(panics: bool) -> (ConnectorManager, Slug, Arc<Witness>) {
    let (host, tools) = (Host::new(), Tools::new(&["a", "b"]));
    host.serve("http://one", &tools.server);
    let manager = host.start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    manager.enable_tools(&slug, &strings(&["a"])).await.unwrap();
    let witness = Arc::new(Witness { panics, ..Witness::default() });
    let _ = witness.manager.set(manager.clone());
    let observer: Arc<dyn RouteObserver> = Arc::<Witness>::clone(&witness);
    manager.observe_routes(&observer).await;
    (manager, slug, witness)
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_withdrawn_while_it_has_its_route_and_published_when_it_has_it() {
    let (manager, slug, witness) = observed(false).await;
    let both = || strings(&["a", "b"]);
    manager.enable_tools(&slug, &strings(&["b"])).await.unwrap();
    manager.disable_tools(&slug, &strings(&["a"])).await.unwrap();
    manager.remove(&slug).await.unwrap();
    let expected = [
        ("publish", strings(&["a"]), strings(&["a"])),
        ("withdraw", both(), strings(&["a"])),
        ("publish", both(), both()),
        ("withdraw", strings(&["b"]), both()),
        ("publish", strings(&["b"]), strings(&["b"])),
        ("withdraw", vec![], strings(&["b"])),
        ("publish", vec![], vec![]),
    ];
    assert_eq!(*witness.told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_keeps_no_tool_from_being_withdrawn() {
    let (manager, slug, witness) = observed(true).await;
    manager.disable_tools(&slug, &strings(&["a"])).await.unwrap();
    assert_eq!(names(&manager.routes()), strings(&[]));
    assert_eq!(witness.told.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_is_gone_is_told_nothing() {
    let (manager, slug, witness) = observed(false).await;
    let gone = Arc::downgrade(&witness);
    drop(witness);
    manager.disable_tools(&slug, &strings(&["a"])).await.unwrap();
    assert!(gone.upgrade().is_none());
}
