//! What the end-to-end tests begin with: a daemon on a fresh home, and a client that watches it.

use std::ops::Deref;
use std::time::Duration;

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::deadline::SOON;
use connectors_tests::ws_client::Events;
use connectors_tests::{Daemon, McpServer, TempHome, WsClient};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The daemon, as it is shipped.
pub(crate) fn daemon() -> Daemon {
    Daemon::new(env!("CARGO_BIN_EXE_daemon-under-test"))
}

/// A daemon on a fresh home, and a session with it.
pub(crate) async fn start() -> (TempHome, RunningDaemon, Session) {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    let session = Session::open(&daemon).await;
    (home, daemon, session)
}

/// An authenticated connection that has subscribed to the events.
pub(crate) struct Session {
    client: WsClient,
    events: Mutex<Events>,
}

impl Deref for Session {
    type Target = WsClient;

    fn deref(&self) -> &WsClient {
        &self.client
    }
}

impl Session {
    pub(crate) async fn open(daemon: &RunningDaemon) -> Self {
        let client = daemon.client().await;
        let events = Mutex::new(client.subscribe().await);
        Self { client, events }
    }

    /// The next event for which `wanted` holds.
    pub(crate) async fn event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.events.lock().await.find(what, wanted).await
    }

    /// The status of every connector.
    pub(crate) async fn list(&self) -> Vec<Value> {
        self.must("connectors.list", json!({})).await["connectors"].as_array().expect("an array").clone()
    }

    /// The status of one connector.
    pub(crate) async fn status(&self, slug: &str) -> Value {
        let all = self.list().await;
        let found = all.iter().find(|status| status["slug"] == slug).cloned();
        found.unwrap_or_else(|| panic!("no connector {slug} among {all:?}"))
    }

    /// The status of a connector once `wanted` holds for it; looks again at every event.
    pub(crate) async fn until(&self, slug: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until_within(SOON, slug, what, wanted).await
    }

    /// The same, for what may take longer than soon.
    pub(crate) async fn until_within(
        &self,
        limit: Duration,
        slug: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut events = self.events.lock().await;
        let mut last = Value::Null;
        let wait = async {
            loop {
                // What has happened by now is in the answer.
                events.arrived();
                last = self.status(slug).await;
                if wanted(&last) {
                    return last.clone();
                }
                events.next_ever().await;
            }
        };
        match tokio::time::timeout(limit, wait).await {
            Ok(status) => status,
            Err(_) => panic!("waited {limit:?} in vain for {slug} to be {what}; it is {last}"),
        }
    }

    /// Waits until a connector is ready.
    pub(crate) async fn ready(&self, slug: &str) -> Value {
        self.until(slug, "ready", |status| status["connected"] == true).await
    }

    /// Adds a connector to `server`, which must become ready, and returns its slug.
    pub(crate) async fn add(&self, name: &str, server: &McpServer) -> String {
        let status = self.must("connectors.add", json!({"name": name, "url": server.url()})).await;
        let slug = status["slug"].as_str().expect("a slug").to_owned();
        self.ready(&slug).await;
        slug
    }

    /// Adds a connector to `server` and enables these tools.
    pub(crate) async fn add_with(&self, name: &str, server: &McpServer, tools: &[&str]) -> String {
        let slug = self.add(name, server).await;
        self.enable(&slug, tools).await;
        slug
    }

    /// Enables tools, all of which must be newly routed.
    pub(crate) async fn enable(&self, slug: &str, tools: &[&str]) {
        let enabled = self.must("connectors.enable_tools", json!({"slug": slug, "tools": tools})).await;
        assert_eq!(enabled, json!({"enabled": tools.len()}));
    }

    /// The views of a connector's tools.
    pub(crate) async fn tools(&self, slug: &str) -> Vec<Value> {
        let tools = self.must("connectors.tools", json!({"slug": slug})).await;
        tools.as_array().expect("an array of tools").clone()
    }

    /// The text of a call that must succeed.
    pub(crate) async fn text(&self, slug: &str, tool: &str, arguments: Value) -> String {
        let result = self.must("connectors.call_tool", call(slug, tool, arguments)).await;
        assert_eq!(result["isError"], false, "{result}");
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}")).to_owned()
    }
}

/// The parameters of a call.
pub(crate) fn call(slug: &str, tool: &str, arguments: Value) -> Value {
    json!({"slug": slug, "tool": tool, "arguments": arguments})
}

/// The members of a list of objects.
pub(crate) fn members<'a>(list: &'a [Value], key: &str) -> Vec<&'a Value> {
    list.iter().map(|item| &item[key]).collect()
}
