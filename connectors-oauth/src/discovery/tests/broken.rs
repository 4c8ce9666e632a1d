//! Broken set-ups: each has its own code, and nothing is asked after it.

use super::*;

fn refused() -> TransportError {
    TransportError::Refused("as.test is at a private address".to_owned())
}

fn unreachable() -> TransportError {
    TransportError::Unreachable { reason: "cannot reach the host".to_owned(), source: None }
}

fn slow() -> TransportError {
    TransportError::TimedOut { what: "an answer", limit: std::time::Duration::from_secs(20) }
}

fn large() -> TransportError {
    TransportError::LimitExceeded { limit: "a document", max: "256 KiB".to_owned() }
}

#[tokio::test]
async fn whatever_an_address_answers_has_its_own_code() {
    let cases: [Case; 12] = [
        (|| Answer::failure(refused()), "forbidden_address"),
        (|| Answer::failure(unreachable()), "unreachable"),
        (|| Answer::failure(slow()), "timeout"),
        (|| Answer::failure(large()), "too_large"),
        (|| Answer::status(500), "status"),
        (|| Answer::status(429), "status"),
        (|| Answer::status(204), "status"),
        (|| Answer::status(307).header("location", "/x"), "redirected"),
        (|| Answer::status(302), "redirected"),
        (|| Answer::body(200, "application/json", ""), "not_json"),
        (|| Answer::body(200, "application/json", "[]"), "not_json"),
        (|| Answer::body(200, "application/json", "{}"), "incomplete"),
    ];
    for (answer, code) in cases {
        let http = ScriptedHttp::new();
        http.on("GET", AT_PATH, answer());
        let exchange = exchange(&http);
        let expected = format!("resource_metadata_{code}");
        assert_eq!(issuer(&exchange, None).await.unwrap_err(), expected);
        assert_eq!(http.requested(), get(&[AT_PATH]), "{code}");
        assert_eq!(noted(&exchange).last().unwrap(), &format!("{expected}!"));

        let http = ScriptedHttp::new();
        http.on("GET", AT_PATH, Answer::json(prm())).on("GET", OAUTH, answer());
        let expected = format!("server_metadata_{code}");
        assert_eq!(issuer(&super::exchange(&http), None).await.unwrap_err(), expected);
        assert_eq!(http.requested(), get(&[AT_PATH, OAUTH]), "{code}");
    }
}

#[tokio::test]
async fn a_resource_that_is_not_the_server_ends_the_search() {
    let http = ordinary();
    let evil = with(prm(), "resource", json!("https://evil.example.com/mcp"));
    http.on("GET", "https://mcp.test/prm", Answer::json(evil));
    let exchange = exchange(&http);
    let wanted = announcing("https://mcp.test/prm");
    assert_eq!(issuer(&exchange, Some(&wanted)).await, Err("resource_mismatch"));
    assert_eq!(http.requested(), get(&["https://mcp.test/prm"]));
}

#[tokio::test]
async fn an_address_in_the_challenge_that_must_not_be_used_ends_the_search() {
    for url in ["http://mcp.test/prm", "file:///etc/passwd", "/relative", "https://a@mcp.test/", ""] {
        let http = ordinary();
        let outcome = issuer(&exchange(&http), Some(&announcing(url))).await;
        assert_eq!((outcome, http.requested()), (Err("resource_metadata_url_invalid"), vec![]), "{url}");
    }
}

#[tokio::test]
async fn an_unencrypted_server_may_announce_an_address_of_its_own() {
    let http = ScriptedHttp::new();
    let server = "http://mcp.intranet/mcp";
    let exchange = exchange_of(server, &http);
    http.on("GET", "http://mcp.intranet/prm", Answer::json(with(prm(), "resource", json!(server)))).on(
        "GET",
        OAUTH,
        Answer::json(metadata("https://as.test")),
    );
    let wanted = announcing("http://mcp.intranet/prm");
    assert_eq!(issuer(&exchange, Some(&wanted)).await, Ok("https://as.test".to_owned()));
    let elsewhere = announcing("http://mcp.intranet:81/prm");
    assert_eq!(issuer(&exchange, Some(&elsewhere)).await, Err("resource_metadata_url_invalid"));
}

