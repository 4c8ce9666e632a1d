//! What becomes of tokens.

use std::time::Duration;

use connectors_tests::http_client::HttpRequest;
use connectors_tests::mcp_server::Gate;
use connectors_tests::oauth::{
    AuthMethod, Endpoint, Fault, GuardSetup, KeyPair, KnownClient, Reply, Reuse, Rig, Setup, TokenGuard,
    Verdict, follow,
};
use connectors_tests::{Script, Tool};
use serde_json::json;

use super::hand_client::{HandClient, REDIRECT, registered, send, tokens};

fn start(setup: Setup) -> Rig {
    Rig::start(Script::dual().with_tools([Tool::echo()]), GuardSetup::default(), setup)
}

/// Signed in: the client, and its tokens.
async fn signed_in(rig: &Rig) -> (HandClient, String, String) {
    let mut client = registered(rig).await;
    let callback = follow(&client.authorize_url(&[])).await;
    let (access, refresh) = tokens(&client.exchange(&callback).await);
    (client, access, refresh)
}

#[tokio::test]
async fn a_client_discovers_registers_signs_in_calls_and_refreshes() {
    let rig = start(Setup::default());
    let mut client = registered(&rig).await;
    let callback = follow(&client.authorize_url(&[("scope", "a b")])).await;
    assert_eq!((callback.redirect_uri.as_str(), callback.state.as_str()), (REDIRECT, "the-state"));
    assert_eq!(callback.iss, Some(rig.server.issuer()));
    let came = client.exchange(&callback).await;
    let (access, refresh) = tokens(&came);
    let expected = json!({
        "access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": "a b", "refresh_token": refresh,
    });
    assert_eq!((&came.body, came.header("cache-control")), (&expected, "no-store"));
    assert_eq!(client.use_token(&access, None).await.status, 200);

    rig.server.expire_access_tokens();
    let refused = client.use_token(&access, None).await;
    assert_eq!(refused.error(), (401, "invalid_token"));
    let metadata = rig.guard.metadata_url().unwrap();
    assert_eq!(
        refused.header("www-authenticate"),
        format!(r#"Bearer resource_metadata="{metadata}", error="invalid_token""#)
    );
    let (renewed, rotated) = tokens(&client.refresh(&refresh).await);
    assert!(renewed != access && rotated != refresh);
    assert_eq!(client.use_token(&renewed, None).await.status, 200);

    let verdicts: Vec<_> = rig.guard.sightings().into_iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Missing, Verdict::Good, Verdict::Expired, Verdict::Good]);
    let asked: Vec<_> = rig.server.requests().iter().map(|asked| (asked.endpoint, asked.status)).collect();
    let expected = [
        (Endpoint::Metadata, Some(200)),
        (Endpoint::Registration, Some(201)),
        (Endpoint::Authorization, Some(302)),
        (Endpoint::Token, Some(200)),
        (Endpoint::Token, Some(200)),
    ];
    assert_eq!(asked, expected);
    assert_eq!((rig.server.refreshes(), rig.server.reuses(), rig.server.families_revoked()), (1, 0, 0));
    assert_eq!(rig.server.tokens_issued()[1].resource, Some(rig.mcp.url()));
    let secrets = rig.server.secrets();
    for secret in [&access, &refresh, &renewed, &rotated, callback.code.as_ref().unwrap()] {
        assert!(secret.starts_with("canary-") && secrets.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_refresh_token_used_twice_takes_its_family_with_it() {
    let rig = start(Setup::default());
    let (mut client, _, first) = signed_in(&rig).await;
    let (access, second) = tokens(&client.refresh(&first).await);
    assert_eq!(client.refresh(&first).await.error(), (400, "invalid_grant"));
    assert_eq!((rig.server.reuses(), rig.server.families_revoked()), (1, 1));
    assert_eq!(client.refresh(&second).await.error(), (400, "invalid_grant"));
    assert_eq!(client.use_token(&access, None).await.status, 401);
    assert_eq!(rig.guard.count(Verdict::Revoked), 1);
}

#[tokio::test]
async fn reuse_can_be_refused_or_tolerated_and_rotation_left_out() {
    let rig = start(Setup { reuse: Reuse::Refused, ..Setup::default() });
    let (mut client, _, first) = signed_in(&rig).await;
    let (_, second) = tokens(&client.refresh(&first).await);
    assert_eq!(client.refresh(&first).await.error(), (400, "invalid_grant"));
    rig.server.change(|setup| setup.reuse = Reuse::Tolerated);
    assert_eq!(client.refresh(&first).await.status, 200);
    rig.server.change(|setup| setup.rotation = false);
    assert_eq!(tokens(&client.refresh(&second).await).1, "");
    assert_eq!(client.refresh(&second).await.status, 200);
    assert_eq!((rig.server.refreshes(), rig.server.families_revoked()), (4, 0));
}

#[tokio::test]
async fn a_code_is_good_once_and_with_everything_that_it_was_asked_with() {
    let rig = start(Setup::default());
    let mut client = registered(&rig).await;
    let callback = follow(&client.authorize_url(&[])).await;
    let code = callback.code.clone().unwrap();
    let right = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", super::hand_client::VERIFIER),
        ("resource", &rig.mcp.url()),
    ];
    let wrong = [
        ("code", "another", "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:7778/callback", "invalid_grant"),
        ("code_verifier", "another", "invalid_grant"),
        ("resource", "http://elsewhere/mcp", "invalid_target"),
        ("grant_type", "password", "unsupported_grant_type"),
    ];
    for (name, value, error) in wrong {
        let fields = right.map(|(key, given)| (key, if key == name { value } else { given }));
        assert_eq!(client.post("token_endpoint", &fields).await.error(), (400, error), "{name}");
    }
    let without_resource = client.post("token_endpoint", &right[..4]).await;
    assert_eq!(without_resource.error(), (400, "invalid_target"));
    let (access, _) = tokens(&client.exchange(&callback).await);
    assert_eq!(client.exchange(&callback).await.error(), (400, "invalid_grant"));
    assert_eq!(client.use_token(&access, None).await.status, 401);
}

#[tokio::test]
async fn a_token_is_good_at_its_own_resource_alone() {
    let rig = start(Setup::default());
    let guard = TokenGuard::new(&[&rig.server], GuardSetup::default());
    let other = Script::modern().guarded_by(guard.clone()).start();
    let (mut client, access, _) = signed_in(&rig).await;
    client.mcp = other.url();
    assert_eq!(client.use_token(&access, None).await.status, 401);
    assert_eq!(guard.count(Verdict::ForAnother), 1);
    assert_eq!(guard.sightings()[0].token, access);
    assert_eq!(client.use_token("made-up", None).await.status, 401);
    assert_eq!(guard.count(Verdict::Unknown), 1);
    // A server that is trusted no more.
    rig.guard.trust(&[]);
    client.mcp = rig.mcp.url();
    assert_eq!(client.use_token(&access, None).await.status, 401);
}

#[tokio::test]
async fn clients_authenticate_as_they_registered() {
    let key = KeyPair::generate();
    let setup = Setup {
        auth_methods: vec![AuthMethod::None, AuthMethod::Basic, AuthMethod::Post, AuthMethod::PrivateKeyJwt],
        clients: vec![KnownClient::with_key("keyed", key.public_jwk()).redirected_to(REDIRECT)],
        ..Setup::default()
    };
    let rig = start(setup);
    for method in ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] {
        let mut client = HandClient::discover(&rig.mcp.url()).await;
        if method == "private_key_jwt" {
            (client.id, client.key) = ("keyed".to_owned(), Some(key.clone()));
            client.method = method.to_owned();
        } else {
            client.register(method).await;
        }
        assert_eq!(client.method, method);
        assert_eq!(client.secret.starts_with("canary-secret-"), method.starts_with("client_secret"));
        let callback = follow(&client.authorize_url(&[])).await;
        for wrong in ["none", "client_secret_basic", "client_secret_post"] {
            if wrong != method {
                let mut liar = HandClient {
                    method: wrong.to_owned(),
                    metadata: client.metadata.clone(),
                    ..HandClient::knowing(&client.mcp, &client.resource, json!(null))
                };
                (liar.id, liar.secret) = (client.id.clone(), client.secret.clone());
                assert_eq!(
                    liar.exchange(&callback).await.error(),
                    (401, "invalid_client"),
                    "{method} as {wrong}"
                );
            }
        }
        assert_eq!(client.exchange(&callback).await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn what_was_given_back_forgotten_or_revoked_is_no_good() {
    let rig = start(Setup::default());
    let (mut client, access, refresh) = signed_in(&rig).await;
    assert_eq!(client.post("revocation_endpoint", &[("token", &refresh)]).await.status, 200);
    assert_eq!(rig.server.revocations(), [refresh]);
    assert_eq!(client.use_token(&access, None).await.status, 401);

    let (mut client, _, refresh) = signed_in(&rig).await;
    rig.server.revoke_everything();
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_grant"));

    let (mut client, _, refresh) = signed_in(&rig).await;
    rig.server.forget_clients();
    assert_eq!(client.refresh(&refresh).await.error(), (401, "invalid_client"));
    let page = connectors_tests::oauth::visit(&client.authorize_url(&[])).await.unwrap_err();
    assert_eq!(page.0, 400);
}

#[tokio::test]
async fn the_token_endpoint_misbehaves_as_told_and_as_often() {
    let rig = start(Setup::default());
    let (mut client, _, mut refresh) = signed_in(&rig).await;
    let only = |reply| Fault::at(Endpoint::Token, reply).on_grant("refresh_token");
    rig.server.break_with(only(Reply::unavailable(Some(2))).times(2));
    for _ in 0..2 {
        let came = client.refresh(&refresh).await;
        assert_eq!((came.status, came.header("retry-after")), (503, "2"));
    }
    (_, refresh) = tokens(&client.refresh(&refresh).await);
    rig.server.break_with(only(Reply::Patched(json!({"token_type": null, "expires_in": "60"}))).once());
    let came = client.refresh(&refresh).await;
    assert_eq!((&came.body["token_type"], &came.body["expires_in"]), (&json!(null), &json!("60")));
    (_, refresh) = tokens(&came);
    rig.server.break_with(only(Reply::html(200)).once());
    assert_eq!(client.refresh(&refresh).await.header("content-type"), "text/html; charset=utf-8");
    rig.server.break_with(only(Reply::Late(Duration::from_millis(20))).once());
    (_, refresh) = tokens(&client.refresh(&refresh).await);

    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &refresh),
        ("client_id", &client.id),
        ("resource", &client.resource),
    ];
    let request = || HttpRequest::post_form(&client.endpoint("token_endpoint"), &form).send();
    rig.server.break_with(only(Reply::Drop).once());
    assert!(request().await.is_err());
    let before = rig.server.refreshes();
    rig.server.break_with(only(Reply::LostAnswer).once());
    assert!(request().await.is_err());
    assert_eq!(rig.server.refreshes(), before + 1);
    assert_eq!(rig.server.requests_to(Endpoint::Token).last().unwrap().status, None);
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_grant"));
    assert_eq!(rig.server.families_revoked(), 1);
}

#[tokio::test]
async fn a_refresh_can_be_held_before_and_after_it_is_acted_on() {
    let rig = start(Setup::default());
    for acted_on in [false, true] {
        let (mut client, _, refresh) = signed_in(&rig).await;
        let before = rig.server.refreshes();
        let (gate, asked) = (Gate::default(), rig.server.requests_to(Endpoint::Token).len());
        let reply = if acted_on { Reply::HeldAfter(gate.clone()) } else { Reply::HeldBefore(gate.clone()) };
        rig.server.break_with(Fault::at(Endpoint::Token, reply).once());
        let pending = tokio::spawn(async move { client.refresh(&refresh).await.status });
        rig.server.asked(Endpoint::Token, asked + 1).await;
        if acted_on {
            rig.server.record().wait_for("the refresh", |log| (log.refreshes > before).then_some(())).await;
        }
        assert_eq!(rig.server.refreshes(), before + usize::from(acted_on));
        gate.open();
        assert_eq!(pending.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_tool_can_want_a_scope_of_its_own() {
    let guard = GuardSetup {
        scope: Some("read".to_owned()),
        tool_scopes: vec![("echo".to_owned(), "write".to_owned())],
        open_methods: vec!["server/discover"],
        ..GuardSetup::default()
    };
    let rig = Rig::start(Script::modern().with_tools([Tool::echo()]), guard, Setup::default());
    let mut client = registered(&rig).await;
    let callback = follow(&client.authorize_url(&[("scope", "read")])).await;
    let (access, _) = tokens(&client.exchange(&callback).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
    let refused = client.use_token(&access, Some("echo")).await;
    assert_eq!(refused.error(), (403, "insufficient_scope"));
    let metadata = rig.guard.metadata_url().unwrap();
    let challenge =
        format!(r#"Bearer resource_metadata="{metadata}", scope="read write", error="insufficient_scope""#);
    assert_eq!(refused.header("www-authenticate"), challenge);
    let callback = follow(&client.authorize_url(&[("scope", "read write")])).await;
    let (access, _) = tokens(&client.exchange(&callback).await);
    assert_eq!(client.use_token(&access, Some("echo")).await.status, 200);
}

#[tokio::test]
async fn in_the_legacy_era_the_first_message_is_challenged() {
    let rig = Rig::start(Script::legacy(), GuardSetup::default(), Setup::default());
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}});
    let request =
        || HttpRequest::post(&rig.mcp.url(), &hello).header("accept", "application/json, text/event-stream");
    assert_eq!(send(request()).await.status, 401);
    let (_, access, _) = signed_in(&rig).await;
    let welcome = send(request().header("authorization", &format!("Bearer {access}"))).await;
    assert_eq!((welcome.status, welcome.header("mcp-session-id")), (200, "session-1"));
}
