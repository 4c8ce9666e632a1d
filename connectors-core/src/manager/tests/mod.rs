//! The manager over scripted servers, memory stores and paused time.

mod adding;
mod calling;
mod gating;
mod lifecycle;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{ConnectorManager, ManagerBuilder, NewConnector};
use crate::contract::scripted::{HTTP_LIKE, Reply, ScriptedDialer, ScriptedServer};
use crate::error::TransportError;
use crate::memory::{MemoryConfigStore, MemoryCredentialStore};
use crate::names::Slug;

/// A modern server whose tools can be changed.
struct Tools {
    server: Arc<ScriptedServer>,
    tools: Arc<Mutex<Value>>,
}

impl Tools {
    fn new(names: &[&str]) -> Self {
        let tools = Arc::new(Mutex::new(named(names)));
        let listed = Arc::clone(&tools);
        let server = ScriptedServer::new(HTTP_LIKE, move |method, params| match method {
            "server/discover" => {
                Reply::Result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {}}))
            }
            "tools/list" => Reply::Result(json!({"tools": *listed.lock().unwrap()})),
            "tools/call" if params["name"] == "hang" => Reply::Never,
            "tools/call" => Reply::Result(json!({"content": [{"type": "text", "text": params["name"]}]})),
            _ => Reply::Error(-32601, "Method not found"),
        });
        Self { server, tools }
    }

    fn set(&self, tools: Value) {
        *self.tools.lock().unwrap() = tools;
    }
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect()
}

/// A host whose connectors lead to the server that `servers` has under their URL.
struct Host {
    config: Arc<MemoryConfigStore>,
    credentials: Arc<MemoryCredentialStore>,
    servers: Arc<Mutex<Servers>>,
}

/// Servers by URL; of two with one URL the later counts.
type Servers = Vec<(String, Arc<ScriptedServer>)>;

impl Host {
    fn new() -> Self {
        Self { config: Arc::default(), credentials: Arc::default(), servers: Arc::default() }
    }

    fn serve(&self, url: &str, server: &Arc<ScriptedServer>) {
        self.servers.lock().unwrap().push((url.to_owned(), Arc::clone(server)));
    }

    fn builder(&self) -> ManagerBuilder {
        let servers = Arc::clone(&self.servers);
        let dialer = ScriptedDialer(move |definition: &crate::ConnectorDefinition| {
            let servers = servers.lock().unwrap();
            let found = servers.iter().rev().find(|(url, _)| *url == definition.url);
            found.map(|(_, server)| Arc::clone(server)).ok_or_else(|| TransportError::Unreachable {
                reason: format!("nothing listens at {}", definition.url),
                source: None,
            })
        });
        let (config, credentials) = (Arc::clone(&self.config), Arc::clone(&self.credentials));
        ConnectorManager::builder()
            .with_config(config)
            .with_credentials(credentials)
            .with_dialer(Arc::new(dialer))
    }

    async fn start(&self) -> ConnectorManager {
        self.builder().start().await
    }
}

/// A manager with one connector `one` whose server has these tools.
async fn with_tools(names: &[&str]) -> (ConnectorManager, Tools, Host, Slug) {
    let (host, tools) = (Host::new(), Tools::new(names));
    host.serve("http://one", &tools.server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert!(status.connected, "{:?}", status.last_error);
    (manager, tools, host, status.slug)
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
