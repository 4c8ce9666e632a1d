//! A host of the library that shares its connectors, and the tokens of these, with others of its kind.
//!
//! `token-sharer STATE_ROOT KEY_FILE SLUG` starts on the manifest and the vault of the state root, and writes `ready` once the
//! connector is, or `STATE DETAIL` where only a user can help. From then on every number that it reads, one a line, is as many calls
//! of the connector's tool `echo`, one after the other; it writes `ok` for each, or `failed CODE TEXT`. It ends with its input.

#![expect(clippy::print_stdout, reason = "what it says is its purpose")]

use std::process::ExitCode;
use std::sync::Arc;

use connectors_core::manager::CallRequest;
use connectors_core::{ConnectorManager, Slug, StateName};
use connectors_http::{HttpDialer, HttpStack};
use connectors_oauth::OAuthProvider;
use connectors_store::{ManifestStore, Paths, VaultStore};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state_root, key_file, slug] = arguments.as_slice() else {
        return ExitCode::FAILURE;
    };
    let paths = Paths::new(state_root, key_file);
    let http = HttpStack::new();
    let manager = ConnectorManager::builder()
        .with_config(Arc::new(ManifestStore::new(paths.manifest())))
        .with_credentials(Arc::new(VaultStore::new(&paths)))
        .with_dialer(Arc::new(HttpDialer::on(&http)))
        .with_sign_in(Arc::new(OAuthProvider::new(http.client())))
        .start()
        .await;
    let slug = Slug::verbatim(slug.as_str());
    println!("{}", settled(&manager, &slug).await);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        for n in 0..line.parse().unwrap_or(0) {
            println!("{}", call(&manager, &slug, n).await);
        }
    }
    manager.shutdown().await;
    ExitCode::SUCCESS
}

/// What becomes of the connector: `ready`, or why only a user can help.
async fn settled(manager: &ConnectorManager, slug: &Slug) -> String {
    let mut events = manager.events().subscribe();
    loop {
        let Ok(status) = manager.status(slug) else { return "unknown".to_owned() };
        match status.state {
            StateName::Ready => return "ready".to_owned(),
            StateName::NeedsSignIn | StateName::Disabled | StateName::Proposed => {
                return format!("{:?} {}", status.state, status.detail.unwrap_or_default());
            }
            // Tried again by itself.
            _ => drop(events.recv().await),
        }
    }
}

async fn call(manager: &ConnectorManager, slug: &Slug, n: u32) -> String {
    let request = CallRequest::new(slug.clone(), "echo", json!({"text": n.to_string()}));
    match manager.call_tool(request).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            format!(
                "failed {} {}",
                error.detail().unwrap_or(error.code()),
                error.to_string().replace('\n', " ")
            )
        }
    }
}
