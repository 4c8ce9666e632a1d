//! Asking the user about secrets that stand in the settings.

use super::environment::written;
use super::*;
use crate::manager::ConnectorUpdate;

fn renamed(name: &str) -> ConnectorUpdate {
    ConnectorUpdate { name: Some(name.to_owned()), ..ConnectorUpdate::default() }
}

/// The variables that the user was asked about so far.
fn asked(events: &mut Events) -> Vec<Vec<String>> {
    let mut asked = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::ProtectionWanted { variables } = &event.kind {
            asked.push(variables.clone());
        }
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn the_user_is_asked_about_secrets_in_plain_text_at_the_first_write_that_somebody_can_see() {
    let (manager, host, _dialer, slug) = written(&[("A_TOKEN", "a"), ("LOG", "debug")]).await;
    settle().await;
    manager.update(&slug, renamed("Unseen")).await.unwrap();
    let mut events = manager.events().subscribe();
    assert_eq!(asked(&mut events), Vec::<Vec<String>>::new());
    manager.update(&slug, renamed("Seen")).await.unwrap();
    assert_eq!(asked(&mut events), [strings(&["A_TOKEN"])]);
    manager.update(&slug, renamed("Again")).await.unwrap();
    assert_eq!(asked(&mut events), Vec::<Vec<String>>::new());
    // Nothing is moved before the answer.
    assert_eq!(host.secrets(&slug).await, strings(&[]));
    manager.protect_env(&slug, None).await.unwrap();
    assert_eq!((asked(&mut events).len(), host.secrets(&slug).await), (0, strings(&["env:A_TOKEN=a"])));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_what_is_not_in_plain_text_or_not_written() {
    let (manager, _host, _dialer, slug) = written(&[("A_TOKEN", "a")]).await;
    let mut events = manager.events().subscribe();
    manager.reconnect(&slug).await.unwrap();
    manager.protect_env(&slug, None).await.unwrap();
    manager.update(&slug, renamed("New")).await.unwrap();
    assert_eq!(asked(&mut events), Vec::<Vec<String>>::new());
}
