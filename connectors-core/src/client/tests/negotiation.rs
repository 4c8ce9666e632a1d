use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::authorizer::Challenge;
use crate::client::EraChoice;
use crate::connector::Connector;
use crate::contract::scripted::{HTTP_LIKE, STDIO_LIKE};
use crate::error::{ConnectorError, TransportError};
use crate::protocol::{Era, ProtocolVersion, RpcError};

#[tokio::test(start_paused = true)]
async fn a_modern_server_needs_one_exchange() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    assert_eq!(server.methods(), ["server/discover"]);
    let session = client.session();
    assert_eq!(session.version, ProtocolVersion::V2026_07_28);
    assert_eq!(session.server.as_ref().unwrap().name, "scripted");
}

#[tokio::test(start_paused = true)]
async fn every_modern_request_carries_the_metadata() {
    let server = ScriptedServer::new(HTTP_LIKE, modern(|_, _| Reply::Result(one_tool())));
    let (client, _signals) = connect(&server).await;
    client.list_tools().await.unwrap();
    for seen in server.seen() {
        let meta = &seen.params["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{}", seen.method);
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "connectors-core", "{}", seen.method);
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}), "{}", seen.method);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_discover_is_initialized() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Never));
    let (client, _signals) = connect(&server).await;
    assert_eq!(server.methods(), ["server/discover", "initialize", "notifications/initialized"]);
    assert_eq!(client.session().version, ProtocolVersion::V2025_06_18);
    let initialize = &server.seen()[1].params;
    assert_eq!(initialize["protocolVersion"], "2025-11-25");
    assert!(initialize.get("_meta").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bare_http_status_for_a_bad_request_means_legacy() {
    for status in [400, 404, 405, 406] {
        let server = ScriptedServer::new(HTTP_LIKE, move |method, _| match method {
            "server/discover" => Reply::Wire(TransportError::Status {
                status,
                content_type: None,
                rpc: None,
                retry_after: None,
            }),
            "initialize" => Reply::Result(initialize_result()),
            _ => Reply::Never,
        });
        let (client, _signals) = connect(&server).await;
        assert_eq!(client.session().era(), Era::Legacy, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_but_a_clean_not_supported_leads_to_the_legacy_era() {
    let errors: [fn() -> TransportError; 6] = [
        || TransportError::Unauthorized {
            forbidden: false,
            challenge: Box::new(Challenge::new(401, "https://x")),
        },
        || TransportError::Unreachable { reason: "certificate".to_owned(), source: None },
        || TransportError::Refused("redirect".to_owned()),
        || TransportError::Malformed("html".to_owned()),
        || TransportError::Closed { reason: "reset".to_owned() },
        || TransportError::Status { status: 503, content_type: None, rpc: None, retry_after: None },
    ];
    for error in errors {
        let server = ScriptedServer::new(HTTP_LIKE, move |_, _| Reply::Wire(error()));
        assert!(try_connect(&server, options()).await.is_err());
        assert_eq!(server.methods(), ["server/discover"], "{}", error());
    }
}

#[tokio::test(start_paused = true)]
async fn a_modern_error_is_no_reason_to_fall_back() {
    for code in [-32020, -32021] {
        let server = ScriptedServer::new(HTTP_LIKE, move |_, _| Reply::Error(code, "modern"));
        let error = try_connect(&server, options()).await.err().unwrap().into_error();
        assert!(matches!(error, ConnectorError::Upstream { error, .. } if error.code == code));
        assert_eq!(server.methods(), ["server/discover"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_discover_with_nothing_is_initialized() {
    let server = ScriptedServer::new(HTTP_LIKE, |method, _| match method {
        "initialize" => Reply::Result(initialize_result()),
        _ => Reply::Result(json!({})),
    });
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.session().era(), Era::Legacy);
}

fn unsupported(supported: &str) -> Reply {
    let mut error = RpcError::new(-32022, "Unsupported protocol version");
    error.data =
        Some(serde_json::value::RawValue::from_string(format!(r#"{{"supported":{supported}}}"#)).unwrap());
    Reply::ErrorWith(error)
}

#[tokio::test(start_paused = true)]
async fn an_unsupported_version_is_retried_once_even_with_the_version_that_was_refused() {
    let tries = AtomicUsize::new(0);
    let server = ScriptedServer::new(HTTP_LIKE, move |_, _| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => unsupported(r#"["2026-07-28"]"#),
        _ => Reply::Result(discover_result()),
    });
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.session().era(), Era::Modern);
    assert_eq!(server.methods(), ["server/discover", "server/discover"]);

    let stubborn = ScriptedServer::new(HTTP_LIKE, |_, _| unsupported(r#"["2026-07-28"]"#));
    assert!(try_connect(&stubborn, options()).await.is_err());
    assert_eq!(stubborn.methods().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_offers_legacy_versions_only_is_initialized() {
    let server = ScriptedServer::new(HTTP_LIKE, |method, _| match method {
        "server/discover" => unsupported(r#"["2025-11-25","1999-01-01"]"#),
        "initialize" => Reply::Result(initialize_result()),
        _ => Reply::Never,
    });
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.session().era(), Era::Legacy);
}

#[tokio::test(start_paused = true)]
async fn a_version_nobody_speaks_is_an_error_that_says_so() {
    let server = ScriptedServer::new(HTTP_LIKE, |method, _| match method {
        "server/discover" => Reply::Error(-32601, "?"),
        _ => Reply::Result(json!({"protocolVersion": "1999-01-01"})),
    });
    let error = try_connect(&server, options()).await.err().unwrap().into_error();
    assert_eq!(
        error.to_string(),
        "the server of `s` broke the protocol: the server wants a protocol version that this client does not speak"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_the_handshake_limit() {
    let server = ScriptedServer::new(HTTP_LIKE, |_, _| Reply::Never);
    let started = tokio::time::Instant::now();
    let error = try_connect(&server, options()).await.err().unwrap().into_error();
    assert_eq!(error.code(), "timeout");
    assert_eq!(started.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ignores_the_probe_is_initialized_beside_it() {
    let server = ScriptedServer::new(STDIO_LIKE, |method, _| match method {
        "initialize" => Reply::Result(initialize_result()),
        _ => Reply::Never,
    });
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.session().era(), Era::Legacy);
}

#[tokio::test(start_paused = true)]
async fn a_modern_process_that_starts_slowly_is_not_taken_for_a_legacy_one() {
    let server = ScriptedServer::new(STDIO_LIKE, |method, _| match method {
        "server/discover" => Reply::Later(Box::pin(async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            discover_result()
        })),
        "initialize" => Reply::Error(-32601, "Method not found"),
        _ => Reply::Never,
    });
    let (client, _signals) = connect(&server).await;
    assert_eq!(client.session().era(), Era::Modern);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_of_the_probe_is_reported_as_such() {
    let server = ScriptedServer::new(STDIO_LIKE, |_, _| {
        Reply::Wire(TransportError::Closed { reason: "the process exited with status 1".to_owned() })
    });
    assert!(try_connect(&server, options()).await.err().unwrap().died_of_probe());
}

#[tokio::test(start_paused = true)]
async fn a_server_known_to_be_legacy_is_not_probed() {
    let server = ScriptedServer::new(HTTP_LIKE, legacy(|_, _| Reply::Never));
    let (_client, _signals) = try_connect(&server, options().with_era(EraChoice::Legacy)).await.unwrap();
    assert_eq!(server.methods(), ["initialize", "notifications/initialized"]);
}
