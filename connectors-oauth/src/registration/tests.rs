use std::sync::Arc;

use connectors_core::TransportError;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{Answer, ScriptedHttp, exchange, noted, server_metadata};

const REGISTER: &str = "https://as.test/register";
const REDIRECT: &str = "http://127.0.0.1:9100/oauth/callback";
const DOCUMENT: &str = "https://host.test/client.json";

fn options() -> ClientOptions<'static> {
    ClientOptions { name: "Connectors", metadata_url: None, scopes: &[] }
}

fn answering(answer: Answer) -> Arc<ScriptedHttp> {
    let http = ScriptedHttp::new();
    http.on("POST", REGISTER, answer);
    http
}

fn created(document: Value) -> Answer {
    Answer::body(201, "application/json", document.to_string())
}

fn refusing(error: &str) -> Answer {
    let document = json!({"error": error, "error_description": "No\u{202e} way"});
    Answer::body(400, "application/json", document.to_string())
}

fn manual(issuer: Option<&str>) -> ClientCredentials {
    ClientCredentials {
        id: "by-hand".to_owned(),
        secret: Some("canary-secret".into()),
        issuer: issuer.map(str::to_owned),
    }
}

fn stored(redirect_uri: Option<&str>) -> Client {
    Client {
        id: "stored".to_owned(),
        secret: None,
        auth_method: AuthMethod::None,
        registration: Registration::Dynamic,
        redirect_uri: redirect_uri.map(str::to_owned),
        issuer: "https://as.test".to_owned(),
    }
}

/// The parts of a client, with its secret.
fn parts(client: Client) -> (String, Option<String>, &'static str, Registration, Option<String>, String) {
    let secret = client.secret.map(|secret| secret.expose_secret().to_owned());
    let method = client.auth_method.as_str();
    (client.id, secret, method, client.registration, client.redirect_uri, client.issuer)
}

async fn register(http: &Arc<ScriptedHttp>, server: &ServerMetadata) -> Result<Client, RegistrationError> {
    client(&exchange(http), server, Some(REDIRECT), Known::default(), &options()).await
}

/// How a client is found: its id, or the code of the failure.
async fn found(
    server: &ServerMetadata,
    known: Known<'_>,
    options: &ClientOptions<'_>,
) -> Result<String, &'static str> {
    let http = answering(created(json!({"client_id": "new"})));
    let client = client(&exchange(&http), server, Some(REDIRECT), known, options).await;
    client.map(|client| client.id).map_err(|error| error.detail())
}

#[tokio::test]
async fn a_native_client_registers_without_a_secret() {
    let http = answering(created(json!({"client_id": "id-1", "redirect_uris": [REDIRECT]})));
    let exchange = exchange(&http);
    let outcome = client(&exchange, &server_metadata(), Some(REDIRECT), Known::default(), &options()).await;
    let expected =
        ("id-1".into(), None, "none", Registration::Dynamic, Some(REDIRECT.into()), "https://as.test".into());
    assert_eq!(parts(outcome.unwrap()), expected);
    let sent = http.sent();
    assert_eq!(
        sent[0].json(),
        json!({
            "client_name": "Connectors",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "application_type": "native",
            "token_endpoint_auth_method": "none",
        })
    );
    assert_eq!((sent[0].header("content-type"), sent[0].follow_redirects), (Some("application/json"), false));
    assert_eq!(noted(&exchange), ["client_registered"]);
}

#[tokio::test]
async fn the_kind_of_application_follows_from_the_redirect_uri() {
    let cases = [
        (Some("http://localhost:3000/cb"), "native"),
        (Some("http://[::1]:3000/cb"), "native"),
        (Some("https://localhost/cb"), "native"),
        (Some("com.example.host:/cb"), "native"),
        (Some("https://host.example/cb"), "web"),
        (None, "native"),
    ];
    for (redirect_uri, expected) in cases {
        let http = answering(created(json!({"client_id": "x"})));
        let outcome =
            client(&exchange(&http), &server_metadata(), redirect_uri, Known::default(), &options()).await;
        assert_eq!(outcome.unwrap().redirect_uri.as_deref(), redirect_uri);
        assert_eq!(http.sent()[0].json()["application_type"], expected, "{redirect_uri:?}");
    }
}

