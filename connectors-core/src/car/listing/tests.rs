use std::sync::Mutex as StdMutex;

use serde_json::json;

use super::*;
use crate::contract::scripted::{HTTP_LIKE, Reply, ScriptedDialer, ScriptedServer};
use crate::manager::NewConnector;
use crate::{ConnectorDefinition, ConnectorManager};

/// Which list was told of which step, with how many tools.
type Told = Arc<StdMutex<Vec<(&'static str, &'static str, usize)>>>;

struct Witness {
    name: &'static str,
    purpose: Purpose,
    told: Told,
}

impl Witness {
    fn note(&self, step: &'static str, tools: usize) -> bool {
        if tools > 0 {
            self.told.lock().unwrap().push((self.name, step, tools));
        }
        true
    }
}

#[async_trait]
impl List for Witness {
    fn purpose(&self) -> Purpose {
        self.purpose
    }

    async fn withdraw(&mut self, routes: &[Arc<Route>]) -> bool {
        self.note("withdraw", routes.len())
    }

    async fn publish(&mut self, routes: &[Arc<Route>]) -> bool {
        self.note("publish", routes.len())
    }
}

async fn manager() -> ConnectorManager {
    let server = ScriptedServer::new(HTTP_LIKE, |method, _| match method {
        "server/discover" => Reply::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})),
        "tools/list" => Reply::Result(json!({"tools": [{"name": "a", "inputSchema": {"type": "object"}}]})),
        _ => Reply::Error(-32601, "Method not found"),
    });
    let dialer = ScriptedDialer(move |_: &ConnectorDefinition| Ok(Arc::clone(&server)));
    ConnectorManager::builder().with_dialer(Arc::new(dialer)).start().await
}

#[tokio::test(start_paused = true)]
async fn a_tool_is_shown_only_while_actions_find_their_way_to_it() {
    let manager = manager().await;
    let listing = Arc::new(Listing::default());
    let observer: Arc<dyn RouteObserver> = Arc::<Listing>::clone(&listing);
    manager.observe_routes(&observer).await;
    let told = Told::default();
    for (name, purpose) in
        [("first", Purpose::Show), ("routes", Purpose::Dispatch), ("second", Purpose::Show)]
    {
        listing.follow(Witness { name, purpose, told: Arc::clone(&told) }).await;
    }
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    let tools = ["a".to_owned()];
    manager.enable_tools(&slug, &tools).await.unwrap();
    manager.disable_tools(&slug, &tools).await.unwrap();
    manager.enable_tools(&slug, &tools).await.unwrap();
    drop((observer, listing));
    let published = [("routes", "publish", 1), ("first", "publish", 1), ("second", "publish", 1)];
    let withdrawn = [("first", "withdraw", 1), ("second", "withdraw", 1), ("routes", "withdraw", 1)];
    // With the last who kept them true, all lists are emptied.
    let expected = [published, withdrawn, published, withdrawn].concat();
    while told.lock().unwrap().len() < expected.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*told.lock().unwrap(), expected);
}
