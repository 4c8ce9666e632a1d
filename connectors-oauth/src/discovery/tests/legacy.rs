//! Servers of 2025-03-26, and those that only look like it.

use super::*;

const ORIGIN_OAUTH: &str = "https://mcp.test/.well-known/oauth-authorization-server";
const ORIGIN_OPENID: &str = "https://mcp.test/.well-known/openid-configuration";

#[tokio::test]
async fn a_server_without_resource_metadata_is_its_own_authorization_server() {
    let http = ScriptedHttp::new();
    http.on("GET", ORIGIN_OAUTH, Answer::json(metadata("https://mcp.test")));
    let exchange = exchange(&http);
    let found = discover(&exchange, None, &[]).await.unwrap();
    assert_eq!((found.resource_parameter(), found.server.assumed), (None, false));
    assert_eq!(found.server.token_endpoint.as_str(), "https://mcp.test/token");
    assert_eq!(http.requested(), get(&[AT_PATH, AT_ROOT, ORIGIN_OAUTH]));
}

#[tokio::test]
async fn where_nothing_is_published_the_endpoints_are_assumed() {
    let http = ScriptedHttp::new();
    http.on("GET", AT_PATH, Answer::status(405)).on("GET", AT_ROOT, Answer::status(410));
    let exchange = exchange(&http);
    let found = discover(&exchange, None, &[]).await.unwrap();
    let expected = ServerMetadata::assumed(&Url::parse("https://mcp.test").unwrap());
    assert_eq!(found, Discovered { resource: None, server: expected });
    assert_eq!(http.requested(), get(&[AT_PATH, AT_ROOT, ORIGIN_OAUTH, ORIGIN_OPENID]));
    let page = authorization_page(&exchange, &found.server, &[]).unwrap();
    assert_eq!(page.as_str(), "https://mcp.test/authorize");
    assert_eq!(noted(&exchange).last().unwrap(), "server_metadata_assumed");
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_origin_is_no_difference() {
    let http = ScriptedHttp::new();
    let slashed = with(metadata("https://mcp.test"), "issuer", json!("https://mcp.test/"));
    http.on("GET", ORIGIN_OAUTH, Answer::json(slashed));
    assert_eq!(issuer(&exchange(&http), None).await, Ok("https://mcp.test/".to_owned()));
}

#[tokio::test]
async fn metadata_in_the_name_of_another_is_not_used() {
    let http = ScriptedHttp::new();
    http.on("GET", ORIGIN_OAUTH, Answer::json(metadata("https://attacker.test")));
    assert_eq!(issuer(&exchange(&http), None).await, Err("issuer_mismatch"));
}

#[tokio::test]
async fn an_announced_but_missing_document_is_no_sign_of_an_old_server() {
    let http = ScriptedHttp::new();
    http.on("GET", ORIGIN_OAUTH, Answer::json(metadata("https://mcp.test")));
    let wanted = announcing(AT_PATH);
    assert_eq!(issuer(&exchange(&http), Some(&wanted)).await, Err("resource_metadata_missing"));
    assert_eq!(http.requested(), get(&[AT_PATH, AT_ROOT]));
}

#[tokio::test]
async fn only_a_plain_no_leads_back_to_the_old_rules() {
    let failures: [Case; 7] = [
        (|| Answer::status(401), "resource_metadata_protected"),
        (|| Answer::status(403), "resource_metadata_protected"),
        (|| Answer::status(429), "resource_metadata_status"),
        (|| Answer::status(500), "resource_metadata_status"),
        (|| Answer::status(302).header("location", "https://x.test/a"), "resource_metadata_redirected"),
        (|| Answer::body(200, "text/html", "<html>"), "resource_metadata_web_page"),
        (|| Answer::body(200, "application/json", "{"), "resource_metadata_not_json"),
    ];
    for (answer, expected) in failures {
        for place in [AT_PATH, AT_ROOT] {
            let http = ScriptedHttp::new();
            http.on("GET", place, answer()).on(
                "GET",
                ORIGIN_OAUTH,
                Answer::json(metadata("https://mcp.test")),
            );
            assert_eq!(issuer(&exchange(&http), None).await, Err(expected), "{place}");
            assert!(!http.requested().contains(&format!("GET {ORIGIN_OAUTH}")));
        }
    }
}

#[tokio::test]
async fn an_unencrypted_server_is_not_its_own_authorization_server() {
    let http = ScriptedHttp::new();
    let exchange = exchange_of("http://mcp.intranet/mcp", &http);
    assert_eq!(issuer(&exchange, None).await, Err("issuer_invalid"));
    assert_eq!(http.requested().len(), 2);
}
