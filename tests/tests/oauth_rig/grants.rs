//! Tokens without a redirect.

use connectors_tests::oauth::{
    AuthMethod, AuthorizationServer, Device, Endpoint, GuardSetup, KeyPair, KnownClient, Rig, Setup,
    TrustedIssuer, visit,
};
use connectors_tests::{Script, Tool};
use serde_json::json;

use super::hand_client::{HandClient, get, registered, tokens};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn start(setup: Setup) -> Rig {
    Rig::start(Script::modern().with_tools([Tool::echo()]), GuardSetup::default(), setup)
}

async fn unregistered(rig: &Rig, id: &str, secret: &str, method: &str) -> HandClient {
    let mut client = HandClient::discover(&rig.mcp.url()).await;
    (client.id, client.secret, client.method) = (id.to_owned(), secret.to_owned(), method.to_owned());
    client
}

#[tokio::test]
async fn a_device_polls_until_its_user_has_decided() {
    let device = Device { approved: false, first_polls: vec!["slow_down"], ..Device::default() };
    let rig = start(Setup { device: Some(device), ..Setup::default() });
    let mut client = registered(&rig).await;
    let resource = client.resource.clone();
    let started = client.post("device_authorization_endpoint", &[("resource", &resource)]).await.body;
    let code = started["device_code"].as_str().unwrap().to_owned();
    assert!(code.starts_with("canary-device-"));
    let poll = [("grant_type", DEVICE), ("device_code", &code)];
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "slow_down"));
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "authorization_pending"));
    let page = visit(started["verification_uri_complete"].as_str().unwrap()).await.unwrap_err();
    assert_eq!(page.0, 200);
    let (access, refresh) = tokens(&client.post("token_endpoint", &poll).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
    assert_eq!(client.refresh(&refresh).await.status, 200);
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "invalid_grant"));

    let started = client.post("device_authorization_endpoint", &[("resource", &resource)]).await.body;
    let code = started["device_code"].as_str().unwrap().to_owned();
    let poll = [("grant_type", DEVICE), ("device_code", &code)];
    client.post("token_endpoint", &poll).await;
    rig.server.decide_device(started["user_code"].as_str().unwrap(), false);
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "access_denied"));
    rig.server.change(|setup| setup.device.as_mut().unwrap().lifetime = std::time::Duration::ZERO);
    let started = client.post("device_authorization_endpoint", &[("resource", &resource)]).await.body;
    let code = started["device_code"].as_str().unwrap().to_owned();
    let poll = [("grant_type", DEVICE), ("device_code", &code)];
    client.post("token_endpoint", &poll).await;
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "expired_token"));
}

#[tokio::test]
async fn a_confidential_client_gets_tokens_for_itself() {
    let key = KeyPair::generate();
    let clients = vec![
        KnownClient::confidential("service", "s3cr:t %", AuthMethod::Post),
        KnownClient::with_key("keyed", key.public_jwk()),
        KnownClient::public("public", "http://127.0.0.1/"),
    ];
    let auth_methods = vec![AuthMethod::None, AuthMethod::Post, AuthMethod::PrivateKeyJwt];
    let rig = start(Setup { clients, auth_methods, ..Setup::default() });
    let fields = [("grant_type", "client_credentials"), ("resource", &rig.mcp.url())];
    let mut service = unregistered(&rig, "service", "s3cr:t %", "client_secret_post").await;
    let (access, refresh) = tokens(&service.post("token_endpoint", &fields).await);
    assert_eq!((service.use_token(&access, None).await.status, refresh.as_str()), (200, ""));
    let mut keyed = unregistered(&rig, "keyed", "", "private_key_jwt").await;
    keyed.key = Some(key);
    assert_eq!(keyed.post("token_endpoint", &fields).await.status, 200);
    keyed.key = Some(KeyPair::generate());
    assert_eq!(keyed.post("token_endpoint", &fields).await.error(), (401, "invalid_client"));
    let mut public = unregistered(&rig, "public", "", "none").await;
    assert_eq!(public.post("token_endpoint", &fields).await.error(), (400, "unauthorized_client"));
}

