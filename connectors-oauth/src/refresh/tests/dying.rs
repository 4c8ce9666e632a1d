//! `kill -9` at every step: a runtime is a process here, and dies with all of its tasks.

use connectors_core::MemoryCredentialStore;

use super::shelf::Halt;
use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Kills a process at a step of its refresh, and says where, and what a second process then gets. `None` where the process was
/// done before.
fn killed_at(step: usize, is_lenient: bool) -> Option<(&'static str, Result<Option<String>, &'static str>)> {
    let store = Arc::new(MemoryCredentialStore::default());
    let halt = Halt::at(step);
    let server = Server::of(is_lenient, halt.clone());
    let world = |halt: Halt| World {
        server: Arc::clone(&server),
        shelf: Shelf::of(Arc::clone(&store), halt),
        wall: Arc::new(AtomicU64::new(START)),
        trace: Trace::default(),
    };
    let first = runtime();
    let place = first.block_on(async {
        let world = world(halt.clone());
        world.sign_in().await;
        world.pass(3600).await;
        let session = world.process();
        tokio::select! {
            outcome = token(&session) => {
                assert_eq!(outcome, some("access-2"));
                None
            }
            place = halt.reached() => Some(place),
        }
    });
    drop(first);
    let after = runtime().block_on(async {
        let world = world(Halt::never());
        world.wall.fetch_add(3600, Ordering::Relaxed);
        let outcome = token(&world.process()).await;
        assert!(world.stored().await.is_some(), "something was deleted");
        outcome
    });
    place.map(|place| (place, after))
}

fn everywhere(is_lenient: bool) -> Vec<(&'static str, Result<Option<String>, &'static str>)> {
    (0..).map_while(|step| killed_at(step, is_lenient)).collect()
}

#[test]
fn a_grant_survives_a_kill_wherever_the_server_has_not_rotated_or_the_answer_is_written() {
    let lost = Err("refresh_token_refused");
    let expected = [
        ("before a read", some("access-2")),
        ("after a read", some("access-2")),
        ("before the lock", some("access-2")),
        ("after the lock", some("access-2")),
        ("before a read", some("access-2")),
        ("after a read", some("access-2")),
        ("before the request", some("access-2")),
        // The server has spent the old token, and nobody has the new one: nothing that a client does could keep it.
        ("before the answer", lost.clone()),
        ("before the write", lost),
        // Adopted.
        ("after the write", some("access-2")),
    ];
    assert_eq!(everywhere(false), expected);
}

#[test]
fn a_server_that_takes_the_last_token_once_more_loses_no_grant_to_a_kill() {
    let outcomes = everywhere(true);
    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}
