use futures_util::future::join_all;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_that_is_good_is_given_without_asking_anyone() {
    let world = World::signed_in().await;
    let session = world.process();
    assert_eq!(token(&session).await, some("access-1"));
    world.pass(3000).await;
    assert_eq!(token(&session).await, some("access-1"));
    assert_eq!((world.server.requests(), world.shelf.reads.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_sends_what_the_grant_is_bound_to() {
    let world = World::signed_in().await;
    world.pass(3600).await;
    assert_eq!(token(&world.process()).await, some("access-2"));
    let form = world.server.last_form();
    let expected = [
        ("grant_type", "refresh_token"),
        ("refresh_token", "refresh-1"),
        ("resource", "https://mcp.test/mcp"),
        ("client_id", "client"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form, expected.into_iter().collect());
    assert_eq!(world.noted(), ["tokens_received"]);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_process_share_one_refresh() {
    let world = World::signed_in().await;
    world.server.feels(server::Mood::Slow(Duration::from_secs(1)));
    world.pass(3600).await;
    let session = world.process();
    let tokens = join_all((0..50).map(|_| token(&session))).await;
    assert_eq!(tokens, vec![some("access-2"); 50]);
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_processes_with_five_tasks_each_never_use_a_refresh_token_twice() {
    let world = World::signed_in().await;
    let sessions: Vec<_> = (0..10).map(|_| world.process()).collect();
    for round in 1..=200 {
        world.pass(3600).await;
        let tasks = sessions.iter().flat_map(|session| (0..5).map(|_| token(session)));
        let tokens = join_all(tasks).await;
        let expected = some(&format!("access-{}", round + 1));
        assert!(tokens.iter().all(|token| *token == expected), "round {round}: {tokens:?}");
        assert_eq!(world.server.requests(), round);
    }
    assert_eq!(world.stored_access().await.as_deref(), Some("access-201"));
}

#[tokio::test(start_paused = true)]
async fn ten_processes_that_are_refused_at_once_share_one_refresh() {
    let world = World::signed_in().await;
    let sessions: Vec<_> = (0..10).map(|_| world.process()).collect();
    join_all(sessions.iter().map(token)).await;
    for round in 1..=100 {
        let old = format!("access-{round}");
        let outcomes = join_all(sessions.iter().map(|session| refused(session, &old))).await;
        let counted = |wanted| outcomes.iter().filter(|outcome| **outcome == Ok(wanted)).count();
        assert_eq!((counted(Refreshed::Received), counted(Refreshed::Adopted)), (1, 9));
        let tokens = join_all(sessions.iter().map(token)).await;
        assert_eq!(tokens, vec![some(&format!("access-{}", round + 1)); 10]);
        assert_eq!(world.server.requests(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn early_expired_and_refused_at_once_are_one_refresh() {
    let world = World::signed_in().await;
    let (one, two, three) = (world.process(), world.process(), world.process());
    for session in [&one, &two, &three] {
        token(session).await.unwrap();
    }
    world.pass(3570).await;
    let early = token(&one);
    let refused = refused(&two, "access-1");
    let (early, refused) = tokio::join!(early, refused);
    assert_eq!((early, refused.is_ok()), (some("access-1"), true));
    landed(&one).await;
    world.pass(60).await;
    assert_eq!(token(&three).await, some("access-2"));
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_refused_with_an_old_token_is_repeated_with_the_new_one() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    assert_eq!(refused(&session, "access-1").await, Ok(Refreshed::Received));
    assert_eq!(refused(&session, "access-1").await, Ok(Refreshed::Adopted));
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_another_process_brought_and_that_is_refused_too_is_refreshed() {
    let world = World::signed_in().await;
    let (idle, busy) = (world.process(), world.process());
    token(&idle).await.unwrap();
    token(&busy).await.unwrap();
    assert_eq!(refused(&busy, "access-1").await, Ok(Refreshed::Received));
    assert_eq!(refused(&idle, "access-1").await, Ok(Refreshed::Adopted));
    assert_eq!(refused(&idle, "access-2").await, Ok(Refreshed::Received));
    assert_eq!(token(&idle).await, some("access-3"));
    assert_eq!(world.server.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_finished_though_its_caller_has_gone() {
    let world = World::signed_in().await;
    world.server.feels(server::Mood::Slow(Duration::from_secs(5)));
    world.pass(3600).await;
    let session = world.process();
    let gone = tokio::time::timeout(Duration::from_secs(1), token(&session)).await;
    assert!(gone.is_err());
    landed(&session).await;
    assert_eq!(world.stored_access().await.as_deref(), Some("access-2"));
    assert_eq!(token(&session).await, some("access-2"));
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_after_thirty_seconds_is_waited_for() {
    let world = World::signed_in().await;
    world.server.feels(server::Mood::Slow(Duration::from_secs(30)));
    world.pass(3600).await;
    let (one, two) = (world.process(), world.process());
    assert_eq!(tokio::join!(token(&one), token(&two)), (some("access-2"), some("access-2")));
    assert_eq!(world.server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_without_the_lock_that_was_faster_is_adopted() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    world.pass(3600).await;
    world.shelf.has_no_lock.store(true, Ordering::SeqCst);
    world.server.feels(server::Mood::Slow(Duration::from_millis(500)));
    // Spends the refresh token, and writes a moment after this one has been refused.
    let other = world.process();
    let (first, second) = tokio::join!(token(&other), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.server.feels(server::Mood::Error("invalid_grant"));
        token(&session).await
    });
    assert_eq!((first, second), (some("access-2"), some("access-2")));
    assert_eq!(world.stored_access().await.as_deref(), Some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn another_grant_that_appears_during_a_refresh_is_taken_instead() {
    let world = World::signed_in().await;
    world.server.feels(server::Mood::Slow(Duration::from_secs(5)));
    world.pass(3600).await;
    let session = world.process();
    let (outcome, ()) = tokio::join!(token(&session), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.sign_in().await;
    });
    assert_eq!(outcome, some("access-3"));
    assert_eq!(world.stored_access().await.as_deref(), Some("access-3"));
}

#[tokio::test(start_paused = true)]
async fn the_same_grant_rewritten_by_another_program_is_overwritten() {
    let world = World::signed_in().await;
    world.server.feels(server::Mood::Slow(Duration::from_secs(5)));
    world.pass(3600).await;
    let session = world.process();
    let (outcome, ()) = tokio::join!(token(&session), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut record = world.stored().await.unwrap();
        record.provenance.scope = vec!["changed".into()];
        world.write(&record).await;
    });
    assert_eq!(outcome, some("access-2"));
    assert_eq!(world.stored_access().await.as_deref(), Some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_takes_a_new_sign_in_into_use() {
    let world = World::signed_in().await;
    let session = world.process();
    assert_eq!(token(&session).await, some("access-1"));
    world.sign_in().await;
    session.reload().await.unwrap();
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_refusals_on_four_threads_lose_no_grant() {
    let world = World::signed_in().await;
    let sessions: Vec<_> = (0..10).map(|_| world.process()).collect();
    for round in 1..=1000 {
        let old = format!("access-{round}");
        let tasks: Vec<_> = sessions
            .iter()
            .map(|session| {
                let (session, old) = (session.clone(), old.clone());
                tokio::spawn(async move {
                    refused(&session, &old).await?;
                    token(&session).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), some(&format!("access-{}", round + 1)));
        }
        assert_eq!(world.server.requests(), round);
    }
}
