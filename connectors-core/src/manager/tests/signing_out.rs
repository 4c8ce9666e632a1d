use std::time::Duration;

use super::*;
use crate::manager::ConnectorUpdate;
use crate::view::StateName;

fn to(url: &str) -> ConnectorUpdate {
    ConnectorUpdate { url: Some(url.to_owned()), ..ConnectorUpdate::default() }
}

#[tokio::test(start_paused = true)]
async fn signing_out_gives_the_tokens_back_and_keeps_the_registration() {
    let (manager, _tools, host, sign_in, slug) = signed_in(&["a"]).await;
    let status = manager.sign_out(&slug).await.unwrap();
    assert_eq!((status.state, status.tool_count), (StateName::NeedsSignIn, 1));
    assert_eq!(sign_in.journal(), ["sign_out one", "open one"]);
    assert_eq!(sign_in.good_tokens(), 0);
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret"]);
    assert_eq!(status.oauth.unwrap().client_id, "client");
}

#[tokio::test(start_paused = true)]
async fn signing_out_gives_up_the_sign_ins_under_way() {
    let (manager, _tools, host, _sign_in, slug) = signed_in(&[]).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    manager.sign_out(&slug).await.unwrap();
    assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap_err().code(), "invalid_params");
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_gives_the_tokens_back_and_deletes_every_secret() {
    let (manager, _tools, host, sign_in, slug) = signed_in(&[]).await;
    for name in CredentialKey::SIGN_IN_NAMES {
        if name != "tokens" {
            host.put(&slug, name, "v").await;
        }
    }
    manager.remove(&slug).await.unwrap();
    assert_eq!((sign_in.good_tokens(), host.secrets(&slug).await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_removal_does_not_depend_on_the_authorization_server_or_on_who_holds_the_secrets() {
    let (manager, _tools, host, sign_in, slug) = signed_in(&[]).await;
    sign_in.hang_at_sign_out();
    let _held = host.credentials.exclusive(&slug).await.unwrap();
    let began = tokio::time::Instant::now();
    manager.remove(&slug).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    assert!(manager.list().is_empty() && host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_another_url_of_the_origin_only_the_tokens_are_dropped() {
    let (manager, tools, host, sign_in, slug) = signed_in(&[]).await;
    host.serve("http://one/other", &tools.server);
    let status = manager.update(&slug, to("http://one/other")).await.unwrap();
    assert_eq!(status.state, StateName::NeedsSignIn);
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret"]);
    let oauth = status.oauth.unwrap();
    assert_eq!((&*oauth.client_id, oauth.resource), ("client", None));
    assert_eq!(sign_in.journal(), ["open one"]);
}

#[tokio::test(start_paused = true)]
async fn at_another_origin_nothing_of_the_sign_in_is_left() {
    let (manager, tools, host, sign_in, slug) = signed_in(&[]).await;
    host.put(&slug, "assertion", "for the old server").await;
    host.serve("http://elsewhere", &tools.server);
    let status = manager.update(&slug, to("http://elsewhere")).await.unwrap();
    assert_eq!((status.state, status.oauth), (StateName::NeedsSignIn, None));
    assert_eq!((sign_in.good_tokens(), host.secrets(&slug).await), (0, vec![]));
    assert_eq!(sign_in.journal(), ["sign_out one", "open one"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_refused_gives_nothing_back() {
    let (manager, _tools, host, sign_in, slug) = signed_in(&[]).await;
    let mut update = to("http://elsewhere");
    update.name = Some(String::new());
    assert_eq!(manager.update(&slug, update).await.unwrap_err().code(), "invalid_params");
    assert_eq!((sign_in.good_tokens(), sign_in.journal().len()), (1, 0));
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret", "tokens=token-1"]);
    assert!(manager.status(&slug).unwrap().connected);
}
