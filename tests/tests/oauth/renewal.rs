//! Tokens that end, and what becomes of the connection.

use std::time::{Duration, SystemTime};

use connectors_core::{CredentialKey, StateName};
use connectors_tests::deadline::poll;
use connectors_tests::oauth::{Endpoint, Fault, GuardSetup, Reply, Setup, Verdict};
use serde_json::json;

use super::signed::Signed;

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[tokio::test]
async fn an_expired_token_is_renewed_in_the_middle_of_a_call_and_the_refresh_token_rotates() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    for refreshes in 1..=3 {
        signed.rig.server.expire_access_tokens();
        signed.echoes().await;
        assert_eq!(signed.rig.server.refreshes(), refreshes);
    }
    let issued = signed.rig.server.tokens_issued();
    let last = issued.last().expect("tokens");
    let stored = signed.host.tokens(&signed.slug).await.expect("tokens");
    assert_eq!(
        (stored["access_token"].as_str(), stored["refresh_token"].as_str()),
        (Some(&*last.access_token), last.refresh_token.as_deref())
    );
    assert_eq!((signed.rig.server.reuses(), signed.rig.server.families_revoked()), (0, 0));
    assert_eq!(signed.host.status(&signed.slug).state, StateName::Ready);
}

#[tokio::test]
async fn many_calls_with_an_expired_token_are_one_refresh() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.echoes().await;
    signed.rig.server.expire_access_tokens();
    let calls = (0..12).map(|_| signed.echo());
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.expect("an answer"), "hello");
    }
    assert_eq!((signed.rig.server.refreshes(), signed.rig.server.reuses()), (1, 0));
}

#[tokio::test]
async fn a_server_that_does_not_rotate_keeps_its_refresh_token() {
    let setup = Setup { rotation: false, ..Setup::default() };
    let signed = Signed::new(GuardSetup::default(), setup).await;
    let first = signed.host.tokens(&signed.slug).await.expect("tokens");
    signed.rig.server.expire_access_tokens();
    signed.echoes().await;
    let second = signed.host.tokens(&signed.slug).await.expect("tokens");
    assert_eq!(first["refresh_token"], second["refresh_token"]);
    assert_ne!(first["access_token"], second["access_token"]);
}

#[tokio::test]
async fn a_token_that_is_said_to_have_ended_is_renewed_before_it_is_shown() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let refused = signed.rig.guard.count(Verdict::Missing);
    signed
        .host
        .edit_tokens(&signed.slug, |tokens| {
            tokens["obtained_at"] = json!(now() - 3700);
            tokens["expires_at"] = json!(now() - 100);
        })
        .await;
    signed.echoes().await;
    assert_eq!(signed.rig.server.refreshes(), 1);
    let guard = &signed.rig.guard;
    assert_eq!((guard.count(Verdict::Expired), guard.count(Verdict::Missing)), (0, refused));
}

#[tokio::test]
async fn an_early_refresh_that_fails_keeps_the_token_that_works() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    for reply in [Reply::unavailable(None), Reply::error(400, "invalid_grant")] {
        signed.rig.server.repair();
        signed.rig.server.break_with(Fault::at(Endpoint::Token, reply));
        let before = signed.rig.server.requests_to(Endpoint::Token).len();
        signed
            .host
            .edit_tokens(&signed.slug, |tokens| {
                tokens["obtained_at"] = json!(now() - 3580);
                tokens["expires_at"] = json!(now() + 20);
            })
            .await;
        signed.rig.server.asked(Endpoint::Token, before + 1).await;
        for _ in 0..3 {
            signed.echoes().await;
        }
        assert_eq!(signed.host.status(&signed.slug).state, StateName::Ready);
        assert_eq!(signed.rig.server.refreshes(), 0);
        assert!(signed.host.tokens(&signed.slug).await.is_some());
    }
}

#[tokio::test]
async fn an_early_refresh_that_succeeds_disturbs_nobody() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed
        .host
        .edit_tokens(&signed.slug, |tokens| {
            tokens["obtained_at"] = json!(now() - 3580);
            tokens["expires_at"] = json!(now() + 20);
        })
        .await;
    signed.echoes().await;
    let server = &signed.rig.server;
    server.record().wait_for("an early refresh", |log| (log.refreshes == 1).then_some(())).await;
    poll("the new tokens", || async {
        let stored = signed.host.tokens(&signed.slug).await.expect("tokens");
        (stored["access_token"] == json!(server.tokens_issued()[1].access_token)).then_some(())
    })
    .await;
    signed.echoes().await;
    assert_eq!(signed.rig.guard.count(Verdict::Expired), 0);
}

