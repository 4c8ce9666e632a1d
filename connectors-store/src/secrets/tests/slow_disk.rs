//! A record of moves that takes long to read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::oneshot;

use super::scripted::*;
use crate::secrets::SecretPlace::Vault;
use crate::secrets::*;

/// Makes a call that reads the record at `path`, which is not to be read to its end before the thread that `call` runs on has
/// done something else. False if it has not.
async fn beside<T>(path: &Path, call: impl Future<Output = T>) -> (T, bool) {
    let path = path.to_owned();
    let (opened, is_opened) = oneshot::channel();
    let (done_else, is_done_else) = mpsc::channel();
    let disk = std::thread::spawn(move || {
        // Opened once somebody reads.
        let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
        let _ = opened.send(());
        let is_done_else = is_done_else.recv_timeout(Duration::from_secs(60)).is_ok();
        pipe.write_all(br#"{"version":1,"kept_in":"vault","moves":1}"#).unwrap();
        is_done_else
    });
    let something_else = async {
        is_opened.await.unwrap();
        let _ = done_else.send(());
    };
    let (result, ()) = tokio::join!(call, something_else);
    (result, disk.join().unwrap())
}

#[tokio::test]
async fn a_slow_disk_holds_up_the_calls_that_read_it_and_nothing_else() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let path = process.marker.path.clone();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());

    let store = SwitchingStore(Arc::clone(&process));
    let (value, was_free) = beside(&path, store.get(&key("connector:a:tokens"))).await;
    assert_eq!((value.unwrap().unwrap().expose_secret(), was_free), ("one", true));

    let (place, was_free) = beside(&path, process.look()).await;
    assert_eq!((place.unwrap(), was_free), (Vault, true));

    let (moved, was_free) = beside(&path, process.move_to(Vault, own())).await;
    assert_eq!((moved.unwrap(), was_free), (Moved { moved: 0, left: 0 }, true));
}
