//! The file that the event log is kept in, whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use car_engine::{EventKind, EventLog};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// How long a disk may take. Calls wait as long, at most twice.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose the checkpoints in the log are.
const OWNER: &str = "connectors-daemon";

/// Opens a log that is kept in a file as well. One that is there is continued; one that cannot be is left as it is, and another is
/// begun beside it.
pub(super) fn open(path: &Path) -> EventLog {
    if !path.try_exists().unwrap_or(true) {
        return EventLog::with_journal(path.to_owned());
    }
    match continued(path) {
        Ok(log) => log,
        Err(error) => {
            let other = beside(path);
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

/// How the file of a log fares.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    state: State,
    pub(super) patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The log has a writer.
    Written,
    /// The log is in memory until a file can be written again.
    Interrupted,
    /// The log is in memory: a disk that does not answer is not asked again.
    GivenUp,
}

impl Journal {
    /// Of a log that has been opened.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: State::Written, patience: PATIENCE }
    }

    /// Makes certain that all events of the log are in a file, so that they can be dropped from memory. If they cannot be written
    /// where they should be, another file is begun, with those that are in memory. False if that is not possible either: the log
    /// is in memory only then, until a later attempt succeeds.
    ///
    /// A writer of the engine's that has failed once keeps all that it is given in memory, and writes it before an event whose
    /// writing is waited for, never before one that is not. So every look is one of those.
    ///
    /// Takes seconds at most, and blocks no thread of the runtime. Dropping the future may lose what the log holds.
    pub(super) async fn secure(&mut self, log: &mut EventLog) -> bool {
        match self.state {
            State::GivenUp => return false,
            State::Interrupted => {}
            State::Written => match checkpoint(log, self.patience).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::error!(journal = %self.path.display(), %error, "the journal cannot be written");
                }
            },
        }
        let is_written = self.state == State::Written;
        let old = std::mem::replace(log, in_memory());
        let path = self.path.clone();
        let begun = spawn_blocking(move || {
            let begun = begin(&path, &old);
            // Its writer, if it has one, would go on keeping what it is given. Ending it may block.
            let kept = (begun.is_err() && !is_written).then_some(old);
            (begun, kept)
        });
        match tokio::time::timeout(self.patience, begun).await {
            Ok(Ok((Ok((path, begun)), _))) => {
                *log = begun;
                self.state = State::Written;
                tracing::warn!(journal = %path.display(), "another journal is begun");
                true
            }
            Ok(Ok((Err(error), kept))) => {
                if let Some(kept) = kept {
                    *log = kept;
                    tracing::debug!(%error, "no journal can be written");
                } else {
                    tracing::error!(%error, "no other journal can be begun either: what was to be written last is lost, and the \
                        event log is in memory until there is one");
                }
                self.state = State::Interrupted;
                false
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(
                    "the journal's disk does not answer; the event log is in memory from here on"
                );
                self.state = State::GivenUp;
                false
            }
        }
    }
}

pub(super) fn in_memory() -> EventLog {
    EventLog::new().with_hash_chaining()
}

/// Appends an event and waits until it and all before it are in the file.
async fn checkpoint(log: &mut EventLog, patience: Duration) -> Result<(), String> {
    let data = [("origin", OWNER), ("journal", "checkpoint")];
    let data = data.map(|(name, value)| (name.to_owned(), Value::from(value))).into();
    // No event is waited for without one. No other event gets it: nobody else has the log meanwhile.
    log.bind_run(OWNER, OWNER)?;
    let written = log.append_critical_async(EventKind::StateSnapshot, None, None, data, patience).await;
    let written = written.map(|_| ()).map_err(|error| error.to_string());
    log.clear_run_binding(OWNER, OWNER)?;
    written
}

/// Begins a file with the events of a log, whose chain goes on in it: at `path` if nothing is there (any more), else beside it.
fn begin(path: &Path, log: &EventLog) -> io::Result<(PathBuf, EventLog)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = BufWriter::new(NamedTempFile::new_in(folder)?);
    for event in log.events() {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    let path = match file.persist_noclobber(path) {
        Ok(_) => path.to_owned(),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            let other = beside(path);
            failed.file.persist_noclobber(&other)?;
            other
        }
        Err(failed) => return Err(failed.error),
    };
    let begun = EventLog::load(&path).inspect_err(|_| {
        // There would be one more after every attempt.
        let _ = fs::remove_file(&path);
    })?;
    Ok((path, begun.with_hash_chaining()))
}
