use std::sync::Arc;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::dpop::tests::parts;
use crate::fixture::{Answer, ScriptedHttp, exchange, noted};

const URL: &str = "https://as.test/token";

fn server() -> TokenServer {
    TokenServer { endpoint: Url::parse(URL).unwrap(), issuer: Some("https://as.test".into()) }
}

fn code() -> GrantRequest {
    GrantRequest::AuthorizationCode {
        code: "the-code".into(),
        redirect_uri: "http://127.0.0.1/cb".into(),
        verifier: "the-verifier".into(),
    }
}

async fn ask(
    http: &Arc<ScriptedHttp>,
    grant: &GrantRequest,
    key: Option<&DpopKey>,
) -> Result<Tokens, TokenError> {
    let scopes = ["read".to_owned(), "write".to_owned()];
    let client = ClientAuth::public("client");
    request_tokens(&exchange(http), &server(), &client, grant, Some("https://mcp.test"), &scopes, key).await
}

/// What a client makes of an answer: token, type, refresh token, lifetime, scopes.
type Read = (String, TokenType, Option<String>, Option<u64>, Option<Vec<String>>);

async fn read(answer: Answer) -> Result<Read, (&'static str, String)> {
    let http = ScriptedHttp::new();
    http.on("POST", URL, answer);
    let tokens = ask(&http, &code(), None).await.map_err(|error| (error.detail(), error.to_string()))?;
    let refresh = tokens.refresh_token.map(|token| token.expose_secret().to_owned());
    let access = tokens.access_token.expose_secret().to_owned();
    Ok((access, tokens.token_type, refresh, tokens.expires_in, tokens.scope))
}

fn refusal(status: u16, document: &Value) -> Answer {
    Answer::body(status, "application/json", document.to_string())
}

#[tokio::test]
async fn each_grant_sends_its_own_fields() {
    let device = GrantRequest::DeviceCode("dc".into());
    let refresh = GrantRequest::RefreshToken { token: "rt".into(), access_token: "at".into() };
    let assertion = GrantRequest::JwtBearer { assertion: "a.b.c".into() };
    let jwt_bearer = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let device_code = "urn:ietf:params:oauth:grant-type:device_code";
    let cases: [(GrantRequest, &[(&str, &str)]); 5] = [
        (
            code(),
            &[
                ("grant_type", "authorization_code"),
                ("code", "the-code"),
                ("redirect_uri", "http://127.0.0.1/cb"),
                ("code_verifier", "the-verifier"),
            ],
        ),
        (refresh, &[("grant_type", "refresh_token"), ("refresh_token", "rt")]),
        (device, &[("grant_type", device_code), ("device_code", "dc")]),
        (GrantRequest::ClientCredentials, &[("grant_type", "client_credentials"), ("scope", "read write")]),
        (assertion, &[("grant_type", jwt_bearer), ("assertion", "a.b.c"), ("scope", "read write")]),
    ];
    for (grant, fields) in cases {
        let http = ScriptedHttp::new();
        http.on("POST", URL, Answer::json(json!({"access_token": "t"})));
        ask(&http, &grant, None).await.unwrap();
        let always = [("resource", "https://mcp.test"), ("client_id", "client")];
        let expected: Vec<_> = fields
            .iter()
            .chain(&always)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(http.sent()[0].form(), expected);
        assert!(!http.sent()[0].follow_redirects);
    }
}

