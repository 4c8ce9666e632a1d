//! Moves that do not come to their end, and moves beside writers.

use std::sync::atomic::Ordering;

use secrecy::{ExposeSecret, SecretString};

use super::scripted::*;
use crate::secrets::SecretPlace::{Keychain, Vault};
use crate::secrets::marker::{Leftover, Marker};
use crate::secrets::switching::Purpose;
use crate::secrets::*;

/// Counts up to the number of steps that a process makes in a move, and has one die or fail at each.
async fn at_each_step(to: SecretPlace, fails: bool) {
    let (mut steps, mut stayed, mut moved) = (0, 0, 0);
    loop {
        let machine = Machine::new();
        machine.fill(to.other(), &SECRETS).await;
        machine.fill(to, &[("connector:b:tokens", "of another time"), ("connector:c:x", "kept")]).await;
        let at = Some(steps);
        let fate = Arc::new(match fails {
            true => Fate { fails_from: at, ..Fate::default() },
            false => Fate { dies_at: at, ..Fate::default() },
        });
        let process = machine.process(&fate);
        process.settle(to.other(), 0);
        tokio::select! {
            outcome = process.move_to(to, own()) => match outcome {
                Ok(outcome) if outcome.left == 0 => break,
                // The failure came when the secrets were moved already, or was one.
                outcome => assert!(fails, "{outcome:?}"),
            },
            () = dead(&fate, steps), if !fails => {}
        }
        steps += 1;
        drop(process);

        let next = machine.started(to.other()).await;
        let store = SwitchingStore(Arc::clone(&next));
        for (account, value) in SECRETS {
            let read = store.get(&key(account)).await.unwrap();
            assert_eq!(read.unwrap().expose_secret(), value, "step {steps}");
        }
        let other = next.place().other();
        let left = machine.place(other).content().await;
        if other == to {
            stayed += 1;
            // What was there before, under its own or a newer value.
            let names: Vec<_> = left.keys().map(String::as_str).collect();
            assert_eq!(names, ["connector:b:tokens", "connector:c:x"], "step {steps}");
        } else {
            moved += 1;
            assert_eq!(left, map(&[]), "step {steps}");
        }
        let marker = next.marker.read().unwrap();
        assert_eq!(marker.and_then(|marker| marker.leftover), None, "step {steps}");
    }
    assert!(stayed > 5 && moved > 5, "of {steps} steps {stayed} were before the switch and {moved} after it");
}

/// Returns once the call that never ends was made.
async fn dead(fate: &Fate, step: usize) {
    while fate.calls.load(Ordering::SeqCst) <= step {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_dies_at_any_step_of_a_move_leaves_every_secret_where_the_next_one_finds_it() {
    at_each_step(Vault, false).await;
    at_each_step(Keychain, false).await;
}

#[tokio::test]
async fn a_place_that_fails_at_any_step_of_a_move_loses_nothing() {
    at_each_step(Vault, true).await;
    at_each_step(Keychain, true).await;
}

#[tokio::test]
async fn what_a_move_has_left_in_a_place_that_is_locked_waits_for_another_start() {
    let mut machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    machine.fill(Keychain, &SECRETS).await;
    machine.keychain.problem = Some("the keychain is locked");
    let accounts = SECRETS.map(|(account, _)| account.to_owned()).to_vec();
    let marker = Marker::new(Vault, 1, Some(Leftover { place: Keychain, accounts }));
    // A call to the keychain would wait for the user.
    let fate = Arc::new(Fate { dies_at: Some(0), ..Fate::default() });
    let process = machine.process(&fate);
    process.marker.write(&marker).unwrap();
    process.settle(Vault, 1);
    process.finish_interrupted().await.unwrap();
    assert_eq!(process.marker.read().unwrap(), Some(marker));

    machine.keychain.problem = None;
    let process = machine.started(Vault).await;
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Vault, 1, None)));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_not_held_up_by_what_an_interrupted_move_has_left() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    machine.fill(Keychain, &SECRETS[..1]).await;
    let process = machine.process(&Arc::default());
    let accounts = vec![SECRETS[0].0.to_owned()];
    process.marker.write(&Marker::new(Vault, 1, Some(Leftover { place: Keychain, accounts }))).unwrap();
    process.settle(Vault, 1);
    // A call of another process that takes its time.
    let other = machine.process(&Arc::default());
    let (_, call) = other.enter(Purpose::Write).await.unwrap();
    let began = tokio::time::Instant::now();
    moving::finish_at_start(&process).await;
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(machine.keychain.content().await, map(&SECRETS[..1]));

    drop(call);
    let finished = async {
        while process.marker.read().unwrap() != Some(Marker::new(Vault, 1, None)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), finished).await.expect("it goes on by itself");
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_two_processes_lose_nothing_while_a_third_moves_the_secrets_to_and_fro() {
    const EACH: usize = 40;
    let machine = Machine::new();
    let counter = key("connector:a:tokens");
    machine.fill(Keychain, &[("connector:a:tokens", "0")]).await;
    let mut writers = Vec::new();
    for _ in 0..2 {
        let process = machine.started(Keychain).await;
        for _ in 0..2 {
            let (store, counter) = (SwitchingStore(Arc::clone(&process)), counter.clone());
            writers.push(tokio::spawn(async move {
                for _ in 0..EACH {
                    let _turn = store.exclusive(counter.slug()).await.unwrap();
                    let present = store.get(&counter).await.unwrap().expect("the secret is gone");
                    let next = present.expose_secret().parse::<usize>().unwrap() + 1;
                    store.put(&counter, &SecretString::from(next.to_string())).await.unwrap();
                }
            }));
        }
    }
    let mover = machine.started(Keychain).await;
    let mut moves = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let to = mover.place().other();
        assert_eq!(mover.move_to(to, own()).await.unwrap(), Moved { moved: 1, left: 0 });
        moves += 1;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(moves > 3, "{moves}");
    let [keychain, vault] = machine.contents().await;
    let expected = map(&[("connector:a:tokens", &(4 * EACH).to_string())]);
    assert!((keychain == expected) != (vault == expected), "{keychain:?} {vault:?}");
}
