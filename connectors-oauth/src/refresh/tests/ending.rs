use super::server::Mood;
use super::*;

#[tokio::test(start_paused = true)]
async fn signing_out_deletes_and_revokes_both_tokens() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    session.sign_out().await.unwrap();
    assert_eq!(token(&session).await, Ok(None));
    assert_eq!(world.stored_access().await, None);
    assert!(world.server.is_revoked("refresh-1") && world.server.is_revoked("access-1"));
    assert_eq!(world.noted(), ["tokens_revoked"]);
}

#[tokio::test(start_paused = true)]
async fn signing_out_waits_for_a_refresh_and_revokes_what_it_brought() {
    let world = World::signed_in().await;
    world.server.feels(Mood::Slow(Duration::from_secs(5)));
    world.pass(3600).await;
    let (session, other) = (world.process(), world.process());
    let (outcome, signed_out) = tokio::join!(token(&session), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other.sign_out().await
    });
    signed_out.unwrap();
    assert_eq!(outcome, some("access-2"));
    assert_eq!(world.stored_access().await, None);
    assert!(world.server.is_revoked("refresh-2") && world.server.is_revoked("access-2"));
    assert_eq!(refused(&session, "access-2").await, Err("not_signed_in"));
    assert_eq!(token(&session).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_during_a_refresh_does_not_come_back() {
    let world = World::signed_in().await;
    world.server.feels(Mood::Slow(Duration::from_secs(5)));
    world.pass(3600).await;
    let session = world.process();
    let (outcome, ()) = tokio::join!(token(&session), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // As a removal does it: without waiting for anyone.
        world.shelf.inside.delete(&key()).await.unwrap();
    });
    assert_eq!(outcome, Err("not_signed_in"));
    assert_eq!(world.stored_access().await, None);
    assert_eq!(token(&session).await, Ok(None));
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Nobody needs what the refresh has brought.
    assert!(world.server.is_revoked("refresh-2") && world.server.is_revoked("access-2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_it_is_unsaved_does_not_come_back() {
    for is_sign_out in [true, false] {
        let world = World::signed_in().await;
        world.shelf.is_locked_for_writing.store(true, Ordering::SeqCst);
        world.pass(3600).await;
        let session = world.process();
        assert_eq!(token(&session).await, some("access-2"));
        world.shelf.lock(false);
        if is_sign_out {
            session.sign_out().await.unwrap();
            assert!(world.server.is_revoked("refresh-2"));
        } else {
            world.shelf.inside.delete(&key()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(world.stored_access().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn signing_out_of_a_locked_store_fails_and_revokes_all_the_same() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    world.shelf.lock(true);
    session.sign_out().await.unwrap_err();
    assert!(world.server.is_revoked("refresh-1"));
    assert_eq!(token(&session).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn signing_out_where_nobody_is_signed_in_is_no_error() {
    let world = World::signed_in().await;
    world.shelf.inside.delete(&key()).await.unwrap();
    world.process().sign_out().await.unwrap();
    assert_eq!(world.server.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_revocation_is_noted() {
    let world = World::signed_in().await;
    let mut record = world.stored().await.unwrap();
    record.provenance.revocation_endpoint = None;
    world.write(&record).await;
    world.process().sign_out().await.unwrap();
    assert_eq!((world.stored_access().await, world.noted()), (None, vec!["revocation_not_offered"]));
}
