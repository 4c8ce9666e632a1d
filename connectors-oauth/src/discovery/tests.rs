use std::sync::Arc;

use connectors_core::TransportError;
use serde_json::{Value, json};

use super::*;
use crate::challenge::Scheme;
use crate::exchange::Exchange;
use crate::fixture::{Answer, SERVER, ScriptedHttp, exchange, exchange_of, noted};

mod broken;
mod legacy;

/// What an address answers, and what becomes of it.
type Case = (fn() -> Answer, &'static str);

const AT_PATH: &str = "https://mcp.test/.well-known/oauth-protected-resource/mcp";
const AT_ROOT: &str = "https://mcp.test/.well-known/oauth-protected-resource";
const OAUTH: &str = "https://as.test/.well-known/oauth-authorization-server";
const OPENID: &str = "https://as.test/.well-known/openid-configuration";

fn prm() -> Value {
    json!({"resource": SERVER, "authorization_servers": ["https://as.test"]})
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"),
        "code_challenge_methods_supported": ["S256"],
    })
}

fn with(mut document: Value, member: &str, value: Value) -> Value {
    document[member] = value;
    document
}

fn announcing(url: &str) -> Wanted {
    Wanted {
        scheme: Scheme::Bearer,
        scope: None,
        resource_metadata: Some(url.to_owned()),
        error: None,
        error_description: None,
    }
}

fn get(urls: &[&str]) -> Vec<String> {
    urls.iter().map(|url| format!("GET {url}")).collect()
}

/// Two documents at the first places that are looked at.
fn ordinary() -> Arc<ScriptedHttp> {
    let http = ScriptedHttp::new();
    http.on("GET", AT_PATH, Answer::json(prm())).on("GET", OAUTH, Answer::json(metadata("https://as.test")));
    http
}

async fn issuer(exchange: &Exchange, wanted: Option<&Wanted>) -> Result<String, &'static str> {
    let outcome = discover(exchange, wanted, &[]).await;
    outcome.map(|found| found.server.issuer).map_err(|error| error.detail())
}

#[tokio::test]
async fn the_address_of_the_challenge_is_the_only_one_that_is_asked() {
    let http = ordinary();
    let (prm_url, exchange) = ("https://mcp.test/custom/location.json", exchange(&http));
    http.on("GET", prm_url, Answer::json(prm()));
    let found = discover(&exchange, Some(&announcing(prm_url)), &[]).await.unwrap();
    assert_eq!(found.resource_parameter(), Some(SERVER));
    assert_eq!(found.server, crate::fixture::server_metadata());
    assert_eq!(http.requested(), get(&[prm_url, OAUTH]));
    assert_eq!(noted(&exchange), ["challenge", "resource_metadata", "server_metadata"]);
    assert!(http.sent().iter().all(|sent| sent.follow_redirects && sent.header("authorization").is_none()));
}

#[tokio::test]
async fn without_an_address_the_path_of_the_server_comes_first() {
    let (http, wanted) = (ordinary(), Wanted { resource_metadata: None, ..announcing("") });
    assert_eq!(issuer(&exchange(&http), Some(&wanted)).await, Ok("https://as.test".to_owned()));
    assert_eq!(http.requested(), get(&[AT_PATH, OAUTH]));
}

#[tokio::test]
async fn metadata_at_the_root_keeps_a_resource_without_a_slash_as_it_is() {
    let http = ScriptedHttp::new();
    let (resource, tenant) = ("https://mcp.test", "https://as.test/tenant1");
    let document = json!({"resource": resource, "authorization_servers": [tenant]});
    let oauth = "https://as.test/.well-known/oauth-authorization-server/tenant1";
    http.on("GET", AT_ROOT, Answer::json(document)).on("GET", oauth, Answer::json(metadata(tenant)));
    let exchange = exchange(&http);
    let found = discover(&exchange, None, &[]).await.unwrap();
    assert_eq!((found.resource_parameter(), found.server.issuer.as_str()), (Some(resource), tenant));
    assert_eq!(http.requested(), get(&[AT_PATH, AT_ROOT, oauth]));
    assert_eq!(
        noted(&exchange),
        ["challenge_absent", "resource_metadata_absent", "resource_metadata", "server_metadata"]
    );
}

#[tokio::test]
async fn openid_metadata_is_found_in_both_of_its_places() {
    let http = ScriptedHttp::new();
    http.on("GET", AT_PATH, Answer::json(prm())).on("GET", OPENID, Answer::json(metadata("https://as.test")));
    assert_eq!(issuer(&exchange(&http), None).await, Ok("https://as.test".to_owned()));
    assert_eq!(http.requested(), get(&[AT_PATH, OAUTH, OPENID]));

    let http = ScriptedHttp::new();
    let tenant = "https://as.test/tenant1";
    let appended = "https://as.test/tenant1/.well-known/openid-configuration";
    http.on("GET", AT_PATH, Answer::json(with(prm(), "authorization_servers", json!([tenant])))).on(
        "GET",
        appended,
        Answer::json(metadata(tenant)),
    );
    assert_eq!(issuer(&exchange(&http), None).await, Ok(tenant.to_owned()));
    let (oauth, openid) = (format!("{OAUTH}/tenant1"), format!("{OPENID}/tenant1"));
    assert_eq!(http.requested(), get(&[AT_PATH, &oauth, &openid, appended]));
}

