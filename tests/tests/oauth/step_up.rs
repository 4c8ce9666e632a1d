//! Calls that need more than was granted.

use std::sync::Arc;

use connectors_core::{ConnectorEvent, EventKind, StateName};
use connectors_tests::deadline::soon;
use connectors_tests::oauth::{Consent, GuardSetup, Setup, Verdict, follow};
use tokio::sync::broadcast::Receiver;

use super::signed::{Signed, page};

fn guard() -> GuardSetup {
    GuardSetup {
        challenge_scope: Some("read".to_owned()),
        tool_scopes: vec![("echo".to_owned(), "write".to_owned())],
        ..GuardSetup::default()
    }
}

async fn wanted(events: &mut Receiver<Arc<ConnectorEvent>>) -> (bool, Vec<String>) {
    soon("an announcement", async {
        loop {
            let event = events.recv().await.expect("events");
            if let EventKind::SignIn { wanted, scopes, .. } = &event.kind {
                return (*wanted, scopes.clone());
            }
        }
    })
    .await
}

/// Calls that the server has let in.
fn admitted(signed: &Signed) -> usize {
    let sightings = signed.rig.guard.sightings();
    sightings.iter().filter(|one| one.method == "tools/call" && one.verdict == Verdict::Good).count()
}

#[tokio::test]
async fn calls_wait_for_more_consent_with_one_announcement_and_go_on() {
    let signed = Signed::new(guard(), Setup::default()).await;
    let (host, slug) = (&signed.host, &signed.slug);
    host.manager.enable_tools(slug, &["echo".to_owned()]).await.expect("a selection");
    let mut events = host.manager.events().subscribe();
    let calls: Vec<_> = (0..3).map(|n| host.begin_call(slug, &format!("{n}"))).collect();
    signed.rig.guard.seen(Verdict::InsufficientScope, 3).await;
    let scopes = vec!["read".to_owned(), "write".to_owned()];
    assert_eq!(wanted(&mut events).await, (true, scopes.clone()));
    assert_eq!(host.status(slug).sign_in_scopes, scopes);
    assert_eq!(host.status(slug).state, StateName::Ready);
    let view = host.begin(slug).await.expect("a page");
    assert_eq!(view.scopes, scopes);
    host.complete(&follow(&page(&view)).await).await.expect("a sign-in");
    for call in calls {
        soon("a call", call).await.expect("no panic").expect("an answer");
    }
    assert_eq!(wanted(&mut events).await, (false, Vec::new()));
    let mut others = 0;
    while let Ok(event) = events.try_recv() {
        others += usize::from(matches!(event.kind, EventKind::SignIn { .. }));
    }
    assert_eq!(others, 0);
    let issued = signed.rig.server.tokens_issued();
    assert_eq!(issued.last().expect("tokens").scope, scopes);
    assert_eq!(admitted(&signed), 3);
}

#[tokio::test]
async fn a_user_who_grants_less_than_is_needed_ends_the_call_and_no_loop_begins() {
    let signed = Signed::new(guard(), Setup::default()).await;
    let (host, slug) = (&signed.host, &signed.slug);
    host.manager.enable_tools(slug, &["echo".to_owned()]).await.expect("a selection");
    let call = host.begin_call(slug, "x");
    signed.rig.guard.seen(Verdict::InsufficientScope, 1).await;
    host.wants_more(slug).await;
    signed.rig.server.change(|setup| setup.consent = Consent::GrantedFor(vec!["read".to_owned()]));
    host.sign_in(slug).await.expect("a sign-in");
    let error = soon("the call", call).await.expect("no panic").expect_err("too little");
    assert!(signed.rig.guard.count(Verdict::InsufficientScope) <= 3, "{error}");
    assert_eq!(admitted(&signed), 0);
    assert_eq!(host.status(slug).state, StateName::Ready);
}
