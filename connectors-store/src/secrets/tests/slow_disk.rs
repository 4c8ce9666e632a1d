//! A record of moves that takes long to read.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::oneshot;

use super::scripted::*;
use crate::faults::injected::when_read;
use crate::secrets::SecretPlace::Vault;
use crate::secrets::marker::Marker;
use crate::secrets::*;

/// Makes a call that reads the record at `path`, which is not to be read before the thread that `call` runs on has done something
/// else. False if it has not.
async fn beside<T>(path: &Path, call: impl Future<Output = T>) -> (T, bool) {
    let (begun, is_begun) = oneshot::channel();
    let (done_else, is_done_else) = mpsc::channel();
    let (waited, has_waited) = mpsc::channel();
    let begun = Mutex::new(Some(begun));
    when_read(path, move || {
        let _ = begun.lock().unwrap().take().map(|begun| begun.send(()));
        let _ = waited.send(is_done_else.recv_timeout(Duration::from_secs(60)).is_ok());
    });
    let something_else = async {
        is_begun.await.unwrap();
        let _ = done_else.send(());
    };
    let (result, ()) = tokio::join!(call, something_else);
    (result, has_waited.recv().unwrap())
}

#[tokio::test]
async fn a_slow_disk_holds_up_the_calls_that_read_it_and_nothing_else() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let path = process.marker.path.clone();
    process.marker.write(&Marker::new(Vault, 1, None)).unwrap();

    let store = SwitchingStore(Arc::clone(&process));
    let (value, was_free) = beside(&path, store.get(&key("connector:a:tokens"))).await;
    assert_eq!((value.unwrap().unwrap().expose_secret(), was_free), ("one", true));

    let (place, was_free) = beside(&path, process.look()).await;
    assert_eq!((place.unwrap(), was_free), (Vault, true));

    let (moved, was_free) = beside(&path, process.move_to(Vault, own())).await;
    assert_eq!((moved.unwrap(), was_free), (Moved { moved: 0, left: 0 }, true));

    let ((), was_free) = beside(&path, async { process.finish_interrupted().await.unwrap() }).await;
    assert!(was_free);
}