#[tokio::test]
async fn an_announced_address_with_nothing_gives_way_to_the_well_known_ones() {
    let (http, gone) = (ordinary(), "https://mcp.test/gone");
    assert_eq!(issuer(&exchange(&http), Some(&announcing(gone))).await, Ok("https://as.test".to_owned()));
    assert_eq!(http.requested(), get(&[gone, AT_PATH, OAUTH]));
}

#[tokio::test]
async fn the_first_usable_of_several_authorization_servers_counts() {
    let http = ScriptedHttp::new();
    let servers = json!(["http://as.intranet", "https://down.test", "https://as.test"]);
    http.on("GET", AT_PATH, Answer::json(with(prm(), "authorization_servers", servers)))
        .on("GET", "https://down.test/.well-known/oauth-authorization-server", Answer::status(503))
        .on("GET", OAUTH, Answer::json(metadata("https://as.test")));
    let exchange = exchange(&http);
    assert_eq!(issuer(&exchange, None).await, Ok("https://as.test".to_owned()));
    let expected = [
        "challenge_absent",
        "resource_metadata",
        "issuer_invalid!",
        "server_metadata_status!",
        "server_metadata",
    ];
    assert_eq!(noted(&exchange), expected);
}

#[tokio::test]
async fn of_several_broken_authorization_servers_the_first_is_reported() {
    let http = ScriptedHttp::new();
    let mut servers = vec!["https://first.test", "ftp://second.test"];
    servers.extend(["https://more.test"; 100]);
    http.on("GET", AT_PATH, Answer::json(with(prm(), "authorization_servers", json!(servers))));
    assert_eq!(issuer(&exchange(&http), None).await, Err("server_metadata_missing"));
    assert_eq!(http.requested().len(), 1 + 2 * (MAX_SERVERS - 1));
}

#[tokio::test]
async fn a_server_that_hides_its_well_known_addresses_is_passed_over() {
    let (http, tenant) = (ScriptedHttp::new(), "https://as.test/tenant1");
    let page = Answer::body(200, "text/html; charset=utf-8", "<html></html>");
    let appended = "https://as.test/tenant1/.well-known/openid-configuration";
    http.on("GET", AT_PATH, Answer::status(401))
        .on("GET", AT_ROOT, Answer::json(with(prm(), "authorization_servers", json!([tenant]))))
        .on("GET", &format!("{OAUTH}/tenant1"), page)
        .on("GET", &format!("{OPENID}/tenant1"), Answer::status(400))
        .on("GET", appended, Answer::json(metadata(tenant)));
    let exchange = exchange(&http);
    assert_eq!(issuer(&exchange, None).await, Ok(tenant.to_owned()));
    let expected = [
        "challenge_absent",
        "resource_metadata_passed_over",
        "resource_metadata",
        "server_metadata_passed_over",
        "server_metadata_absent",
        "server_metadata",
    ];
    assert_eq!(noted(&exchange), expected);
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_issuer_needs_an_exception() {
    let slashed = with(metadata("https://as.test"), "issuer", json!("https://as.test/"));
    let http = || {
        let http = ScriptedHttp::new();
        http.on("GET", AT_PATH, Answer::json(prm())).on("GET", OAUTH, Answer::json(slashed.clone()));
        http
    };
    assert_eq!(issuer(&exchange(&http()), None).await, Err("issuer_slash"));
    let exchange = exchange(&http());
    let found = discover(&exchange, None, &[OAuthException::IssuerSlash]).await.unwrap();
    assert_eq!(found.server.issuer, "https://as.test/");
    assert!(noted(&exchange).contains(&"issuer_slash_accepted".to_owned()));
}

#[tokio::test]
async fn a_key_in_the_address_of_the_server_is_not_in_the_trace() {
    let http = ScriptedHttp::new();
    http.on("GET", AT_PATH, Answer::json(with(prm(), "resource", json!("https://evil.test"))));
    let exchange = exchange_of("https://user:canary-1@mcp.test/mcp?key=canary-2", &http);
    let wanted = announcing("https://mcp.test/custom?key=canary-2");
    let error = discover(&exchange, Some(&wanted), &[]).await.unwrap_err();
    let written = format!("{error} {error:?} {:?}", exchange.trace.read());
    assert!(!written.contains("canary"), "{written}");
}