#[tokio::test]
async fn answers_are_read_leniently() {
    let list = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
    let bearer = TokenType::Bearer;
    let refresh = Some("r".to_owned());
    let cases = [
        (
            json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r", "scope": "a b"}),
            (refresh, Some(3600), list(&["a", "b"])),
        ),
        (json!({"access_token": "t"}), (None, None, None)),
        (
            json!({"access_token": "t", "token_type": "bearer", "expires_in": "3600"}),
            (None, Some(3600), None),
        ),
        (json!({"access_token": "t", "token_type": "BEARER", "expires_in": 59.9}), (None, Some(59), None)),
        (json!({"access_token": "t", "expires_in": 0, "scope": "", "refresh_token": ""}), (None, None, None)),
        (
            json!({"access_token": "t", "expires_in": -1, "scope": ["a"], "refresh_token": null}),
            (None, None, list(&["a"])),
        ),
        (
            json!({"access_token": "t", "expires_in": 1e300, "token_type": null}),
            (None, Some(315_360_000), None),
        ),
        (
            json!({"access_token": "t", "expires_in": "soon", "scope": 5, "refresh_token": 7, "error": null}),
            (None, None, None),
        ),
    ];
    for (document, (refresh, lifetime, scope)) in cases {
        let expected = Ok(("t".to_owned(), bearer, refresh, lifetime, scope));
        assert_eq!(read(Answer::json(document.clone())).await, expected, "{document}");
    }
    let form =
        Answer::body(200, "application/x-www-form-urlencoded; charset=utf-8", "access_token=t&expires_in=5");
    assert_eq!(read(form).await, Ok(("t".to_owned(), bearer, None, Some(5), None)));
}

#[tokio::test]
async fn every_way_of_refusing_has_its_own_word() {
    let error = |error: &str| refusal(400, &json!({"error": error}));
    let cases = [
        (error("invalid_grant"), "invalid_grant"),
        (refusal(401, &json!({"error": "invalid_client"})), "invalid_client"),
        (error("unauthorized_client"), "unauthorized_client"),
        (error("unsupported_grant_type"), "grant_unsupported"),
        (error("invalid_scope"), "invalid_scope"),
        (error("invalid_target"), "resource_refused"),
        (error("invalid_request"), "token_request_refused"),
        (error("access_denied"), "access_denied"),
        (error("something_else"), "token_refused"),
        // As GitHub does it.
        (Answer::json(json!({"error": "bad_verification_code"})), "token_refused"),
        (refusal(503, &json!({"error": "temporarily_unavailable"})), "token_endpoint_unavailable"),
        (Answer::status(500), "token_endpoint_failed"),
        (Answer::status(429), "token_endpoint_busy"),
        (Answer::status(302).header("location", "https://evil.test/"), "token_endpoint_status"),
        (Answer::body(400, "text/html", "<html>"), "token_endpoint_status"),
        (Answer::body(200, "text/html", "<html>"), "token_answer_malformed"),
        (Answer::json(json!(["access_token"])), "token_answer_malformed"),
        (Answer::json(json!({"token_type": "Bearer"})), "token_answer_malformed"),
        (Answer::json(json!({"access_token": ""})), "token_answer_malformed"),
        (Answer::json(json!({"access_token": "a\r\nX-Evil: 1"})), "token_answer_malformed"),
        (Answer::json(json!({"access_token": "t", "token_type": "mac"})), "token_type_unknown"),
        // Bound to a key that was never shown.
        (Answer::json(json!({"access_token": "t", "token_type": "DPoP"})), "token_type_unknown"),
        (Answer::failure(TransportError::Refused("no".into())), "token_endpoint_forbidden"),
        (
            Answer::failure(TransportError::Unreachable { reason: "away".into(), source: None }),
            "token_endpoint_unreachable",
        ),
        (
            Answer::failure(TransportError::LimitExceeded { limit: "the answer", max: "1".into() }),
            "token_answer_too_large",
        ),
    ];
    for (answer, detail) in cases {
        assert_eq!(read(answer).await.map_err(|(detail, _)| detail), Err(detail));
    }
}