#[tokio::test]
async fn tokens_without_a_lifetime_are_used_until_they_are_refused() {
    let patch = Fault::at(Endpoint::Token, Reply::Patched(json!({"expires_in": null})));
    let signed = Signed::new(GuardSetup::default(), Setup::default().with_fault(patch)).await;
    assert!(signed.host.tokens(&signed.slug).await.expect("tokens")["expires_at"].is_null());
    signed.echoes().await;
    assert_eq!(signed.rig.server.refreshes(), 0);
    signed.rig.server.expire_access_tokens();
    signed.echoes().await;
    assert_eq!(signed.rig.server.refreshes(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_refresh_now_is_no_reason_to_sign_in() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    for reply in [Reply::unavailable(None), Reply::html(502), Reply::status(429), Reply::Drop] {
        signed.rig.server.break_with(Fault::at(Endpoint::Token, reply.clone()));
        signed.rig.server.expire_access_tokens();
        let error = signed.echo().await.expect_err("no tokens");
        assert_eq!(error.code(), "not_connected", "{reply:?}: {error}");
        assert_ne!(signed.host.status(&signed.slug).state, StateName::NeedsSignIn, "{reply:?}");
        assert!(signed.host.tokens(&signed.slug).await.is_some());
        signed.rig.server.repair();
        poll("an answer", || async { signed.echo().await.ok() }).await;
    }
    assert_eq!((signed.rig.server.refreshes(), signed.rig.server.reuses()), (4, 0));
}

#[tokio::test]
async fn a_grant_that_was_revoked_wants_a_sign_in_and_says_why() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.rig.server.revoke_everything();
    let error = signed.echo().await.expect_err("no tokens");
    assert_eq!(error.code(), "sign_in_required", "{error}");
    let failed = signed.host.failed(&signed.slug, "refresh_token_refused");
    assert_eq!(failed.len(), 1);
    assert!(failed[0].remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()));
    signed.host.signed_in(&signed.slug).await;
    signed.echoes().await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_client_is_registered_with_anew_at_the_next_sign_in() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.rig.server.forget_clients();
    signed.rig.server.expire_access_tokens();
    let error = signed.echo().await.expect_err("no tokens");
    assert_eq!(error.code(), "sign_in_required", "{error}");
    assert_eq!(signed.host.failed(&signed.slug, "invalid_client").len(), 1);
    signed.host.signed_in(&signed.slug).await;
    signed.echoes().await;
    assert_eq!(signed.rig.server.registrations().len(), 2);
}

#[tokio::test]
async fn a_client_forgotten_between_the_page_and_the_code_is_registered_anew() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let fault =
        Fault::at(Endpoint::Token, Reply::error(401, "invalid_client")).on_grant("authorization_code");
    signed.rig.server.break_with(fault.once());
    let error = signed.host.sign_in(&signed.slug).await.expect_err("an unknown client");
    assert_eq!(error.detail(), Some("invalid_client"));
    signed.host.signed_in(&signed.slug).await;
    assert_eq!(signed.rig.server.registrations().len(), 2);
}

#[tokio::test]
async fn a_slow_token_endpoint_is_waited_for_by_all_calls_together() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.echoes().await;
    let late = Reply::Late(Duration::from_millis(300));
    signed.rig.server.break_with(Fault::at(Endpoint::Token, late));
    signed.rig.server.expire_access_tokens();
    let calls = (0..4).map(|_| signed.echo());
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.expect("an answer"), "hello");
    }
    assert_eq!(signed.rig.server.refreshes(), 1);
}

#[tokio::test]
async fn a_sign_in_is_of_use_to_a_host_that_starts_later() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let stored = signed.host.secret(&CredentialKey::tokens(&signed.slug)).await;
    signed.rig.server.expire_access_tokens();
    let status = signed.host.manager.reconnect(&signed.slug).await.expect("a status");
    assert_eq!(status.state, StateName::Ready, "{:?}", status.last_error);
    assert_eq!(signed.rig.server.refreshes(), 1);
    assert_ne!(signed.host.secret(&CredentialKey::tokens(&signed.slug)).await, stored);
}
