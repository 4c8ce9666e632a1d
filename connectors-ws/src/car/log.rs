//! The event log of the daemon's runtime: where it is kept, and how much of it in memory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use car_engine::EventLog;
use car_eventlog::RetentionPolicy;
use serde::Serialize;

/// Events that are kept in memory at most.
const EVENTS: usize = 2_000;

/// Bytes of arguments, roughly, that they may hold.
const BYTES: usize = 32 << 20;

/// What a call adds to the log beside its arguments, roughly, in bytes.
const CALL: usize = 4 << 10;

/// Opens the log that is kept in a file as well, or in memory only. Its events are chained by hashes; a file that is there is
/// continued.
///
/// A file that cannot be continued (it has been tampered with, say) is left as it is, and another is begun beside it.
pub(super) fn open(journal: Option<PathBuf>) -> (EventLog, Bounds) {
    let has_journal = journal.is_some();
    let mut log = match journal {
        Some(path) => with_journal(path),
        None => EventLog::new(),
    };
    if !has_journal {
        log.set_retention(Some(RetentionPolicy { max_events: Some(EVENTS), ..RetentionPolicy::default() }));
    }
    (log.with_hash_chaining(), Bounds { has_journal, most: BYTES, bytes: AtomicUsize::new(0) })
}

fn with_journal(path: PathBuf) -> EventLog {
    if !path.try_exists().unwrap_or(true) {
        return EventLog::with_journal(path);
    }
    match continued(&path) {
        Ok(log) => log,
        Err(error) => {
            let other = beside(&path);
            tracing::error!(journal = %path.display(), begun = %other.display(), %error,
                "the journal cannot be continued; another is begun");
            EventLog::with_journal(other)
        }
    }
}

fn continued(path: &Path) -> io::Result<EventLog> {
    if is_torn(path)? {
        // Mended by putting another file in its place: before there is a writer that has it open.
        drop(EventLog::load_for_reconciliation(path)?);
    }
    let mut log = EventLog::load(path)?;
    // It is in the file; the chain goes on all the same.
    log.clear();
    Ok(log)
}

/// True if the last line is not whole, as after a loss of power.
fn is_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if fs::metadata(path)?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn beside(path: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut name = OsString::from(path);
    name.push(format!(".{}", now.as_nanos()));
    name.into()
}

/// Keeps the log from growing without end in memory.
#[derive(Debug)]
pub(super) struct Bounds {
    has_journal: bool,
    /// Bytes of arguments, roughly, that the events may hold.
    most: usize,
    /// What has come since the last look, roughly, and what was there then.
    bytes: AtomicUsize,
}

impl Bounds {
    /// To be called after each call, with the size of its arguments.
    pub(super) fn keep(&self, log: &mut EventLog, arguments: usize) {
        let added = arguments.saturating_add(CALL);
        let bytes = self.bytes.fetch_add(added, Ordering::Relaxed).saturating_add(added);
        if self.has_journal {
            // Cutting off the oldest would cut them off the file too.
            if log.len() > EVENTS || bytes > self.most {
                log.clear();
                self.bytes.store(0, Ordering::Relaxed);
            }
        } else if bytes > self.most {
            self.bytes.store(shrink(log, self.most / 2), Ordering::Relaxed);
        }
    }
}

/// Drops the older half of the events until the rest is small enough; the size of it.
fn shrink(log: &mut EventLog, most: usize) -> usize {
    loop {
        let bytes = log.stats().approx_event_bytes;
        if bytes <= most || log.is_empty() {
            return bytes;
        }
        log.truncate_events_keep_last(log.len() / 2);
    }
}

/// The size of a value as JSON, in bytes.
pub(super) fn size(value: &impl Serialize) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // What cannot be written is refused elsewhere.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use car_engine::EventKind;
    use serde_json::json;

    use super::*;

    fn append(log: &mut EventLog, text: &str) {
        let data = [("text".to_owned(), json!(text))].into();
        log.append(EventKind::ActionSucceeded, Some("a"), None, data);
    }

    /// The texts in the file, whose chain is whole.
    fn read(path: &Path) -> Vec<String> {
        let log = EventLog::load_read_only(path).unwrap();
        assert_eq!(log.verify_chain(), Ok(log.len()));
        log.events().iter().map(|event| event.data["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_file_keeps_everything_of_every_run_in_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut expected = Vec::new();
        for run in 0..2 {
            let (mut log, bounds) = open(Some(path.clone()));
            // More than the log would keep of it if it were cut.
            for number in 0..2 * EVENTS {
                expected.push(format!("{run}/{number}"));
                append(&mut log, &expected[expected.len() - 1]);
                bounds.keep(&mut log, 0);
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
        let others = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let others: Vec<PathBuf> = others.filter(|other| *other != path).collect();
        assert_eq!(others.len(), 1, "{others:?}");
        assert_eq!(read(&others[0]), ["second"]);
    }

    #[test]
    fn large_arguments_do_not_pile_up_in_memory() {
        let text = "x".repeat(32 << 10);
        let folder = tempfile::tempdir().unwrap();
        for journal in [None, Some(folder.path().join("journal.jsonl"))] {
            let (mut log, bounds) = open(journal);
            assert_eq!(bounds.most, 32 << 20);
            // Chaining the hashes of so much takes long.
            let bounds = Bounds { most: 1 << 20, ..bounds };
            for _ in 0..80 {
                append(&mut log, &text);
                bounds.keep(&mut log, size(&json!({ "text": text })));
                assert!(log.len() <= 32, "{} events", log.len());
            }
        }
    }

    #[test]
    fn a_size_is_that_of_the_text() {
        assert_eq!(size(&json!({"a": [1, "é"]})), r#"{"a":[1,"é"]}"#.len());
    }
}
