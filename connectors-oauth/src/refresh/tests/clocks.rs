use super::server::Mood;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_a_minute_or_a_quarter_of_its_life_before_its_end() {
    for (lifetime, due) in [(3600, 3540), (100, 75), (4, 3)] {
        let world = World::signed_in().await;
        let mut record = world.stored().await.unwrap();
        record.expires_at = Some(START + lifetime);
        world.write(&record).await;
        let session = world.process();
        token(&session).await.unwrap();
        world.pass(due - 1).await;
        token(&session).await.unwrap();
        landed(&session).await;
        assert_eq!(world.server.requests(), 0, "{lifetime} s");
        world.pass(1).await;
        assert_eq!(token(&session).await, some("access-1"));
        landed(&session).await;
        assert_eq!((token(&session).await, world.server.requests()), (some("access-2"), 1), "{lifetime} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_keep_an_old_token_alive() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    world.wall.store(START - 100_000, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_before_the_start_costs_one_lifetime_at_most() {
    let world = World::signed_in().await;
    world.wall.store(START - 100_000, Ordering::Relaxed);
    let session = world.process();
    assert_eq!(token(&session).await, some("access-1"));
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_has_slept_goes_by_the_wall_clock() {
    let world = World::signed_in().await;
    let session = world.process();
    token(&session).await.unwrap();
    world.wall.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_say_when_it_ends_is_renewed_after_an_hour_and_used_until_it_is_refused() {
    let world = World::signed_in().await;
    let mut record = world.stored().await.unwrap();
    record.expires_at = None;
    world.write(&record).await;
    world.server.feels(Mood::Away);
    let session = world.process();
    token(&session).await.unwrap();
    world.pass(3599).await;
    token(&session).await.unwrap();
    assert_eq!(world.server.requests(), 0);
    world.pass(1).await;
    assert_eq!(token(&session).await, some("access-1"));
    landed(&session).await;
    world.pass(100_000).await;
    assert_eq!(token(&session).await, some("access-1"));
    landed(&session).await;
    world.server.feels(Mood::Well);
    world.pass(100).await;
    assert_eq!(refused(&session, "access-1").await, Ok(Refreshed::Received));
    assert_eq!(token(&session).await, some("access-2"));
}

#[tokio::test(start_paused = true)]
async fn what_car_connectors_wrote_is_completed_and_renewed() {
    let world = World::signed_in().await;
    let written = r#"{"access_token":"a","token_type":"bearer","refresh_token":"refresh-1","expires_at":5}"#;
    world.shelf.inside.put(&key(), &written.into()).await.unwrap();
    let secret = CredentialKey::client_secret(&slug());
    world.shelf.inside.put(&secret, &"hidden-value".into()).await.unwrap();
    let mut settings = OAuthSettings::default();
    settings.token_endpoint = "https://as.test/token".into();
    settings.client_id = "old-client".into();
    settings.has_client_secret = true;
    settings.scopes = vec!["read".into()];
    let session = world.session(&Unsaved::default(), Some(settings));
    assert_eq!(token(&session).await, some("access-2"));
    let form = world.server.last_form();
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("old-client", "hidden-value"));
    let stored = world.stored().await.unwrap();
    assert_eq!(stored.provenance.token_endpoint.as_deref(), Some("https://as.test/token"));
    assert_eq!(stored.provenance.scope, ["read"]);
}