#[tokio::test]
async fn a_description_is_quoted_short_and_clean() {
    let document = json!({"error": "invalid_grant", "error_description": format!("a\u{1b}[31mb\u{202e} {}", "x".repeat(999))});
    let (_, text) = read(refusal(400, &document)).await.unwrap_err();
    assert!(
        text.starts_with("the authorization server refuses with invalid_grant: a[31mb x") && text.len() < 300,
        "{text}"
    );
    let document = json!({"error": "x".repeat(9999), "error_description": " "});
    let (_, text) = read(refusal(400, &document)).await.unwrap_err();
    assert!(text.len() < 150, "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_waited_for_longer_than_the_lock_is() {
    let http = ScriptedHttp::new();
    http.on("POST", URL, Answer::status(200).held_by(&Arc::new(Notify::new())));
    let begun = Instant::now();
    let error = ask(&http, &code(), None).await.unwrap_err();
    assert_eq!(
        (error.detail(), error.is_transient(), begun.elapsed()),
        ("token_endpoint_slow", true, TOKEN_TIMEOUT)
    );
}

#[tokio::test]
async fn a_nonce_is_taken_up_once_with_a_new_proof() {
    let key = DpopKey::generate().unwrap();
    let http = ScriptedHttp::new();
    let demand = |nonce| refusal(400, &json!({"error": "use_dpop_nonce"})).header("dpop-nonce", nonce);
    http.on("POST", URL, demand("n1")).on(
        "POST",
        URL,
        Answer::json(json!({"access_token": "t", "token_type": "dpop"})).header("dpop-nonce", "n2"),
    );
    let tokens = ask(&http, &code(), Some(&key)).await.unwrap();
    assert_eq!(tokens.token_type, TokenType::Dpop);
    let claims: Vec<_> = http.sent().iter().map(|sent| parts(sent.header("dpop").unwrap()).1).collect();
    assert_eq!(claims.len(), 2);
    assert_eq!((claims[0].get("nonce"), &claims[1]["nonce"]), (None, &json!("n1")));
    assert_ne!(claims[0]["jti"], claims[1]["jti"]);
    assert_eq!(
        (&claims[1]["htu"], &claims[1]["htm"], claims[1].get("ath")),
        (&json!(URL), &json!("POST"), None)
    );
    assert_eq!(http.sent()[0].form(), http.sent()[1].form());
    // The next request begins with what the last answer brought.
    http.on("POST", URL, demand("n3")).on("POST", URL, demand("n4")).on("POST", URL, demand("n5"));
    let error = ask(&http, &code(), Some(&key)).await.unwrap_err();
    assert_eq!((error.detail(), http.sent().len()), ("dpop_proof_refused", 4));
    assert_eq!(parts(http.sent()[2].header("dpop").unwrap()).1["nonce"], json!("n2"));
}

#[tokio::test]
async fn the_same_nonce_again_and_a_demand_without_one_end_it() {
    let demand = || refusal(400, &json!({"error": "use_dpop_nonce"}));
    let key = DpopKey::generate().unwrap();
    key.keep_nonce(&Url::parse(URL).unwrap(), "n1");
    for answer in [demand(), demand().header("dpop-nonce", "n1")] {
        let http = ScriptedHttp::new();
        http.on("POST", URL, answer);
        assert_eq!(ask(&http, &code(), Some(&key)).await.unwrap_err().detail(), "dpop_proof_refused");
        assert_eq!(http.sent().len(), 1);
    }
}

#[tokio::test]
async fn a_bearer_token_is_taken_though_a_key_was_shown() {
    let http = ScriptedHttp::new();
    http.on("POST", URL, Answer::json(json!({"access_token": "t", "token_type": "Bearer"})));
    let tokens = ask(&http, &code(), Some(&DpopKey::generate().unwrap())).await.unwrap();
    assert_eq!(tokens.token_type, TokenType::Bearer);
}

#[tokio::test]
async fn the_trace_says_what_was_received_or_what_went_wrong() {
    let http = ScriptedHttp::new();
    http.on("POST", URL, Answer::json(json!({"access_token": "t", "expires_in": 60}))).on(
        "POST",
        URL,
        Answer::status(500),
    );
    let exchange = exchange(&http);
    let client = ClientAuth::public("client");
    for _ in 0..2 {
        let _ = request_tokens(&exchange, &server(), &client, &code(), None, &[], None).await;
    }
    assert_eq!(noted(&exchange), ["tokens_received", "token_endpoint_failed!"]);
    let seen = exchange.trace.read().remove(0).seen;
    assert_eq!(seen, format!("a Bearer token, for 60 s, without a refresh token, from {URL}"));
}

proptest! {
    #[test]
    fn no_answer_is_a_reason_to_panic(status in 200u16..600, content_type in "[a-z/+-]{0,40}", body in any::<Vec<u8>>()) {
        let mut answer = HttpResponse::new(body.into());
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        answer.headers_mut().insert("content-type", content_type.parse().unwrap());
        let _ = Tokens::read(&answer, &Form::default(), true);
    }
}
