//! Every secret that this part of the program handles, searched for in everything that it says.

use connectors_core::GrantKind;
use http::HeaderName;

use super::*;
use crate::client_auth::{AuthMethod, ClientAuth};
use crate::device::DeviceCode;
use crate::dpop::DpopKey;
use crate::fixture::{Answer, ScriptedHttp, exchange};
use crate::form::Form;
use crate::grants::{self, Offer};
use crate::revoke::Revocation;
use crate::token::{GrantRequest, TokenServer, request_tokens};

const SECRETS: [&str; 9] = [
    "canary-access",
    "canary-refresh",
    "canary-code",
    "canary-verifier",
    "canary-secret",
    "canary-assertion",
    "canary-id-token",
    "canary-device",
    "Y2xpZW50OmNhbmFyeS1zZWNyZXQ",
];

/// The worst of servers: it says everything that it was told, in the error and in its description.
fn echo(secret: &str, method: AuthMethod) -> Answer {
    let told = match method {
        AuthMethod::Basic => "canary-secret Y2xpZW50OmNhbmFyeS1zZWNyZXQ=",
        AuthMethod::Post => "canary-secret",
        _ => "",
    };
    let words = format!("bad: {secret} {told}");
    let body = serde_json::json!({"error": format!("invalid_{secret}"), "error_description": words});
    Answer::body(400, "application/json", body.to_string())
}

fn all_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        said.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    said
}

async fn everything_said() -> String {
    let mut said = String::new();
    let endpoint = "https://as.test/token";
    let server = TokenServer { endpoint: Url::parse(endpoint).unwrap(), issuer: None };
    let key = DpopKey::generate().unwrap();
    let client = |method| ClientAuth {
        method,
        secret: matches!(method, AuthMethod::Basic | AuthMethod::Post).then(|| "canary-secret".into()),
        private_key: Some(key.pem().clone()),
        ..ClientAuth::public("client")
    };
    let http = ScriptedHttp::new();
    let exchange = exchange(&http);

    let grants = [
        (
            GrantRequest::AuthorizationCode {
                code: "canary-code".into(),
                redirect_uri: "http://localhost/".into(),
                verifier: "canary-verifier".into(),
            },
            "canary-code",
        ),
        (
            GrantRequest::RefreshToken { token: "canary-refresh".into(), access_token: "at".into() },
            "canary-refresh",
        ),
        (
            GrantRequest::RefreshToken { token: "rt".into(), access_token: "canary-access".into() },
            "canary-access",
        ),
        (GrantRequest::DeviceCode("canary-device".into()), "canary-device"),
        (GrantRequest::JwtBearer { assertion: "canary-assertion".into() }, "canary-assertion"),
        (GrantRequest::ClientCredentials, "canary-secret"),
    ];
    for method in [AuthMethod::Basic, AuthMethod::Post, AuthMethod::PrivateKeyJwt { algorithm: None }] {
        for (grant, secret) in &grants {
            // It knows what it was told, and nothing else.
            if *secret == "canary-secret" && !method.needs_secret() {
                continue;
            }
            http.on("POST", endpoint, echo(secret, method));
            let client = client(method);
            let outcome = request_tokens(&exchange, &server, &client, grant, None, &[], Some(&key)).await;
            let error = outcome.unwrap_err();
            let refresh = RefreshError::from(error.clone());
            said.push_str(&format!("{grant:?} {client:?} {key:?} {}", all_of(&error)));
            said.push_str(&all_of(&refresh));
            said.push_str(&all_of(&refresh.for_connector(&slug())));
        }
    }

    let kind = GrantKind::EnterpriseManaged {
        idp_token_endpoint: "https://idp.test/token".into(),
        idp_client_id: "idp-client".into(),
    };
    let offer = Offer { kind, secret: Some("canary-id-token".into()) };
    http.on("POST", "https://idp.test/token", echo("canary-id-token", AuthMethod::None));
    let client = client(AuthMethod::Basic);
    let error = grants::obtain(&exchange, &server, &client, &offer, None, &[], None).await.unwrap_err();
    said.push_str(&format!("{offer:?} {}", all_of(&error)));

    let device = serde_json::json!({
        "device_code": "canary-device", "user_code": "ABCD", "verification_uri": "https://as.test/device",
    });
    http.on("POST", "https://as.test/device_code", Answer::json(device));
    let page = Url::parse("https://as.test/device_code").unwrap();
    let code = DeviceCode::request(&exchange, &page, endpoint, &client, None, &[]).await.unwrap();
    said.push_str(&format!("{code:?}"));
    http.on("POST", endpoint, echo("canary-device", AuthMethod::Basic));
    let error = code.wait(&exchange, &server, &client, None, Some(&key)).await.unwrap_err();
    said.push_str(&all_of(&error));

    let revocation = Revocation { endpoint: &page, audience: endpoint, client: &client };
    http.on("POST", "https://as.test/device_code", echo("canary-refresh", AuthMethod::Basic));
    let outcome = revocation.revoke(&exchange, Some(&"canary-refresh".into()), &"canary-access".into()).await;
    said.push_str(&format!("{revocation:?} {}", all_of(&outcome.unwrap_err())));
    said.push_str(&serde_json::to_string(&exchange.trace.read()).unwrap());

    // Stored tokens, and a session that fails and succeeds with them.
    let world = World::signed_in().await;
    let broken = r#"{"access_token":"canary-access","refresh_token":["canary-refresh"]}"#;
    world.shelf.inside.put(&super::key(), &broken.into()).await.unwrap();
    said.push_str(&all_of(&world.process().fresh().await.unwrap_err()));
    let mut record = world.sign_in().await;
    record.access_token = "canary-access".into();
    world.write(&record).await;
    let session = world.process();
    let held = session.fresh().await.unwrap();
    said.push_str(&format!("{session:?} {held:?} {record:?}"));
    world.server.feels(server::Mood::Odd(serde_json::json!({
        "access_token": "canary-access", "refresh_token": "canary-refresh", "expires_in": 3600,
    })));
    world.shelf.is_locked_for_writing.store(true, Ordering::SeqCst);
    let unsaved = Unsaved::default();
    let session = world.connection(&unsaved);
    session.refresh_after_refusal(&"canary-access".into()).await.unwrap();
    said.push_str(&format!("{session:?} {:?} {unsaved:?}", session.current()));
    said.push_str(&serde_json::to_string(&world.trace.read()).unwrap());
    said
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_ever_said() {
    let said = everything_said().await;
    // The search is worth something only if there was something to search.
    for word in [
        "[hidden]",
        "tokens_not_saved",
        "tokens_unreadable",
        "device_code_received",
        "GrantRequest",
        "Tokens",
    ] {
        assert!(said.contains(word), "{word} is missing");
    }
    for secret in SECRETS {
        assert!(!said.contains(secret), "a secret was said: {secret}");
    }
    assert!(!said.contains("BEGIN PRIVATE KEY"));
}

#[test]
fn headers_with_secrets_are_marked_as_such() {
    let mut form = Form::default();
    form.secret_header(HeaderName::from_static("authorization"), "Basic ", &"canary-secret".into());
    let mut client = Form::default();
    ClientAuth {
        method: AuthMethod::Basic,
        secret: Some("canary-secret".into()),
        ..ClientAuth::public("client")
    }
    .apply(&mut client, "https://as.test")
    .unwrap();
    for form in [form, client] {
        assert!(form.headers().iter().all(|(_, value)| value.is_sensitive()));
        assert_eq!(form.headers().len(), 1);
    }
}
