use std::fs;
use std::path::Path;
use std::time::Duration;

use car_engine::EventKind;
use car_eventlog::{JournalFailureInjector, JournalFailurePoint};
use connectors_core::events::{self, EventBus};
use serde_json::json;

use super::*;
use crate::car::Governance;
use crate::fixture::Fixture;

fn append(log: &mut EventLog, text: &str) {
    let data = [("text".to_owned(), json!(text))].into();
    log.append(EventKind::ActionSucceeded, Some("a"), None, data);
}

/// Appends as a call does whose arguments have this size.
async fn call(log: &mut EventLog, bounds: &Bounds, text: &str, arguments: usize) {
    append(log, text);
    bounds.count(arguments);
    bounds.keep(log).await;
}

fn texts(log: &EventLog) -> Vec<String> {
    let events = log.filter(Some(&EventKind::ActionSucceeded), None);
    events.into_iter().map(|event| event.data["text"].as_str().unwrap().to_owned()).collect()
}

/// The texts in the file, whose chain is whole.
fn read(path: &Path) -> Vec<String> {
    let log = EventLog::load_read_only(path).unwrap();
    assert_eq!(log.verify_chain(), Ok(log.len()));
    texts(&log)
}

/// The other files in the folder.
fn others(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|other| other != path).collect()
}

/// A log whose writer fails as it is told to, and bounds that are as narrow as a test wants.
fn failing(path: &Path) -> (EventLog, Bounds, JournalFailureInjector) {
    let failures = JournalFailureInjector::default();
    let log = EventLog::with_journal_failure_injector(path.to_owned(), failures.clone());
    (log.with_hash_chaining(), Bounds::new(Some(path.to_owned())), failures)
}

#[tokio::test]
async fn the_file_keeps_everything_of_every_run_in_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let mut expected = Vec::new();
    for run in 0..2 {
        let (mut log, bounds) = open(Some(path.clone()));
        // More than the log would keep of it if it were cut.
        for number in 0..2 * EVENTS {
            expected.push(format!("{run}/{number}"));
            call(&mut log, &bounds, &expected[expected.len() - 1], 0).await;
            assert!(log.len() <= EVENTS);
        }
        drop(log);
        assert_eq!(read(&path), expected);
    }
}

#[test]
fn a_line_that_is_not_whole_is_dropped_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    append(&mut open(Some(path.clone())).0, "first");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"kind\":\"acti").unwrap();
    append(&mut open(Some(path.clone())).0, "second");
    assert_eq!(read(&path), ["first", "second"]);
}

#[test]
fn a_file_that_was_tampered_with_stays_and_another_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    append(&mut open(Some(path.clone())).0, "first");
    let forged = fs::read_to_string(&path).unwrap().replace("first", "other");
    fs::write(&path, &forged).unwrap();
    append(&mut open(Some(path.clone())).0, "second");
    assert_eq!(fs::read_to_string(&path).unwrap(), forged);
    let others = others(&path);
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!(read(&others[0]), ["second"]);
}

#[tokio::test]
async fn what_could_not_be_written_once_is_in_the_file_before_memory_lets_go_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (mut log, bounds, failures) = failing(&path);
    failures.fail_next(JournalFailurePoint::AsyncWrite);
    let expected: Vec<String> = (0..=EVENTS).map(|number| number.to_string()).collect();
    for text in &expected {
        call(&mut log, &bounds, text, 0).await;
    }
    assert_eq!(log.len(), 0);
    assert_eq!(read(&path), expected);
    assert_eq!(others(&path), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn where_a_file_was_moved_away_another_takes_its_place_with_what_memory_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("journal.jsonl"), folder.path().join("journal.1"));
    let (mut log, bounds) = open(Some(path.clone()));
    call(&mut log, &bounds, "before", bounds.most + 1).await;
    fs::rename(&path, &moved).unwrap();
    call(&mut log, &bounds, "first", 0).await;
    call(&mut log, &bounds, "second", bounds.most + 1).await;
    assert_eq!(log.len(), 0);
    call(&mut log, &bounds, "third", 0).await;
    drop(log);
    assert_eq!(
        (read(&moved), read(&path)),
        (vec!["before".to_owned()], ["first", "second", "third"].map(str::to_owned).to_vec())
    );
    assert_eq!(others(&path), [moved]);
}

#[tokio::test]
async fn where_a_writer_does_not_answer_in_time_another_file_is_begun_beside_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let (mut log, bounds, failures) = failing(&path);
    failures.fail_next(JournalFailurePoint::HoldAcknowledgement);
    call(&mut log, &bounds, "first", bounds.most + 1).await;
    assert_eq!(log.len(), 0);
    call(&mut log, &bounds, "second", 0).await;
    drop(log);
    assert_eq!(read(&path), ["first"]);
    let others = others(&path);
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!(read(&others[0]), ["first", "second"]);
}

