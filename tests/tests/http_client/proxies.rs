//! A connector's own proxy, for connections and for single requests alike.

use std::sync::Arc;

use connectors_http::HttpStack;
use serde_json::json;

use super::certificates::Authority;
use super::exchange::{NoNames, Rig, closed_port, get, refusal, text, unreachable, yes};
use super::tunnel::Tunnel;
use crate::http_transport::server::Server;

#[tokio::test]
async fn a_proxy_carries_connection_metadata_and_tokens_to_servers_of_a_private_authority() {
    let authority = Authority::new("Private");
    let issued = authority.issue(&["mcp.invalid", "auth.invalid"]);
    let server = Server::start_tls(issued.server(), yes).await;
    let proxy = Tunnel::start(Some(server.address())).await;
    let mut rig = Rig::new();
    rig.network.ca_file = rig.file("ca.pem", &authority.pem());
    rig.network.proxy = Some(proxy.url());
    assert_eq!(rig.connect("https://mcp.invalid/mcp").await.unwrap(), json!("yes"));
    let rules = rig.rules("https://mcp.invalid/mcp");
    for url in ["https://mcp.invalid/.well-known", "https://auth.invalid/token"] {
        assert_eq!(text(&rig.send(get(url), &rules).await.unwrap()), "200 yes");
    }
    assert_eq!(
        proxy.asked(),
        ["CONNECT mcp.invalid:443", "CONNECT mcp.invalid:443", "CONNECT auth.invalid:443"]
    );
    let steps = rig.steps();
    assert_eq!(steps.len(), 1, "{steps:?}");
    let (outcome, code, seen) = &steps[0];
    assert_eq!((outcome.as_str(), *code), ("Passed", "connected"));
    let start = format!("mcp.invalid by way of the proxy {}", proxy.url().replace("http://", ""));
    assert!(seen.starts_with(&start), "{seen}");
}

#[tokio::test]
async fn an_address_is_refused_before_the_proxy_is_asked() {
    let proxy = Tunnel::start(None).await;
    let mut rig = Rig::new();
    rig.network.proxy = Some(proxy.url());
    let rules = rig.rules("https://mcp.invalid/mcp");
    for url in ["https://10.0.0.1/", "https://169.254.169.254/", "http://auth.invalid/"] {
        refusal(rig.send(get(url), &rules).await);
    }
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test]
async fn this_machine_is_reached_without_the_connectors_proxy() {
    let server = Server::start(yes).await;
    let proxy = Tunnel::start(None).await;
    let mut rig = Rig::new();
    rig.network.proxy = Some(proxy.url());
    assert_eq!(rig.connect(&server.url("/mcp")).await.unwrap(), json!("yes"));
    assert_eq!(rig.get(&server.url("/")).await.unwrap(), "200 yes");
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test]
async fn a_proxy_that_fails_is_named() {
    let refusing = Tunnel::start(None).await;
    let gone = closed_port();
    let mut rig = Rig::on(HttpStack::with_names(Arc::new(NoNames)));
    rig.network.proxy = Some(refusing.url());
    let refused = unreachable(rig.connect("https://mcp.invalid/").await);
    let place = refusing.url().replace("http://", "");
    assert_eq!(refused, format!("the proxy {place} makes no connection to mcp.invalid"));

    rig.network.proxy = Some("http://proxy.invalid:3128".into());
    let unknown = unreachable(rig.connect("https://mcp.invalid/").await);
    assert_eq!(unknown, "the name of the proxy proxy.invalid:3128 does not resolve");
    rig.network.proxy = Some(format!("http://{gone}"));
    let down = unreachable(rig.connect("https://mcp.invalid/").await);
    assert_eq!(down, format!("no proxy listens at {gone} (connection refused)"));
    let codes: Vec<_> = rig.steps().into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes, ["proxy_failed"; 3]);
}
