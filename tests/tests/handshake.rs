//! Who gets in: the token, the headers of the upgrade, the version.

use connectors_tests::http_client::HttpRequest;
use connectors_tests::{RpcError, TempHome, WsClient};
use serde_json::json;

use crate::session::{Session, daemon, start};

#[tokio::test]
async fn the_token_is_43_characters_for_the_owners_eyes_alone_new_each_launch_and_gone_after_the_last() {
    let home = TempHome::new();
    let running = daemon().start(&home).await;
    let first = running.token();
    assert_eq!(first.len(), 43);
    assert!(first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{first}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(home.token_path()).expect("the token file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let output = running.stop().await;
    assert!(!output.contains(&first), "the token is in the daemon's output");
    assert!(!home.token_path().exists());
    let running = daemon().start(&home).await;
    assert_ne!(running.token(), first);
    running.stop().await;
}

#[tokio::test]
async fn the_right_token_opens_the_door() {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    let client = WsClient::connect(daemon.address()).await;
    let reply = client.authenticate(&daemon.token()).await;
    assert_eq!(reply, Ok(json!({"ok": true, "auth_enabled": true})));
    assert_eq!(client.must("connectors.list", json!({})).await, json!({"connectors": []}));
}

#[tokio::test]
async fn any_other_method_first_is_refused_and_ends_the_connection() {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    for method in ["connectors.list", "server.handshake", "rpc.discover", "no.such.method"] {
        let client = WsClient::connect(daemon.address()).await;
        let error = client.must_fail(method, json!({})).await;
        assert_eq!(error.code, -32001, "{method}: {error:?}");
        assert!(error.message.starts_with("auth required"), "{method}: {error:?}");
        client.closed().await;
    }
}

#[tokio::test]
async fn a_wrong_token_leaves_the_connection_outside() {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    let token = daemon.token();
    for wrong in ["", "x", &token[..42], &format!("{token}x"), &token.to_uppercase()] {
        let client = WsClient::connect(daemon.address()).await;
        let error = client.authenticate(wrong).await.expect_err("the wrong token");
        assert_eq!(error.code, -32603, "{error:?}");
        assert!(error.message.starts_with("auth failed"), "{error:?}");
        assert!(!error.message.contains(&token), "the error holds the token");
        let error = client.must_fail("connectors.list", json!({})).await;
        assert!([-32001, RpcError::CLOSED].contains(&error.code), "{error:?}");
    }
}

#[tokio::test]
async fn without_authentication_the_door_is_open_and_says_so() {
    let home = TempHome::new();
    let daemon = daemon().with_argument("--no-auth").start(&home).await;
    let client = WsClient::connect(daemon.address()).await;
    assert_eq!(client.must("connectors.list", json!({})).await, json!({"connectors": []}));
    let reply = client.must("session.auth", json!({"token": "anything"})).await;
    assert_eq!(reply, json!({"ok": true, "auth_enabled": false}));
}

#[tokio::test]
async fn the_version_handshake_knows_version_2_alone() {
    let (_home, _daemon, session) = start().await;
    let reply = session.must("server.handshake", json!({"protocol_version": 2})).await;
    assert_eq!([&reply["protocol_version"], &reply["client_protocol_version"]], [&json!(2), &json!(2)]);
    assert!(reply["server_version"].is_string(), "{reply}");
    for other in [1, 3] {
        let error = session.must_fail("server.handshake", json!({"protocol_version": other})).await;
        assert_eq!(error.code, -32006, "{error:?}");
    }
}

#[tokio::test]
async fn a_foreign_host_or_origin_gets_403_before_any_upgrade() {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    let (address, port) = (daemon.address(), daemon.address().rsplit(':').next().expect("a port"));
    let own = format!("http://{address}");
    let localhost = format!("http://localhost:{port}");
    for (headers, refused) in [
        (vec![], false),
        (vec![("origin", own.as_str())], false),
        (vec![("origin", localhost.as_str()), ("host", localhost.trim_start_matches("http://"))], false),
        (vec![("origin", "http://evil.test")], true),
        (vec![("origin", "null")], true),
        (vec![("origin", "https://127.0.0.1")], true),
        (vec![("origin", &format!("http://127.0.0.1.evil.test:{port}"))], true),
        (vec![("host", "evil.test")], true),
        (vec![("host", &format!("evil.test:{port}"))], true),
        (vec![("host", &format!("127.0.0.1.evil.test:{port}"))], true),
        (vec![("host", &format!("0.0.0.0:{port}"))], true),
    ] {
        let outcome = WsClient::connect_with(address, &headers).await.map(drop);
        assert_eq!(outcome, if refused { Err(403) } else { Ok(()) }, "{headers:?}");
        for path in ["/", "/healthz"] {
            let request = HttpRequest::get(&format!("http://{address}{path}"));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let status = request.send().await.expect("an answer").status();
            assert_eq!(status == 403, refused, "{path} {headers:?}: {status}");
        }
    }
}

#[tokio::test]
async fn plain_requests_get_the_health_and_the_panel_and_nothing_else() {
    let home = TempHome::new();
    let daemon = daemon().start(&home).await;
    let get = async |path: &str| {
        HttpRequest::get(&format!("http://{}{path}", daemon.address())).send().await.expect("an answer")
    };
    assert_eq!(get("/healthz").await.status(), 200);
    let panel = get("/").await;
    assert_eq!(panel.status(), 200);
    assert!(panel.header("content-type").starts_with("text/html"), "{:?}", panel.headers());
    assert!(
        !panel.text().await.expect("a page").contains(&daemon.token()),
        "the page itself holds the token"
    );
    assert_eq!(get("/../../etc/passwd").await.status(), 404);
    assert_eq!(get("/no/such/page").await.status(), 404);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_home_does_not_lock_the_first_out_of_its_files() {
    let home = TempHome::new();
    let first = daemon().start(&home).await;
    let session = Session::open(&first).await;
    let second = daemon().start(&home).await;
    session.must("connectors.add", json!({"name": "A", "url": "http://127.0.0.1:9/mcp"})).await;
    let other = Session::open(&second).await;
    let added = other.must("connectors.add", json!({"name": "A", "url": "http://127.0.0.1:9/mcp"})).await;
    assert_eq!(added["slug"], "a_2");
    assert_eq!(home.manifest().len(), 2);
}