#[tokio::test]
async fn a_sign_in_on_another_device_registers_for_its_own_grant() {
    let http = answering(created(json!({"client_id": "x"})));
    client(&exchange(&http), &server_metadata(), None, Known::default(), &options()).await.unwrap();
    let sent = http.sent()[0].json();
    assert_eq!(sent["grant_types"], json!(["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]));
    assert_eq!((&sent["redirect_uris"], &sent["response_types"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn the_secret_that_a_server_gives_is_kept_with_its_method() {
    let methods = Some(vec!["client_secret_post".to_owned()]);
    let server = ServerMetadata { token_endpoint_auth_methods_supported: methods, ..server_metadata() };
    let answer = json!({"client_id": "id", "client_secret": "canary", "client_secret_expires_at": 0});
    let http = answering(created(answer));
    let client = register(&http, &server).await.unwrap();
    assert!(!format!("{client:?}").contains("canary"));
    let (_, secret, method, ..) = parts(client);
    assert_eq!((secret.as_deref(), method), (Some("canary"), "client_secret_post"));
    assert_eq!(http.sent()[0].json()["token_endpoint_auth_method"], "client_secret_post");
}

#[tokio::test]
async fn a_refused_registration_is_repeated_once_with_the_least() {
    let grants = Some(vec!["authorization_code".to_owned()]);
    let server = ServerMetadata { grant_types_supported: grants, ..server_metadata() };
    let scopes = ["a".to_owned(), "b".to_owned()];
    let options = ClientOptions { scopes: &scopes, ..options() };
    let http = answering(refusing("invalid_client_metadata"));
    http.on("POST", REGISTER, created(json!({"client_id": "second"})));
    let exchange = exchange(&http);
    let outcome = client(&exchange, &server, Some(REDIRECT), Known::default(), &options).await;
    assert_eq!(outcome.unwrap().id, "second");
    let asked: Vec<_> = http.sent().iter().map(|sent| sent.json()).collect();
    assert_eq!((&asked[0]["scope"], &asked[1]["scope"]), (&json!("a b"), &Value::Null));
    assert_eq!(asked[0]["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(asked[1]["grant_types"], json!(["authorization_code"]));
    assert_eq!(noted(&exchange), ["registration_reduced", "client_registered"]);
}

#[tokio::test]
async fn a_registration_that_asks_for_the_least_already_is_not_repeated() {
    let http = answering(refusing("invalid_client_metadata"));
    let error = register(&http, &server_metadata()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "https://as.test does not register this client (invalid_client_metadata): No way"
    );
    assert_eq!(http.requested().len(), 1);
}

#[tokio::test]
async fn each_failure_of_a_registration_has_its_own_code() {
    let timeout = || TransportError::TimedOut { what: "x", limit: std::time::Duration::from_secs(1) };
    let cases = [
        (refusing("invalid_redirect_uri"), "registration_redirect_refused"),
        (refusing("invalid_client_metadata"), "registration_refused"),
        (Answer::body(422, "text/plain", "no"), "registration_refused"),
        (Answer::status(401), "registration_protected"),
        (Answer::status(403), "registration_protected"),
        (Answer::status(404), "registration_status"),
        (Answer::status(503), "registration_status"),
        (Answer::status(302), "registration_redirected"),
        (Answer::body(201, "text/html", "<html>"), "registration_not_json"),
        (Answer::body(201, "application/json", "[]"), "registration_not_json"),
        (created(json!({})), "registration_incomplete"),
        (created(json!({"client_id": ""})), "registration_incomplete"),
        (created(json!({"client_id": 7})), "registration_incomplete"),
        (created(json!({"client_id": "a\r\nb"})), "registration_incomplete"),
        (created(json!({"client_id": "x".repeat(10_000)})), "registration_incomplete"),
        (
            created(json!({"client_id": "x", "token_endpoint_auth_method": "client_secret_basic"})),
            "registration_without_secret",
        ),
        (
            created(json!({"client_id": "x", "token_endpoint_auth_method": "tls_client_auth"})),
            "client_authentication_unsupported",
        ),
        (Answer::failure(TransportError::Refused("private".to_owned())), "registration_forbidden_address"),
        (Answer::failure(timeout()), "registration_timeout"),
        (Answer::failure(TransportError::Closed { reason: "gone".to_owned() }), "registration_unreachable"),
    ];
    for (answer, expected) in cases {
        let http = answering(answer);
        let error = register(&http, &server_metadata()).await.unwrap_err();
        assert_eq!((error.detail(), http.requested().len()), (expected, 1));
        assert!(!error.expected().is_empty() && !error.remedy().is_empty());
    }
}

#[tokio::test]
async fn a_server_that_publishes_nothing_and_has_no_endpoint_offers_no_sign_in() {
    let server = ServerMetadata { assumed: true, ..server_metadata() };
    let page = || Answer::body(200, "text/html", "<html>");
    for answer in [Answer::status(404), Answer::status(405), Answer::status(401), page()] {
        let error = register(&answering(answer), &server).await.unwrap_err();
        assert_eq!(error.detail(), "sign_in_not_offered");
    }
}

#[tokio::test]
async fn ways_to_be_known_are_tried_in_the_order_of_the_specification() {
    let everything = ServerMetadata { client_id_metadata_document_supported: true, ..server_metadata() };
    let (by_hand, before) = (manual(None), stored(Some(REDIRECT)));
    let hosted = ClientOptions { metadata_url: Some(DOCUMENT), ..options() };
    let known = Known { manual: Some(&by_hand), stored: Some(&before) };
    assert_eq!(found(&everything, known, &hosted).await, Ok("by-hand".to_owned()));
    let known = Known { manual: None, ..known };
    assert_eq!(found(&everything, known, &hosted).await, Ok("stored".to_owned()));
    let known = Known::default();
    assert_eq!(found(&everything, known, &hosted).await, Ok(DOCUMENT.to_owned()));
    assert_eq!(found(&server_metadata(), known, &hosted).await, Ok("new".to_owned()));
    assert_eq!(found(&everything, known, &options()).await, Ok("new".to_owned()));
}

#[tokio::test]
async fn a_document_url_that_no_server_may_accept_is_not_used() {
    let server = ServerMetadata { client_id_metadata_document_supported: true, ..server_metadata() };
    for url in ["http://localhost/client.json", "https://host.test/", "https://host.test", "client.json"] {
        let options = ClientOptions { metadata_url: Some(url), ..options() };
        assert_eq!(found(&server, Known::default(), &options).await, Ok("new".to_owned()), "{url}");
    }
}

#[tokio::test]
async fn a_client_entered_by_hand_is_shown_to_its_own_server_only() {
    let own = manual(Some("https://as.test"));
    let known = Known { manual: Some(&own), stored: None };
    assert_eq!(found(&server_metadata(), known, &options()).await, Ok("by-hand".to_owned()));
    let http = ScriptedHttp::new();
    let exchange = exchange(&http);
    let others = manual(Some("https://other.test"));
    let known = Known { manual: Some(&others), stored: None };
    let outcome = client(&exchange, &server_metadata(), Some(REDIRECT), known, &options()).await;
    assert_eq!(outcome.unwrap_err().detail(), "client_of_another_server");
    assert_eq!((http.requested(), noted(&exchange)), (vec![], vec!["client_of_another_server!".to_owned()]));
}

#[tokio::test]
async fn a_stored_registration_holds_for_its_redirect_uri_and_issuer_only() {
    let other_redirect = stored(Some("http://127.0.0.1:1/cb"));
    let other_issuer = Client { issuer: "https://other.test".to_owned(), ..stored(Some(REDIRECT)) };
    for before in [&other_redirect, &other_issuer] {
        let known = Known { manual: None, stored: Some(before) };
        assert_eq!(found(&server_metadata(), known, &options()).await, Ok("new".to_owned()));
    }
    let closed = ServerMetadata { registration_endpoint: None, ..server_metadata() };
    let known = Known { manual: None, stored: Some(&other_redirect) };
    assert_eq!(found(&closed, known, &options()).await, Err("registration_impossible"));
}

#[tokio::test]
async fn a_stored_registration_of_unknown_redirect_uri_is_renewed_where_that_is_possible() {
    let before = stored(None);
    let known = Known { manual: None, stored: Some(&before) };
    assert_eq!(found(&server_metadata(), known, &options()).await, Ok("new".to_owned()));
    let closed = ServerMetadata { registration_endpoint: None, ..server_metadata() };
    assert_eq!(found(&closed, known, &options()).await, Ok("stored".to_owned()));
}

#[tokio::test]
async fn a_client_registered_by_hand_earlier_keeps_serving() {
    let before = Client { registration: Registration::Manual, ..stored(Some("https://elsewhere.test/cb")) };
    let known = Known { manual: None, stored: Some(&before) };
    assert_eq!(found(&server_metadata(), known, &options()).await, Ok("stored".to_owned()));
}

#[tokio::test]
async fn where_no_way_is_left_the_user_is_told_what_to_register() {
    let http = ScriptedHttp::new();
    let server = ServerMetadata {
        registration_endpoint: None,
        client_id_metadata_document_supported: true,
        ..server_metadata()
    };
    let error = register(&http, &server).await.unwrap_err();
    assert_eq!(error.detail(), "registration_impossible");
    assert_eq!(
        error.to_string(),
        "the authorization server https://as.test registers no clients by itself; it does accept client ID \
         metadata documents, but this program has none"
    );
    assert!(error.remedy().contains(REDIRECT), "{}", error.remedy());
    assert_eq!(http.requested(), Vec::<String>::new());
}

#[test]
fn stored_settings_are_a_client_of_their_issuer_or_of_their_token_endpoint() {
    let mut settings = OAuthSettings::default();
    let server = server_metadata();
    let id = |settings: &OAuthSettings, secret: Option<&str>| {
        Client::stored(settings, secret.map(Into::into), &server)
            .map(|client| (client.id, client.auth_method.as_str(), client.issuer))
    };
    assert_eq!(id(&settings, None), None);
    settings.client_id = "c".to_owned();
    assert_eq!(id(&settings, None), None);
    settings.token_endpoint = "https://as.test/token".to_owned();
    let of = |method| Some(("c".to_owned(), method, "https://as.test".to_owned()));
    assert_eq!(id(&settings, None), of("none"));
    assert_eq!(id(&settings, Some("s")), of("client_secret_basic"));
    settings.token_endpoint_auth_method = Some("client_secret_post".to_owned());
    assert_eq!(id(&settings, Some("s")), of("client_secret_post"));
    settings.issuer = Some("https://other.test".to_owned());
    assert_eq!(id(&settings, Some("s")), None);
}