#[tokio::test]
async fn without_a_file_to_write_to_memory_is_kept_small_until_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("folder");
    fs::write(&blocked, "").unwrap();
    let path = blocked.join("journal.jsonl");
    let (mut log, bounds) = open(Some(path.clone()));
    for number in 0..3 * EVENTS {
        call(&mut log, &bounds, &number.to_string(), 0).await;
        assert!(log.len() <= EVENTS, "{} events", log.len());
    }
    // The chain goes on in the file from the oldest that is left.
    let mut expected = texts(&log);
    fs::remove_file(&blocked).unwrap();
    fs::create_dir(&blocked).unwrap();
    for number in 3 * EVENTS..6 * EVENTS {
        expected.push(number.to_string());
        call(&mut log, &bounds, &expected[expected.len() - 1], 0).await;
    }
    drop(log);
    assert_eq!(read(&path), expected);
}

#[test]
fn a_disk_that_does_not_answer_is_not_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("folder");
    fs::write(&blocked, "").unwrap();
    let path = blocked.join("journal.jsonl");
    // Nothing that blocks gets on but one.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (mut log, bounds) = open(Some(path.clone()));
        bounds.journal.as_ref().unwrap().lock().await.patience = Duration::from_millis(100);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let hanging = tokio::task::spawn_blocking(move || released.recv());
        call(&mut log, &bounds, "first", bounds.most + 1).await;
        drop(release);
        hanging.await.unwrap().unwrap_err();
        fs::remove_file(&blocked).unwrap();
        fs::create_dir(&blocked).unwrap();
        for number in 0..3 * EVENTS {
            call(&mut log, &bounds, &number.to_string(), 0).await;
            assert!(log.len() <= EVENTS, "{} events", log.len());
        }
    });
    assert_eq!(others(&path), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn large_arguments_do_not_pile_up_in_memory() {
    let text = "x".repeat(32 << 10);
    let folder = tempfile::tempdir().unwrap();
    for journal in [None, Some(folder.path().join("journal.jsonl"))] {
        let (mut log, bounds) = open(journal);
        assert_eq!(bounds.most, 32 << 20);
        // Chaining the hashes of so much takes long.
        let bounds = Bounds { most: 1 << 20, ..bounds };
        for _ in 0..80 {
            call(&mut log, &bounds, &text, size(&json!({ "text": text }))).await;
            assert!(log.len() <= 32, "{} events", log.len());
        }
    }
}

#[tokio::test]
async fn arguments_of_calls_that_are_dropped_do_not_pile_up_either() {
    let mut fixture = Fixture::with_tools().await;
    let governance = Governance::start(fixture.dispatcher.manager().clone()).await;
    let bounds = Bounds { most: 1 << 20, ..Bounds::new(None) };
    let governance = Governance { bounds: Some(Arc::new(bounds)), ..governance };
    let log = Arc::clone(&governance.runtime().log);
    fixture.dispatcher = fixture.dispatcher.with_governance(governance);
    let arguments = json!({"text": "x".repeat(256 << 10)});
    for _ in 0..20 {
        let params = json!({"slug": "one", "tool": "wait", "arguments": arguments});
        let params = serde_json::value::to_raw_value(&params).unwrap();
        let call = fixture.dispatcher.dispatch(&fixture.session, "connectors.call_tool", Some(&params));
        tokio::select! {
            answered = call => panic!("{answered:?}"),
            arrived = fixture.waiting.recv() => assert!(arrived.is_some()),
        }
    }
    let small = async || loop {
        let bytes = log.lock().await.stats().approx_event_bytes;
        if bytes <= 2 << 20 {
            return bytes;
        }
        tokio::task::yield_now().await;
    };
    let bytes = tokio::time::timeout(Duration::from_secs(30), small()).await.unwrap();
    // The last of them are still there.
    assert!(bytes > 256 << 10, "{bytes} bytes");
}

#[tokio::test]
async fn what_becomes_of_tools_does_not_pile_up_where_there_are_no_calls() {
    let log = Arc::new(Mutex::new(journal::in_memory()));
    let bounds = Arc::new(Bounds { most: 64 << 10, ..Bounds::new(None) });
    let bus = EventBus::default();
    let keeper = tokio::spawn(keep_small(Arc::downgrade(&log), bounds, bus.subscribe()));
    for _ in 0..100 {
        append(&mut *log.lock().await, &"x".repeat(4 << 10));
        bus.publish(None, events::EventKind::Catalogue { tool_count: 1, enabled_count: 1 });
        tokio::task::yield_now().await;
    }
    drop(bus);
    tokio::time::timeout(Duration::from_secs(30), keeper).await.unwrap().unwrap();
    let bytes = log.lock().await.stats().approx_event_bytes;
    assert!(bytes <= 96 << 10, "{bytes} bytes");
}

#[test]
fn a_size_is_that_of_the_text() {
    assert_eq!(size(&json!({"a": [1, "é"]})), r#"{"a":[1,"é"]}"#.len());
}
