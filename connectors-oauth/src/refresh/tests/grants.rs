use connectors_core::GrantKind;

use super::server::Mood;
use super::*;
use crate::dpop::DpopKey;

async fn without_a_user(grant: GrantKind) -> World {
    let world = World::signed_in().await;
    let mut record = world.stored().await.unwrap();
    record.refresh_token = None;
    record.provenance.grant = Some(grant);
    record.provenance.scope = vec!["read".into()];
    world.write(&record).await;
    world
}

#[tokio::test(start_paused = true)]
async fn client_credentials_are_used_again_when_the_token_has_expired() {
    let world = without_a_user(GrantKind::ClientCredentials { signing_algorithm: None }).await;
    world.pass(3600).await;
    assert_eq!(token(&world.process()).await, some("access-2"));
    let form = world.server.last_form();
    assert_eq!((form["grant_type"].as_str(), form["scope"].as_str()), ("client_credentials", "read"));
    let stored = world.stored().await.unwrap();
    assert_eq!(stored.access_token.expose_secret(), "access-2");
    assert!(stored.refresh_token.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_assertion_that_is_refused_is_offered_once() {
    let world = without_a_user(GrantKind::JwtBearer).await;
    let assertion = CredentialKey::of_sign_in(&slug(), "assertion");
    world.shelf.inside.put(&assertion, &"the.jwt.itself".into()).await.unwrap();
    world.server.feels(Mood::Error("invalid_grant"));
    world.pass(3600).await;
    let session = world.process();
    for _ in 0..3 {
        assert_eq!(token(&session).await, Err("refresh_token_refused"));
        world.pass(60).await;
    }
    assert_eq!(
        (world.server.requests(), world.server.last_form()["assertion"].as_str()),
        (1, "the.jwt.itself")
    );
    // A new one, and a clean slate.
    world.server.feels(Mood::Well);
    world.shelf.inside.put(&assertion, &"another.jwt.entirely".into()).await.unwrap();
    session.reload().await.unwrap();
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_assertion_is_said_to_be_missing() {
    let world = without_a_user(GrantKind::JwtBearer).await;
    world.pass(3600).await;
    assert_eq!(token(&world.process()).await, Err("assertion_missing"));
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_bound_to_a_key_are_renewed_with_it() {
    let world = World::signed_in().await;
    let key = DpopKey::generate().unwrap();
    let name = CredentialKey::of_sign_in(&slug(), "dpop_key");
    world.shelf.inside.put(&name, key.pem()).await.unwrap();
    let mut record = world.stored().await.unwrap();
    record.token_type = TokenType::Dpop;
    world.write(&record).await;
    world.server.feels(Mood::Odd(
        serde_json::json!({"access_token": "bound", "token_type": "DPoP", "expires_in": 60}),
    ));
    world.pass(3600).await;
    let held = world.process().fresh().await.unwrap().unwrap();
    assert_eq!(held.record.token_type, TokenType::Dpop);
    assert_eq!(held.dpop.as_ref().unwrap().thumbprint(), key.thumbprint());
}