#[tokio::test]
async fn authorization_servers_that_cannot_be_used_are_refused_unasked() {
    let cases = [
        (json!([]), "authorization_server_unnamed"),
        (json!(null), "authorization_server_unnamed"),
        (json!(["http://as.test"]), "issuer_invalid"),
        (json!(["https://as.test?tenant=1"]), "issuer_invalid"),
        (json!(["https://as.test#x"]), "issuer_invalid"),
        (json!(["as.test"]), "issuer_invalid"),
    ];
    for (servers, expected) in cases {
        let http = ScriptedHttp::new();
        http.on("GET", AT_PATH, Answer::json(with(prm(), "authorization_servers", servers.clone())));
        assert_eq!(issuer(&exchange(&http), None).await, Err(expected), "{servers}");
        assert_eq!(http.requested(), get(&[AT_PATH]));
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let others =
        ["https://attacker.example.com", "https://AS.test", "https://as.test:443", "https://as.test//"];
    for other in others {
        let http = ScriptedHttp::new();
        http.on("GET", AT_PATH, Answer::json(prm()));
        http.on("GET", OAUTH, Answer::json(with(metadata("https://as.test"), "issuer", json!(other))));
        let exchange = exchange(&http);
        let all = [OAuthException::IssuerSlash, OAuthException::PkceNotAdvertised];
        let error = discover(&exchange, None, &all).await.unwrap_err();
        assert_eq!(
            (error.detail(), http.requested()),
            ("issuer_mismatch", get(&[AT_PATH, OAUTH])),
            "{other}"
        );
    }
}

#[tokio::test]
async fn endpoints_that_must_not_reach_a_browser_or_a_shell_are_refused() {
    let endpoints =
        ["javascript:alert(1)", "file:///bin/sh", "http://as.test/a", "https://$(calc)@as.test/", "-flag"];
    for endpoint in endpoints {
        let http = ScriptedHttp::new();
        let document = with(metadata("https://as.test"), "authorization_endpoint", json!(endpoint));
        http.on("GET", AT_PATH, Answer::json(prm())).on("GET", OAUTH, Answer::json(document));
        assert_eq!(issuer(&exchange(&http), None).await, Err("endpoint_invalid"), "{endpoint}");
    }
}

#[test]
fn a_server_without_s256_is_refused_unless_it_is_merely_silent_and_excepted() {
    let exchange = exchange(&ScriptedHttp::new());
    let page = |methods: Option<&[&str]>, exceptions: &[OAuthException]| {
        let methods = methods.map(|methods| methods.iter().map(ToString::to_string).collect());
        let base = crate::fixture::server_metadata();
        let server = ServerMetadata { code_challenge_methods_supported: methods, ..base };
        let page = authorization_page(&exchange, &server, exceptions);
        page.map(ToString::to_string).map_err(|error| error.detail())
    };
    let excepted = [OAuthException::PkceNotAdvertised];
    let there = Ok("https://as.test/authorize".to_owned());
    assert_eq!(page(Some(&["plain", "S256"]), &[]), there);
    assert_eq!(page(None, &[]), Err("pkce_not_advertised"));
    assert_eq!(page(None, &[OAuthException::IssuerSlash]), Err("pkce_not_advertised"));
    assert_eq!(page(None, &excepted), there);
    assert_eq!(page(Some(&["plain"]), &excepted), Err("pkce_unsupported"));
    assert_eq!(page(Some(&[]), &excepted), Err("pkce_unsupported"));
    let expected = [
        "pkce_not_advertised!",
        "pkce_not_advertised!",
        "pkce_not_advertised_accepted",
        "pkce_unsupported!",
        "pkce_unsupported!",
    ];
    assert_eq!(noted(&exchange), expected);
}

#[test]
fn a_server_without_a_page_for_browsers_is_told_apart() {
    let exchange = exchange(&ScriptedHttp::new());
    let detail = |server: ServerMetadata| authorization_page(&exchange, &server, &[]).unwrap_err().detail();
    let base = crate::fixture::server_metadata;
    assert_eq!(
        detail(ServerMetadata { authorization_endpoint: None, ..base() }),
        "authorization_endpoint_missing"
    );
    assert_eq!(
        detail(ServerMetadata { require_pushed_authorization_requests: true, ..base() }),
        "pushed_requests_only"
    );
}

#[tokio::test(start_paused = true)]
async fn a_search_that_gets_nowhere_ends() {
    let http = ordinary();
    let gate = Arc::new(tokio::sync::Notify::new());
    http.on("GET", "https://mcp.test/prm", Answer::json(prm()).held_by(&gate));
    let exchange = exchange(&http);
    let wanted = announcing("https://mcp.test/prm");
    assert_eq!(issuer(&exchange, Some(&wanted)).await, Err("discovery_timeout"));
    assert_eq!(noted(&exchange), ["challenge", "discovery_timeout!"]);
}
