use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::*;
use crate::fixture::{Answer, ScriptedHttp, exchange, noted};

const AS: &str = "https://as.test/token";
const IDP: &str = "https://idp.test/token";

fn offer(kind: GrantKind, secret: Option<&str>) -> Offer {
    Offer { kind, secret: secret.map(SecretString::from) }
}

fn company() -> GrantKind {
    GrantKind::EnterpriseManaged { idp_token_endpoint: IDP.into(), idp_client_id: "idp-client".into() }
}

async fn obtained(http: &Arc<ScriptedHttp>, offer: &Offer) -> (Result<String, &'static str>, Vec<String>) {
    let server = TokenServer { endpoint: Url::parse(AS).unwrap(), issuer: Some("https://as.test".into()) };
    let client = ClientAuth {
        method: AuthMethod::Basic,
        secret: Some("secret".into()),
        ..ClientAuth::public("client")
    };
    let exchange = exchange(http);
    let scopes = ["read".to_owned()];
    let resource = Some("https://mcp.test/mcp");
    let outcome = obtain(&exchange, &server, &client, offer, resource, &scopes, None).await;
    let token = outcome.map(|tokens| tokens.access_token.expose_secret().to_owned());
    (token.map_err(|error| error.detail()), noted(&exchange))
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn client_credentials_are_one_request() {
    let http = ScriptedHttp::new();
    http.on("POST", AS, Answer::json(json!({"access_token": "t"})));
    let offer = offer(GrantKind::ClientCredentials { signing_algorithm: None }, None);
    assert_eq!(obtained(&http, &offer).await, (Ok("t".into()), vec!["tokens_received".into()]));
    let expected = fields(&[
        ("grant_type", "client_credentials"),
        ("scope", "read"),
        ("resource", "https://mcp.test/mcp"),
    ]);
    assert_eq!(http.sent()[0].form(), expected);
    assert_eq!(http.sent()[0].header("authorization"), Some("Basic Y2xpZW50OnNlY3JldA=="));
}

#[tokio::test]
async fn an_assertion_is_offered_once_and_never_again() {
    let http = ScriptedHttp::new();
    let refusal = json!({"error": "invalid_grant"}).to_string();
    http.on("POST", AS, Answer::body(400, "application/json", refusal));
    let (outcome, noted) = obtained(&http, &offer(GrantKind::JwtBearer, Some("a.b.c"))).await;
    assert_eq!((outcome, noted), (Err("invalid_grant"), vec!["invalid_grant!".to_owned()]));
    assert_eq!(http.requested(), [format!("POST {AS}")]);
}

#[tokio::test]
async fn a_company_vouches_and_the_server_gives_tokens_for_that() {
    let http = ScriptedHttp::new();
    let assertion = json!({"access_token": "id.jag.jwt", "issued_token_type": ID_JAG, "token_type": "N_A"});
    http.on("POST", IDP, Answer::json(assertion)).on("POST", AS, Answer::json(json!({"access_token": "t"})));
    let (outcome, noted) = obtained(&http, &offer(company(), Some("id.token"))).await;
    assert_eq!((outcome, noted), (Ok("t".into()), vec!["tokens_received".to_owned()]));
    let first = fields(&[
        ("grant_type", TOKEN_EXCHANGE),
        ("requested_token_type", ID_JAG),
        ("audience", "https://as.test"),
        ("resource", "https://mcp.test/mcp"),
        ("scope", "read"),
        ("subject_token", "id.token"),
        ("subject_token_type", ID_TOKEN),
        ("client_id", "idp-client"),
    ]);
    let second = fields(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "id.jag.jwt"),
        ("resource", "https://mcp.test/mcp"),
    ]);
    let sent = http.sent();
    assert_eq!([sent[0].form(), sent[1].form()], [first, second]);
    // The client's secret is the authorization server's business only.
    assert_eq!(sent[0].header("authorization"), None);
    assert_eq!(sent[1].header("authorization"), Some("Basic Y2xpZW50OnNlY3JldA=="));
}

#[tokio::test]
async fn a_company_that_does_not_vouch_is_told_apart_from_the_server() {
    let refusal = Answer::body(400, "application/json", json!({"error": "invalid_grant"}).to_string());
    let other = Answer::json(
        json!({"access_token": "x", "issued_token_type": "urn:ietf:params:oauth:token-type:jwt"}),
    );
    for (answer, detail) in [
        (refusal, "identity_provider_refused"),
        (Answer::status(503), "identity_provider_unavailable"),
        (other, "identity_provider_refused"),
    ] {
        let http = ScriptedHttp::new();
        http.on("POST", IDP, answer);
        let (outcome, noted) = obtained(&http, &offer(company(), Some("id.token"))).await;
        assert_eq!((outcome, noted), (Err(detail), vec![format!("{detail}!")]));
        assert_eq!(http.requested(), [format!("POST {IDP}")]);
    }
}

#[tokio::test]
async fn an_id_token_is_not_sent_in_the_clear() {
    let http = ScriptedHttp::new();
    let kind = GrantKind::EnterpriseManaged {
        idp_token_endpoint: "http://idp.test/token".into(),
        idp_client_id: "idp-client".into(),
    };
    let (outcome, _) = obtained(&http, &offer(kind, Some("id.token"))).await;
    assert_eq!((outcome, http.sent().len()), (Err("identity_provider_address_invalid"), 0));
}

#[tokio::test]
async fn what_the_user_has_not_entered_is_missed_before_anything_is_sent() {
    let http = ScriptedHttp::new();
    for kind in [GrantKind::JwtBearer, company()] {
        assert_eq!(obtained(&http, &offer(kind, None)).await.0, Err("assertion_missing"));
    }
    assert!(http.sent().is_empty());
}

#[tokio::test]
async fn a_grant_reads_its_own_secret_and_decides_how_the_client_proves_itself() {
    let store = connectors_core::MemoryCredentialStore::default();
    let slug = Slug::verbatim("x");
    for name in ["assertion", "id_token"] {
        store.put(&CredentialKey::of_sign_in(&slug, name), &name.into()).await.unwrap();
    }
    let read = async |kind: &GrantKind| {
        let offer = Offer::load(&store, &slug, kind).await.unwrap();
        offer.secret.map(|secret| secret.expose_secret().to_owned())
    };
    let jwt = GrantKind::ClientCredentials { signing_algorithm: Some("ES256".into()) };
    assert_eq!(read(&GrantKind::JwtBearer).await.as_deref(), Some("assertion"));
    assert_eq!(read(&company()).await.as_deref(), Some("id_token"));
    assert_eq!(read(&jwt).await, None);
    let expected = AuthMethod::PrivateKeyJwt { algorithm: Some(SigningAlgorithm::Es256) };
    assert_eq!((auth_method(&jwt), auth_method(&GrantKind::JwtBearer)), (Some(expected), None));
}
