use super::server::Mood;
use super::*;

#[tokio::test(start_paused = true)]
async fn an_early_refresh_that_fails_does_not_cost_a_token_that_works() {
    let world = World::signed_in().await;
    let session = world.process();
    for mood in [Mood::Away, Mood::Status(503), Mood::Error("server_error"), Mood::Error("invalid_grant")] {
        world.server.feels(mood);
        token(&session).await.unwrap();
        world.pass(if world.server.requests() == 0 { 3545 } else { 10 }).await;
        assert_eq!(token(&session).await, some("access-1"));
        landed(&session).await;
        assert_eq!(token(&session).await, some("access-1"));
    }
    assert_eq!(world.server.requests(), 4);
    assert_eq!(world.stored_access().await.as_deref(), Some("access-1"));
}

#[tokio::test(start_paused = true)]
async fn early_attempts_back_off() {
    let world = World::signed_in().await;
    let session = world.process();
    world.server.feels(Mood::Status(500));
    token(&session).await.unwrap();
    world.pass(3541).await;
    for _ in 0..50 {
        assert_eq!(token(&session).await, some("access-1"));
        landed(&session).await;
        world.pass(1).await;
    }
    // At 0, 1, 3, 7, 15 and 31 s.
    assert_eq!(world.server.requests(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_never_means_signing_in_again() {
    let cases = [
        (Mood::Away, "token_endpoint_unreachable"),
        (Mood::Status(500), "token_endpoint_failed"),
        (Mood::Status(503), "token_endpoint_failed"),
        (Mood::Status(429), "token_endpoint_busy"),
        (Mood::Status(404), "token_endpoint_status"),
        (Mood::Status(200), "token_answer_malformed"),
        (Mood::Error("temporarily_unavailable"), "token_endpoint_unavailable"),
        (Mood::Slow(Duration::from_secs(100)), "token_endpoint_slow"),
    ];
    for (mood, detail) in cases {
        let world = World::signed_in().await;
        world.server.feels(mood);
        world.pass(3600).await;
        let error = world.process().fresh().await.unwrap_err();
        assert_eq!((error.detail(), error.wants_sign_in()), (detail, false));
        assert_ne!(error.for_connector(&slug()).code(), "sign_in_required");
        assert_eq!(world.stored_access().await.as_deref(), Some("access-1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_asked_again_and_not_too_often() {
    let world = World::signed_in().await;
    world.server.feels(Mood::Away);
    world.pass(3600).await;
    let session = world.process();
    for _ in 0..20 {
        assert_eq!(token(&session).await, Err("token_endpoint_unreachable"));
    }
    assert_eq!(world.server.requests(), 1);
    world.server.feels(Mood::Well);
    world.pass(1).await;
    assert_eq!(token(&session).await, some("access-2"));
    assert_eq!(world.server.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_refresh_token_means_signing_in_again_is_not_tried_twice_and_nothing_is_deleted() {
    let world = World::signed_in().await;
    world.server.forget_grants();
    world.pass(3600).await;
    let (session, other) = (world.process(), world.process());
    for _ in 0..20 {
        assert_eq!(token(&session).await, Err("refresh_token_refused"));
        world.pass(10).await;
    }
    assert_eq!(world.server.requests(), 1);
    assert_eq!(refused(&session, "access-1").await, Err("refresh_token_refused"));
    let error = other.fresh().await.unwrap_err();
    assert_eq!(
        (error.detail(), error.for_connector(&slug()).code()),
        ("refresh_token_refused", "sign_in_required")
    );
    assert_eq!(world.stored_access().await.as_deref(), Some("access-1"));
    assert!(world.noted().contains(&"refresh_token_refused"));
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_elsewhere_ends_a_lost_grant() {
    let world = World::signed_in().await;
    world.server.forget_grants();
    world.pass(3600).await;
    let session = world.process();
    assert_eq!(token(&session).await, Err("refresh_token_refused"));
    world.sign_in().await;
    world.pass(5).await;
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_elsewhere_is_found_where_there_were_no_tokens() {
    let world = World::signed_in().await;
    world.shelf.inside.delete(&key()).await.unwrap();
    let session = world.process();
    assert_eq!(token(&session).await, Ok(None));
    assert_eq!(refused(&session, "another").await, Err("not_signed_in"));
    world.sign_in().await;
    assert!(session.look_again().await.unwrap());
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_without_a_refresh_token_needs_a_sign_in_and_an_expired_one_is_tried() {
    let world = World::signed_in().await;
    let mut record = world.stored().await.unwrap();
    record.refresh_token = None;
    world.write(&record).await;
    world.pass(4000).await;
    let session = world.process();
    assert_eq!(token(&session).await, some("access-1"));
    assert_eq!(refused(&session, "access-1").await, Err("refresh_token_missing"));
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_does_not_mention_stays() {
    let world = World::signed_in().await;
    let mut record = world.stored().await.unwrap();
    record.provenance.scope = vec!["read".into()];
    world.write(&record).await;
    world.server.feels(Mood::Odd(serde_json::json!({"access_token": "plain"})));
    world.pass(3600).await;
    assert_eq!(token(&world.process()).await, some("plain"));
    let stored = world.stored().await.unwrap();
    assert_eq!(stored.refresh_token.unwrap().expose_secret(), "refresh-1");
    assert_eq!((stored.provenance.scope, stored.expires_at), (vec!["read".to_owned()], None));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_the_same_token_again_is_asked_once_per_refusal() {
    let world = World::signed_in().await;
    world.server.feels(Mood::Odd(serde_json::json!({"access_token": "access-1", "expires_in": 3600})));
    let session = world.process();
    token(&session).await.unwrap();
    assert_eq!(refused(&session, "access-1").await, Ok(Refreshed::Received));
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_that_is_over_on_arrival_is_not_a_loop() {
    let world = World::signed_in().await;
    world.server.feels(Mood::Odd(serde_json::json!({"access_token": "short", "expires_in": 1})));
    world.pass(3600).await;
    let session = world.process();
    assert_eq!(token(&session).await, some("short"));
    world.pass(1).await;
    assert_eq!(token(&session).await, some("short"));
    assert_eq!(world.server.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_locked_store_is_not_a_lost_grant() {
    let world = World::signed_in().await;
    world.shelf.lock(true);
    let session = world.process();
    let error = session.fresh().await.unwrap_err();
    assert_eq!((error.detail(), error.wants_sign_in()), ("secret_store_unavailable", false));
    assert_eq!(error.for_connector(&slug()).code(), "secret_store_unavailable");
    world.shelf.lock(false);
    world.pass(1).await;
    assert_eq!(token(&session).await, some("access-1"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_locks_later_does_not_cost_a_token_that_works() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    world.shelf.lock(true);
    world.pass(3570).await;
    assert_eq!(token(&session).await, some("access-1"));
    landed(&session).await;
    world.pass(60).await;
    assert_eq!(token(&session).await, Err("secret_store_unavailable"));
    // The refresh token is not spent while its successor could not be written.
    assert_eq!(world.server.requests(), 0);
    world.shelf.lock(false);
    world.pass(60).await;
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_the_store_does_not_take_are_used_and_written_later() {
    let world = World::signed_in().await;
    world.shelf.is_locked_for_writing.store(true, Ordering::SeqCst);
    world.pass(3600).await;
    let unsaved = Unsaved::default();
    let (session, open) = (world.connection(&unsaved), world.connection(&unsaved));
    assert_eq!(token(&session).await, some("access-2"));
    assert_eq!(world.stored_access().await.as_deref(), Some("access-1"));
    // Another connection of this process knows them too, whether it is new or has been there all along.
    assert_eq!(token(&open).await, some("access-2"));
    world.pass(3600).await;
    assert_eq!(token(&world.connection(&unsaved)).await, some("access-3"));
    assert_eq!(token(&session).await, some("access-3"));
    assert_eq!(world.server.requests(), 2);
    world.shelf.lock(false);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(world.stored_access().await.as_deref(), Some("access-3"));
    assert_eq!(format!("{unsaved:?}"), "Unsaved { count: 0 }");
    let last = world.noted().last().copied();
    assert_eq!(last, Some("tokens_saved"));
    assert!(world.noted().contains(&"tokens_not_saved"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_recovers_at_once_takes_the_tokens_at_once() {
    let world = World::signed_in().await;
    world.shelf.is_locked_for_writing.store(true, Ordering::SeqCst);
    world.pass(3600).await;
    let session = world.process();
    let (outcome, ()) = tokio::join!(token(&session), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.shelf.lock(false);
    });
    assert_eq!(outcome, some("access-2"));
    assert_eq!(world.stored_access().await.as_deref(), Some("access-2"));
    assert_eq!(world.noted(), ["tokens_received"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_kept_for_too_long_ends_the_wait() {
    let world = World::signed_in().await;
    world.pass(3600).await;
    let kept = world.shelf.inside.exclusive(&slug()).await.unwrap();
    let session = world.process();
    assert_eq!(token(&session).await, Err("secret_store_unavailable"));
    drop(kept);
    world.pass(1).await;
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_has_signed_in_the_store_is_not_needed_until_a_server_wants_tokens() {
    let world = World::signed_in().await;
    world.shelf.lock(true);
    let session = world.session(&Unsaved::default(), None);
    assert_eq!(token(&session).await, Ok(None));
    assert_eq!(world.shelf.reads.load(Ordering::SeqCst), 0);
    assert_eq!(session.look_again().await.unwrap_err().detail(), "secret_store_unavailable");
    // Somebody has signed in, in another process.
    world.shelf.lock(false);
    world.pass(1).await;
    assert!(session.look_again().await.unwrap());
    assert_eq!(token(&session).await, some("access-1"));
}

#[tokio::test(start_paused = true)]
async fn stored_values_that_are_no_use_are_kept_and_explained() {
    for (value, detail) in [
        ("", "tokens_unreadable"),
        ("{\"access_token\": 1}", "tokens_unreadable"),
        (r#"{"access_token":"a","token_type":"MAC"}"#, "tokens_unreadable"),
        (
            r#"{"access_token":"a","token_type":"DPoP","resource_server":"https://mcp.test"}"#,
            "dpop_key_unusable",
        ),
        (r#"{"access_token":"a","resource_server":"https://other.test"}"#, "tokens_for_other_server"),
        (
            r#"{"access_token":"a","refresh_token":"r","expires_at":1,"resource_server":"https://mcp.test"}"#,
            "tokens_incomplete",
        ),
        (r#"{"access_token":"a"}"#, "not_signed_in"),
        (
            r#"{"access_token":"a","refresh_token":"r","expires_at":1,"client_id":"c","token_endpoint":"http://as.test/","resource_server":"https://mcp.test"}"#,
            "token_endpoint_invalid",
        ),
    ] {
        let world = World::signed_in().await;
        world.shelf.inside.put(&key(), &value.into()).await.unwrap();
        let error = world.process().fresh().await.unwrap_err();
        assert_eq!((error.detail(), error.wants_sign_in()), (detail, true), "{value}");
        let kept = world.shelf.inside.get(&key()).await.unwrap().unwrap();
        assert_eq!(kept.expose_secret(), value);
        assert_eq!(world.server.requests(), 0);
    }
}
