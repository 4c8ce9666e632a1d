use std::time::Duration;

use super::*;
use crate::definition::{ConnectorDefinition, GrantKind, OAuthException, OAuthSettings, Registration};
use crate::error::{ConnectorError, StorageError};
use crate::manager::{CallRequest, ConnectorUpdate};
use crate::sign_in::SIGN_IN_LIFETIME;
use crate::store::{ConfigStore, MockConfigStore};
use crate::view::StateName;

fn assert_begin_again(outcome: Result<crate::ConnectorStatus, ConnectorError>) {
    match outcome {
        Err(ConnectorError::Invalid(invalid)) => {
            assert_eq!(invalid.field, "state");
            assert!(invalid.problem.ends_with("; begin again"), "{}", invalid.problem);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_signs_in_and_the_connector_connects() {
    let (manager, _tools, host, sign_in, slug) = unsigned(&["a"]).await;
    host.put(&slug, "dpop_key", "old").await;
    let request =
        SignInRequest { redirect_uri: Some("http://127.0.0.1/cb".to_owned()), ..Default::default() };
    let view = manager.sign_in(&slug, request).await.unwrap();
    assert_eq!(view.authorize_url.as_deref(), Some("https://auth.test/authorize?state=state-1"));
    assert_eq!(view.redirect_uri.as_deref(), Some("http://127.0.0.1/cb"));
    assert!(view.expires_at.is_some());
    assert_eq!(manager.status(&slug).unwrap().state, StateName::NeedsSignIn);
    let status = manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert_eq!((status.state, status.tool_count), (StateName::Ready, 1));
    // The sign-in that was begun is completed, and takes the tokens into use; the new dial has another.
    assert_eq!(sign_in.journal(), ["begin one state-1", "complete one state-1", "reload one", "open one"]);
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret", "tokens=token-1"]);
    let stored = host.config.load().await.unwrap().remove(0).oauth;
    assert_eq!(stored, status.oauth);
    assert_eq!(stored.unwrap().registration, Some(Registration::Dynamic));
}

#[tokio::test(start_paused = true)]
async fn a_state_is_good_once() {
    let (manager, _tools, _host, _sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert_begin_again(manager.complete_sign_in(agreed(&view)).await);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_uses_the_state_up_and_shows_in_the_status() {
    let (manager, _tools, host, _sign_in, slug) = unsigned(&[]).await;
    let mut events = manager.events().subscribe();
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    let error = manager.complete_sign_in(declined(&view)).await.unwrap_err();
    assert_eq!(error.detail(), Some("access_denied"));
    let status = manager.status(&slug).unwrap();
    assert_eq!(
        (status.state, status.detail, status.last_error.as_deref()),
        (StateName::NeedsSignIn, Some("access_denied"), Some("the authorization server says access_denied"))
    );
    let shown = matches!(
        &events.recv().await.unwrap().kind,
        EventKind::State { state: Some(StateName::NeedsSignIn), error: Some(error), .. }
            if error.ends_with("access_denied")
    );
    assert!(shown);
    assert_begin_again(manager.complete_sign_in(agreed(&view)).await);
    assert!(host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_connector_that_cannot_be_signed_in_to_says_why() {
    let (manager, _tools, _host, sign_in, slug) = signed_in(&["a"]).await;
    sign_in.revoke_all();
    manager.reconnect(&slug).await.unwrap();
    sign_in.refuse_to_begin();
    let error = manager.sign_in(&slug, SignInRequest::default()).await.unwrap_err();
    assert_eq!(error.detail(), Some("registration_impossible"));
    let error = manager.call_tool(CallRequest::new(slug, "a", json!({}))).await.unwrap_err();
    assert_eq!(
        (error.code(), error.detail(), error.remedy().as_deref()),
        ("sign_in_required", Some("registration_impossible"), Some("begin again"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_of_nobody_and_one_that_is_too_old_are_refused() {
    let (manager, _tools, _host, _sign_in, slug) = unsigned(&[]).await;
    let unknown = SignInCallback { state: "made-up".to_owned(), ..SignInCallback::default() };
    assert_begin_again(manager.complete_sign_in(unknown).await);
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    tokio::time::advance(SIGN_IN_LIFETIME - Duration::from_secs(1)).await;
    let later = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_begin_again(manager.complete_sign_in(agreed(&view)).await);
    assert!(manager.complete_sign_in(agreed(&later)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn of_more_than_64_sign_ins_under_way_the_oldest_are_given_up() {
    let (manager, _tools, _host, _sign_in, slug) = unsigned(&[]).await;
    let mut views = Vec::new();
    for _ in 0..65 {
        views.push(manager.sign_in(&slug, SignInRequest::default()).await.unwrap());
    }
    assert_begin_again(manager.complete_sign_in(agreed(&views[0])).await);
    assert!(manager.complete_sign_in(agreed(&views[1])).await.is_ok());
    assert!(manager.complete_sign_in(agreed(&views[64])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_for_the_connector_that_its_state_was_given_to() {
    let (manager, tools, host, sign_in, one) = unsigned(&[]).await;
    host.serve("http://two", &tools.server);
    let two = manager.add(NewConnector::http("Two", "http://two", vec![])).await.unwrap().slug;
    let for_one = manager.sign_in(&one, SignInRequest::default()).await.unwrap();
    let for_two = manager.sign_in(&two, SignInRequest::default()).await.unwrap();
    sign_in.journal();
    let (two_status, one_status) =
        tokio::join!(manager.complete_sign_in(agreed(&for_two)), manager.complete_sign_in(agreed(&for_one)));
    assert_eq!((one_status.unwrap().slug, two_status.unwrap().slug), (one.clone(), two.clone()));
    let completed: Vec<_> =
        sign_in.journal().into_iter().filter(|line| line.starts_with("complete")).collect();
    assert_eq!(completed, ["complete two state-2", "complete one state-1"]);
    let resource = |slug: &Slug| manager.status(slug).unwrap().oauth.unwrap().resource.unwrap();
    assert_eq!((resource(&one), resource(&two)), ("http://one".to_owned(), "http://two".to_owned()));
    assert_eq!(host.secrets(&two).await, ["client_secret=secret", "tokens=token-1"]);
    assert_eq!(host.secrets(&one).await, ["client_secret=secret", "tokens=token-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_works_goes_on_with_the_new_tokens() {
    let (manager, tools, host, sign_in, slug) = signed_in(&["a"]).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    sign_in.revoke_all();
    manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert_eq!(sign_in.journal(), ["begin one state-2", "complete one state-2", "reload one"]);
    assert_eq!(host.secrets(&slug).await[1], "tokens=token-2");
    assert!(manager.call_tool(CallRequest::new(slug, "a", json!({}))).await.is_ok());
    assert_eq!(tools.server.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_over_the_old_tokens_is_made_anew_with_the_new_ones() {
    let (manager, tools, _host, sign_in, slug) = signed_in(&["a"]).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    manager.complete_sign_in(agreed(&view)).await.unwrap();
    // Both are gone: the refusal may be of either, so one more attempt is made, and no second.
    sign_in.revoke_all();
    let error = manager.call_tool(CallRequest::new(slug.clone(), "a", json!({}))).await.unwrap_err();
    assert_eq!(error.code(), "sign_in_required");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((manager.status(&slug).unwrap().state, tools.server.dials()), (StateName::NeedsSignIn, 3));
}

#[tokio::test(start_paused = true)]
async fn a_grant_keeps_what_the_user_has_chosen() {
    let (host, tools, sign_in) = (Host::new(), Tools::new(&[]), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    let mut definition = ConnectorDefinition::http(Slug::verbatim("one"), "One", "http://one");
    definition.oauth =
        Some(OAuthSettings { exceptions: vec![OAuthException::IssuerSlash], ..OAuthSettings::default() });
    host.config.insert(&definition).await.unwrap();
    let manager = host.guarded(&sign_in).start().await;
    let view = manager.sign_in(&definition.slug, SignInRequest::default()).await.unwrap();
    let oauth = manager.complete_sign_in(agreed(&view)).await.unwrap().oauth.unwrap();
    assert_eq!((oauth.exceptions, &*oauth.client_id), (vec![OAuthException::IssuerSlash], "client"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_cannot_be_written_leaves_the_one_before() {
    let mut config = MockConfigStore::new();
    config.expect_load().returning(|| Ok(vec![]));
    config.expect_insert().returning(|_| Ok(()));
    config.expect_compare_and_swap().returning(|_, _| {
        Err(StorageError::Io {
            action: "write",
            file: "f".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    });
    let (host, tools, sign_in) = (Host::new(), Tools::new(&[]), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    let manager = host.guarded(&sign_in).with_config(Arc::new(config)).start().await;
    let slug = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap().slug;
    for (name, value) in [("tokens", "before"), ("dpop_key", "kept")] {
        host.put(&slug, name, value).await;
    }
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap_err().code(), "storage");
    assert_eq!(host.secrets(&slug).await, ["dpop_key=kept", "tokens=before"]);
    assert_eq!(manager.status(&slug).unwrap().oauth, None);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_was_begun_at_another_address_is_void() {
    let (manager, tools, host, _sign_in, slug) = unsigned(&[]).await;
    host.serve("http://one/moved", &tools.server);
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    let update = ConnectorUpdate { url: Some("http://one/moved".to_owned()), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    assert_begin_again(manager.complete_sign_in(agreed(&view)).await);
    assert!(host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_no_user_is_needed_the_connector_is_signed_in_at_once() {
    let (host, tools, sign_in) = (Host::new(), Tools::new(&[]), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    let mut definition = ConnectorDefinition::http(Slug::verbatim("one"), "One", "http://one");
    let grant = Some(GrantKind::ClientCredentials { signing_algorithm: None });
    definition.oauth = Some(OAuthSettings { grant, ..OAuthSettings::default() });
    host.config.insert(&definition).await.unwrap();
    let manager = host.guarded(&sign_in).start().await;
    settle().await;
    assert_eq!(manager.status(&definition.slug).unwrap().state, StateName::NeedsSignIn);
    let view = manager.sign_in(&definition.slug, SignInRequest::default()).await.unwrap();
    assert_eq!((view.authorize_url, view.expires_at), (None, None));
    settle().await;
    assert!(manager.status(&definition.slug).unwrap().connected);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_sign_in_says_so() {
    let refused = async |manager: ConnectorManager, new: NewConnector| {
        let slug = manager.add(new).await.unwrap().slug;
        let begun = manager.sign_in(&slug, SignInRequest::default()).await.map(drop);
        let out = manager.sign_out(&slug).await.map(drop);
        let fields = [begun, out].map(|outcome| match outcome {
            Err(ConnectorError::Invalid(invalid)) => invalid.field,
            other => panic!("{other:?}"),
        });
        assert_eq!(fields[0], fields[1]);
        fields[0]
    };
    let sign_in = ScriptedSignIn::new();
    let without = NewConnector::http("One", "http://one", vec![]);
    assert_eq!(refused(Host::new().start().await, without).await, "slug");
    let local = NewConnector::stdio("Local", crate::StdioCommand::default());
    assert_eq!(refused(Host::new().guarded(&sign_in).start().await, local).await, "slug");
    let fixed =
        crate::authorizer::SecretHeader { name: "authorization".to_owned(), value: "Bearer x".into() };
    let fixed = NewConnector::http("Fixed", "http://one", vec![fixed]);
    assert_eq!(refused(Host::new().guarded(&sign_in).start().await, fixed).await, "headers");
    assert_eq!(sign_in.journal(), [""; 0]);
}
