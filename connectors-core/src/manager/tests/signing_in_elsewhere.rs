//! Sign-ins that end on another device.

use super::*;
use crate::error::ConnectorError;
use crate::sign_in::SIGN_IN_LIFETIME;
use crate::view::StateName;

fn on_a_device() -> SignInRequest {
    SignInRequest { device: true, ..SignInRequest::default() }
}

fn failures(events: &mut Events) -> Vec<(bool, Option<String>)> {
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::SignIn { wanted, reason, .. } = &event.kind {
            seen.push((*wanted, reason.clone()));
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_on_another_device_completes_itself() {
    let (manager, _tools, host, sign_in, slug) = unsigned(&["a"]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    assert_eq!(view.user_code.as_deref(), Some("CODE"));
    assert!(sign_in.agree_elsewhere(&view.state));
    settle().await;
    assert!(manager.status(&slug).unwrap().connected);
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret", "tokens=token-1"]);
}

#[tokio::test(start_paused = true)]
async fn no_redirect_completes_a_sign_in_on_another_device() {
    let (manager, _tools, _host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap_err().code(), "invalid_params");
    assert!(sign_in.agree_elsewhere(&view.state), "and it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_new_connector_comes_into_being_when_the_other_device_is_done() {
    let (host, tools, sign_in) = (Host::new(), Tools::new(&["a"]), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    let manager = host.guarded(&sign_in).start().await;
    let new = NewConnector::http("One", "http://one", vec![]);
    let view = manager.authenticate(new, on_a_device()).await.unwrap();
    settle().await;
    assert!(manager.list().is_empty());
    assert!(sign_in.agree_elsewhere(&view.state));
    settle().await;
    assert!(manager.list()[0].connected);
}

#[tokio::test(start_paused = true)]
async fn a_removal_ends_the_wait_for_the_other_device() {
    let (manager, _tools, host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    manager.remove(&slug).await.unwrap();
    settle().await;
    assert!(!sign_in.agree_elsewhere(&view.state), "somebody still waits");
    settle().await;
    assert!(manager.list().is_empty() && host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_agreement_that_crosses_a_removal_leaves_nothing_behind() {
    let (manager, _tools, host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    assert!(sign_in.agree_elsewhere(&view.state));
    manager.remove(&slug).await.unwrap();
    settle().await;
    assert!(manager.list().is_empty() && host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_and_the_end_of_the_manager_end_the_wait() {
    let (manager, _tools, _host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    manager.shutdown().await;
    settle().await;
    assert!(!sign_in.agree_elsewhere(&view.state));

    let (manager, _tools, _host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    drop(manager);
    settle().await;
    assert!(!sign_in.agree_elsewhere(&view.state));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_on_the_other_device_is_announced_and_shown() {
    let (manager, _tools, _host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    let mut events = manager.events().subscribe();
    let error = ConnectorError::Authorization {
        slug: slug.clone(),
        detail: "access_denied",
        problem: "you declined".to_owned(),
        remedy: "begin again".into(),
    };
    assert!(sign_in.refuse_elsewhere(&view.state, error));
    settle().await;
    assert_eq!(failures(&mut events), [(true, Some("you declined".to_owned()))]);
    let status = manager.status(&slug).unwrap();
    assert_eq!((status.state, status.detail), (StateName::NeedsSignIn, Some("access_denied")));
}

#[tokio::test(start_paused = true)]
async fn the_other_device_is_not_waited_for_longer_than_a_sign_in_lives() {
    let (manager, _tools, _host, sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, on_a_device()).await.unwrap();
    let mut events = manager.events().subscribe();
    tokio::time::sleep(SIGN_IN_LIFETIME).await;
    settle().await;
    assert!(!sign_in.agree_elsewhere(&view.state));
    assert_eq!(failures(&mut events), [(true, Some("the sign-in took longer than 600s".to_owned()))]);
}
