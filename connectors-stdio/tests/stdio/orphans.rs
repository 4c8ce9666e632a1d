//! That no process outlives the transport or the program that started it.
//!
//! The servers here ignore the end of their input and every request to terminate, and so do the processes that they
//! start. All of them hold a named pipe open: its reader sees the end when the last of them is gone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use connectors_core::{Limits, Transport};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::support::{self, PART};

/// A server with a child and a grandchild.
const STUBBORN: &str = r#"
    trap '' HUP INT TERM
    exec 9>"$HELD"
    (sh -c 'trap "" HUP INT TERM; while :; do sleep 1000; done' & while :; do sleep 1000; done) &
    echo '{"method":"ready"}'
    while :; do sleep 1000; done
"#;

async fn start(pipe: &Path) -> Arc<dyn Transport> {
    let held = [("HELD", pipe.to_str().unwrap())];
    let wire =
        support::dial(support::definition("sh", &["-c", STUBBORN], &held), Limits::default()).await.unwrap();
    wire.incoming().next().await.unwrap().unwrap();
    wire
}

/// A named pipe, and a signal that it has been opened and nobody holds it any more.
fn named_pipe(folder: &Path) -> (PathBuf, oneshot::Receiver<()>) {
    let pipe = folder.join("held");
    let all_gone = read(&pipe);
    (pipe, all_gone)
}

/// Makes a named pipe and reads it to its end, in a thread, which a test that fails need not wait for.
fn read(pipe: &Path) -> oneshot::Receiver<()> {
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let (done, ended) = oneshot::channel();
    let pipe = pipe.to_owned();
    std::thread::spawn(move || std::fs::read(pipe).map(|_| done.send(())));
    ended
}

async fn within_a_minute(signal: oneshot::Receiver<()>) {
    tokio::time::timeout(Duration::from_secs(60), signal).await.expect("a process is left").unwrap();
}

#[tokio::test]
async fn closing_ends_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, all_gone) = named_pipe(folder.path());
    start(&pipe).await.close().await;
    within_a_minute(all_gone).await;
}

#[tokio::test]
async fn dropping_ends_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, all_gone) = named_pipe(folder.path());
    drop(start(&pipe).await);
    within_a_minute(all_gone).await;
}

#[test]
fn the_end_of_the_runtime_ends_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, all_gone) = named_pipe(folder.path());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ending = runtime();
    let wire = ending.block_on(start(&pipe));
    drop(ending);
    runtime().block_on(within_a_minute(all_gone));
    drop(wire);
}

#[tokio::test]
async fn the_whole_tree_ends_when_this_program_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, all_gone) = named_pipe(folder.path());
    let ready = read(&folder.path().join("ready"));
    let mut program = start_program(&pipe);
    within_a_minute(ready).await;
    program.kill().unwrap();
    program.wait().unwrap();
    within_a_minute(all_gone).await;
}

fn start_program(pipe: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "orphans::program", "--nocapture"])
        .env(PART, pipe)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The program that is killed; nothing when the tests are run.
#[tokio::test]
async fn program() {
    let Some(pipe) = std::env::var_os(PART).filter(|part| Path::new(part).is_absolute()) else { return };
    let _wire = start(Path::new(&pipe)).await;
    std::fs::write(Path::new(&pipe).with_file_name("ready"), "ready").unwrap();
    std::future::pending::<()>().await;
}
