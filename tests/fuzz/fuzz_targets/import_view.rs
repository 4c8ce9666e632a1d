//! Whatever an entry of a file says, nothing that is shown of it looks like a secret, and what was hidden is named.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use connectors_core::import::{FoundFile, ImportableConnector};
use connectors_core::secret_like::{HIDDEN, secret_arguments, see_url};
use connectors_core::{ConnectorManager, ImportSource, looks_secret};
use connectors_store::import::{Client, Locations, read};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// The value of every variable with a short name. Must not be shown.
const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
static FILES: LazyLock<Arc<Files>> = LazyLock::new(Arc::default);
static MANAGER: LazyLock<ConnectorManager> =
    LazyLock::new(|| RUNTIME.block_on(ConnectorManager::builder().with_imports(FILES.clone()).start()));

/// What the manager finds.
#[derive(Default)]
struct Files(Mutex<Vec<FoundFile>>);

#[async_trait]
impl ImportSource for Files {
    async fn find(&self) -> Vec<FoundFile> {
        self.0.lock().expect("no panic with the lock").clone()
    }
}

/// What a local and a remote server are made of.
#[derive(Debug, Arbitrary)]
struct Entry {
    command: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    cwd: Option<String>,
    url: String,
    headers: Vec<(String, String)>,
}

fuzz_target!(|entry: Entry| {
    let Entry { command, args, env, cwd, url, headers } = entry;
    let object = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| (name, json!(value))).collect::<serde_json::Map<_, _>>()
    };
    let servers = json!({"mcpServers": {
        "local": {"command": command, "args": args, "env": object(env), "cwd": cwd},
        "remote": {"url": url, "headers": object(headers)},
    }});
    let text = servers.to_string();
    let locations =
        Locations::new("/u", "/srv/x").with_variables(|name| (name.len() < 3).then(|| SECRET.to_owned()));
    let found = read(Client::McpJson, Path::new("/srv/x/.mcp.json"), text.as_bytes(), &locations);
    *FILES.0.lock().expect("no panic with the lock") = found;
    let shown = RUNTIME.block_on(MANAGER.importable());
    for entry in shown.iter().flat_map(|file| &file.connectors) {
        if entry.problem.is_some() {
            // What is not fit for display is shown otherwise than it is.
            continue;
        }
        check(entry, text.contains(HIDDEN));
        assert!(
            text.contains(SECRET) || !format!("{entry:?}").contains(SECRET),
            "a value is shown: {entry:?}"
        );
    }
});

/// `says_hidden`: whether the file itself has what stands for a secret.
fn check(entry: &ImportableConnector, says_hidden: bool) {
    // What stands for a secret says nothing.
    let plain = |text: &String| text.replace(HIDDEN, "*");
    let args: Vec<String> = entry.args.iter().map(plain).collect();
    for (at, is_secret) in secret_arguments(&args).into_iter().enumerate() {
        // The option before it may speak of a value whose name alone is left.
        let is_shown = is_secret && secret_arguments(&args[at..=at])[0];
        assert!(!is_shown, "argument {} is shown: {entry:?}", at + 1);
        let is_hidden = entry.args[at].contains(HIDDEN);
        let is_named = entry.plain_secrets.contains(&format!("argument {}", at + 1));
        assert!(
            !is_hidden || is_named || says_hidden,
            "argument {} is hidden, and that is not said: {entry:?}",
            at + 1
        );
    }
    let alone = entry.command.iter().chain(&entry.cwd);
    assert!(alone.map(plain).all(|text| !looks_secret("", &text)), "a secret is shown: {entry:?}");
    let url = entry.url.as_ref().map(|url| see_url(&plain(url)));
    assert!(url.is_none_or(|url| url.secret.is_none()), "the URL is shown: {entry:?}");
    for (name, value) in &entry.env_values {
        assert!(!looks_secret(name, value), "{name} is shown: {entry:?}");
    }
}
