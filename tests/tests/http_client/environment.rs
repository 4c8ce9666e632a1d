//! Authorities and proxies of the environment: variables count for a whole process, so this takes one of its own.

use std::process::Stdio;

use connectors_tests::deadline::soon;
use serde_json::json;
use tokio::process::Command;

use super::certificates::Authority;
use super::exchange::{Rig, get, refusal, text, yes};
use super::tunnel::Tunnel;
use crate::http_transport::server::Server;

/// Set for the process of its own.
const INNER: &str = "CONNECTORS_TEST_ENVIRONMENT";

#[tokio::test]
async fn the_environments_authorities_and_proxy_hold_for_connections_metadata_and_tokens() {
    let authority = Authority::new("Of the environment");
    let server = Server::start_tls(authority.issue(&["mcp.invalid", "auth.invalid"]).server(), yes).await;
    let proxy = Tunnel::start(Some(server.address())).await;
    let files = Rig::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    for name in ["ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy", "https_proxy"]
    {
        command.env_remove(name);
    }
    let inner = command
        .args(["--exact", "http_client::environment::in_a_process_of_its_own", "--nocapture"])
        .env(INNER, "1")
        .env("HTTPS_PROXY", proxy.url())
        .env("NO_PROXY", "direct.invalid")
        .env("SSL_CERT_FILE", files.file("ca.pem", &authority.pem()).unwrap())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = soon("the process", inner).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(proxy.asked(), ["CONNECT mcp.invalid:443", "CONNECT auth.invalid:443"]);
}

#[tokio::test]
async fn in_a_process_of_its_own() {
    if std::env::var_os(INNER).is_none() {
        return;
    }
    let rig = Rig::new();
    assert_eq!(rig.connect("https://mcp.invalid/mcp").await.unwrap(), json!("yes"));
    let rules = rig.rules("https://mcp.invalid/mcp");
    assert_eq!(text(&rig.send(get("https://auth.invalid/token"), &rules).await.unwrap()), "200 yes");
    // A proxy takes no address past the guard.
    refusal(rig.send(get("https://192.168.0.1/"), &rules).await);
    assert!(rig.send(get("https://direct.invalid/"), &rules).await.is_err());
}
