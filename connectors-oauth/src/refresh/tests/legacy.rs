//! Tokens that car-connectors stored, which do not say which server they are for.

use super::*;

const WRITTEN: &str = r#"{"access_token":"a","token_type":"Bearer","refresh_token":"refresh-1"}"#;

/// A store with what car-connectors wrote.
async fn world() -> World {
    let world = World::signed_in().await;
    world.shelf.inside.put(&key(), &WRITTEN.into()).await.unwrap();
    world
}

/// What car-connectors wrote into the manifest.
fn settings(resource: Option<&str>) -> Option<OAuthSettings> {
    let mut settings = OAuthSettings::default();
    settings.token_endpoint = "https://as.test/token".into();
    settings.client_id = "old-client".into();
    settings.resource = resource.map(ToOwned::to_owned);
    Some(settings)
}

/// The token that a connector at this address sends.
async fn sent(world: &World, server: &str, resource: Option<&str>) -> Result<Option<String>, &'static str> {
    token(&world.session_at(server, &Unsaved::default(), settings(resource))).await
}

#[tokio::test(start_paused = true)]
async fn they_stay_with_the_server_that_they_are_first_used_for() {
    let world = world().await;
    assert_eq!(sent(&world, "https://mcp.test/mcp", None).await, some("a"));
    let stored = world.stored().await.unwrap().provenance;
    assert_eq!(stored.resource_server.as_deref(), Some("https://mcp.test"));
    // Whatever else belongs to them is still the manifest's to say.
    assert_eq!(stored.token_endpoint, None);
    // The connector's address is changed by hand.
    assert_eq!(sent(&world, "https://other.test/mcp", None).await, Err("tokens_for_other_server"));
    assert_eq!(sent(&world, "https://mcp.test/mcp", None).await, some("a"));
}

#[tokio::test(start_paused = true)]
async fn they_are_shown_to_no_other_server_than_that_of_their_resource() {
    let world = world().await;
    let resource = Some("https://mcp.test/");
    assert_eq!(sent(&world, "https://other.test/mcp", resource).await, Err("tokens_for_other_server"));
    assert_eq!(world.stored().await.unwrap().provenance.resource_server, None);
    assert_eq!(sent(&world, "https://mcp.test/mcp", resource).await, some("a"));
    assert!(world.stored().await.unwrap().provenance.resource_server.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_resource_behind_the_step_to_https_or_that_is_no_address_is_no_other_server() {
    for resource in ["https://mcp.test/mcp", "urn:example:mcp", "mcp"] {
        let world = world().await;
        assert_eq!(sent(&world, "http://mcp.test/mcp", Some(resource)).await, some("a"), "{resource}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_sign_in_in_the_manifest_they_are_an_earlier_connectors() {
    let world = world().await;
    // A client that the user has entered is no sign-in.
    let mut entered = OAuthSettings::default();
    entered.client_id = "new-client".into();
    for settings in [None, Some(entered)] {
        let session = world.session(&Unsaved::default(), settings);
        assert_eq!(session.look_again().await.unwrap_err().detail(), "not_signed_in");
        assert!(session.current().is_none());
    }
    assert_eq!(world.shelf.inside.get(&key()).await.unwrap().unwrap().expose_secret(), WRITTEN);
}

#[tokio::test(start_paused = true)]
async fn they_are_used_though_that_cannot_be_noted() {
    let world = world().await;
    world.shelf.is_locked_for_writing.store(true, Ordering::SeqCst);
    assert_eq!(sent(&world, "https://mcp.test/mcp", None).await, some("a"));
}
