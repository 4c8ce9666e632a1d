//! Servers on the SDKs: everything that they offer, over each of their wires and in each of their eras.

use connectors_core::protocol::Era;

use super::host::Host;
use super::servers::{Server, installed};
use super::surface::{Expected, works_in_full};

const TYPESCRIPT: &str = "typescript-interop";
const RMCP: &str = "rmcp-interop";
const FASTMCP: &str = "fastmcp-interop";

async fn over_http(server: Server, expected: Expected) {
    let server = server.listening(Server::with_argument).await;
    works_in_full(Host::of(server, "mcp").await, expected).await;
}

async fn over_stdio(server: Server, expected: Expected) {
    works_in_full(Host::of_command(server.over_stdio()).await, expected).await;
}

fn legacy(name: &'static str) -> Expected {
    Expected { name, era: Era::Legacy, subscriptions: true }
}

fn modern(name: &'static str) -> Expected {
    Expected { name, era: Era::Modern, subscriptions: true }
}

#[tokio::test]
async fn the_typescript_sdk_works_in_full_over_streamable_http_in_the_legacy_era() {
    let Some(servers) = installed() else { return };
    over_http(servers.typescript("legacy"), legacy(TYPESCRIPT)).await;
}

#[tokio::test]
async fn the_typescript_sdk_works_in_full_over_streamable_http_in_the_modern_era() {
    let Some(servers) = installed() else { return };
    over_http(servers.typescript("modern"), modern(TYPESCRIPT)).await;
}

#[tokio::test]
async fn the_typescript_sdk_works_in_full_over_stdio_in_the_legacy_era() {
    let Some(servers) = installed() else { return };
    over_stdio(servers.typescript("legacy"), legacy(TYPESCRIPT)).await;
}

#[tokio::test]
async fn the_typescript_sdk_works_in_full_over_stdio_in_the_modern_era() {
    let Some(servers) = installed() else { return };
    over_stdio(servers.typescript("modern"), modern(TYPESCRIPT)).await;
}

#[tokio::test]
async fn rmcp_works_in_full_over_streamable_http_in_the_legacy_era() {
    let Some(servers) = installed() else { return };
    over_http(servers.rmcp("legacy"), legacy(RMCP)).await;
}

#[tokio::test]
async fn rmcp_works_in_full_over_streamable_http_in_the_modern_era() {
    let Some(servers) = installed() else { return };
    over_http(servers.rmcp("modern"), modern(RMCP)).await;
}

#[tokio::test]
async fn rmcp_works_in_full_over_stdio_in_the_legacy_era() {
    let Some(servers) = installed() else { return };
    over_stdio(servers.rmcp("legacy"), legacy(RMCP)).await;
}

#[tokio::test]
async fn rmcp_works_in_full_over_stdio_in_the_modern_era() {
    let Some(servers) = installed() else { return };
    over_stdio(servers.rmcp("modern"), modern(RMCP)).await;
}

#[tokio::test]
async fn fastmcp_works_in_full_over_streamable_http() {
    let Some(servers) = installed() else { return };
    over_http(servers.fastmcp(), Expected { subscriptions: false, ..modern(FASTMCP) }).await;
}

#[tokio::test]
async fn fastmcp_works_in_full_over_stdio() {
    let Some(servers) = installed() else { return };
    over_stdio(servers.fastmcp(), Expected { subscriptions: false, ..modern(FASTMCP) }).await;
}