#[tokio::test]
async fn an_identity_token_becomes_an_id_jag_and_that_an_access_token() {
    let idp = AuthorizationServer::start(Setup {
        clients: vec![KnownClient::public("at-idp", "http://127.0.0.1/")],
        id_tokens: vec!["the-identity".to_owned()],
        ..Setup::default()
    });
    let setup = Setup {
        clients: vec![KnownClient::confidential("at-server", "secret", AuthMethod::Basic)],
        trusts: vec![idp.as_trusted()],
        ..Setup::default()
    };
    let rig = start(setup);
    let metadata = get(&idp.url("/.well-known/oauth-authorization-server")).await.body;
    let mut at_idp = HandClient::knowing("", "", metadata);
    at_idp.id = "at-server".to_owned();
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", "the-identity"),
    ];
    let (audience, resource) = (rig.server.issuer(), rig.mcp.url());
    fields.extend([("audience", audience.as_str()), ("resource", &resource)]);
    assert_eq!(at_idp.post("token_endpoint", &fields).await.error(), (401, "invalid_client"));
    at_idp.id = "at-idp".to_owned();
    let came = at_idp.post("token_endpoint", &fields).await;
    assert_eq!((came.status, &came.body["token_type"]), (200, &json!("N_A")));

    // It names the client that it is for, as the identity provider knows it.
    let id_jag = came.body["access_token"].as_str().unwrap().to_owned();
    let mut client = unregistered(&rig, "at-server", "secret", "client_secret_basic").await;
    let fields = [("grant_type", JWT_BEARER), ("assertion", &id_jag)];
    assert_eq!(client.post("token_endpoint", &fields).await.error(), (400, "invalid_grant"));
    idp.change(|setup| setup.id_jag_clients = vec![("at-idp".to_owned(), "at-server".to_owned())]);
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:id-jag"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", "the-identity"),
        ("audience", &audience),
        ("resource", &resource),
    ];
    let came = at_idp.post("token_endpoint", &fields).await;
    let id_jag = came.body["access_token"].as_str().unwrap().to_owned();
    let fields = [("grant_type", JWT_BEARER), ("assertion", &id_jag)];
    let (access, _) = tokens(&client.post("token_endpoint", &fields).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
    assert_eq!(client.post("token_endpoint", &fields).await.error(), (400, "invalid_grant"));
    assert_eq!(idp.requests_to(Endpoint::Token).len(), 3);
}

#[tokio::test]
async fn a_workload_shows_its_own_token() {
    let (platform, other) = (KeyPair::generate(), KeyPair::generate());
    let trusted = TrustedIssuer { issuer: "https://platform.example".to_owned(), key: platform.public_jwk() };
    let setup = Setup {
        clients: vec![KnownClient::public("workload", "http://127.0.0.1/")],
        trusts: vec![trusted],
        ..Setup::default()
    };
    let rig = start(setup);
    let mut client = unregistered(&rig, "workload", "", "none").await;
    let claims = |audience: &str, exp: u64| json!({"iss": "https://platform.example", "sub": "job", "aud": audience, "exp": exp, "jti": format!("{audience}{exp}")});
    let far = 4_000_000_000;
    let resource = client.resource.clone();
    let cases = [
        (platform.sign("JWT", &claims(&rig.server.issuer(), far)), 200),
        (platform.sign("JWT", &claims("https://elsewhere.example", far)), 400),
        (platform.sign("JWT", &claims(&rig.server.issuer(), 1)), 400),
        (other.sign("JWT", &claims(&rig.server.issuer(), far)), 400),
    ];
    for (assertion, expected) in cases {
        let fields = [("grant_type", JWT_BEARER), ("assertion", &assertion), ("resource", &resource)];
        let came = client.post("token_endpoint", &fields).await;
        assert_eq!(came.status, expected, "{}", came.body);
        assert!(rig.server.secrets().contains(&assertion));
    }
}
