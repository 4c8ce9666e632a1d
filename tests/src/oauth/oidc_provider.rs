//! `oidc-provider` in front of an MCP server of the TypeScript SDK, as a child process (`tests/interop/oidc_server.mjs`).

use std::path::Path;
use std::process::Stdio;

use axum::http::Method;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::deadline::soon;
use crate::http_client::HttpRequest;

/// A running pair of `oidc-provider` and an MCP server. Dropping it kills it.
#[derive(Debug)]
pub struct OidcProvider {
    issuer: String,
    mcp: String,
    _process: Child,
}

impl OidcProvider {
    /// Starts the script that lies in `folder`, beside the `node_modules` that it uses, with these arguments: the era first, then
    /// options (see `tests/interop/README.md`).
    pub async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut process = Command::new("node")
            .arg(folder.join("oidc_server.mjs"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("`node` starts");
        let output = process.stdout.take().expect("a pipe");
        let line =
            soon("oidc-provider", BufReader::new(output).lines().next_line()).await.expect("readable output");
        let line =
            line.unwrap_or_else(|| panic!("oidc_server.mjs {arguments:?} has ended before it was ready"));
        let urls: Value = serde_json::from_str(&line).expect("a line of JSON");
        let url = |name: &str| urls[name].as_str().expect("both URLs").to_owned();
        Self { issuer: url("issuer"), mcp: url("mcp"), _process: process }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URL of the MCP endpoint.
    pub fn url(&self) -> &str {
        &self.mcp
    }

    /// How often what has happened: events of `oidc-provider`, `admitted` requests, and `refused.{error}` ones.
    pub async fn events(&self) -> Value {
        let answer =
            soon("the events", HttpRequest::get(&self.beside("/events")).send()).await.expect("an answer");
        serde_json::from_str(&answer.text().await.expect("a whole body")).expect("JSON")
    }

    /// How often this event has happened.
    pub async fn count(&self, event: &str) -> u64 {
        self.events().await[event].as_u64().unwrap_or_default()
    }

    /// From now on no access token of before is good.
    pub async fn expire_access_tokens(&self) {
        self.command("/expire").await;
    }

    /// The user takes every consent back: refreshes are answered `invalid_grant`, and access tokens are no good.
    pub async fn revoke_everything(&self) {
        self.command("/revoke").await;
    }

    /// Every client that has registered is forgotten.
    pub async fn forget_clients(&self) {
        self.command("/forget").await;
    }

    async fn command(&self, path: &str) {
        let request = HttpRequest::new(Method::POST, &self.beside(path)).send();
        assert_eq!(soon("an answer", request).await.expect("an answer").status(), 200, "{path}");
    }

    fn beside(&self, path: &str) -> String {
        format!("{}{path}", self.mcp.strip_suffix("/mcp").expect("the path of the endpoint"))
    }
}
