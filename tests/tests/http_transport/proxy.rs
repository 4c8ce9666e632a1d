//! A proxy from the environment is for other machines.

use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::json;

use super::server::{Server, status};
use crate::session::{Session, daemon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_asked_for_other_machines_and_never_for_this_one() {
    let proxy = Server::start(|_| async { status(502) }).await;
    let home = TempHome::new();
    let mut daemon = daemon();
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        daemon = daemon.with_variable(name, &proxy.url(""));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        daemon = daemon.with_variable(name, "");
    }
    let daemon = daemon.start(&home).await;
    let session = Session::open(&daemon).await;

    let server: McpServer = Script::modern().with_tools([Tool::echo()]).start();
    let by_name = server.url().replace("127.0.0.1", "localhost");
    for (name, url) in [("Local", server.url()), ("By name", by_name)] {
        let added = session.must("connectors.add", json!({"name": name, "url": url})).await;
        assert_eq!(added["status"]["last_error"], json!(null), "{added}");
    }
    assert_eq!(proxy.asked().len(), 0);

    session.must("connectors.add", json!({"name": "Far", "url": "http://far.invalid/mcp"})).await;
    assert_eq!(proxy.calls()[0].target, "http://far.invalid/mcp");
}
