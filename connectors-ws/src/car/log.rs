//! The event log of the daemon's runtime: how much of it is kept in memory.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use car_engine::EventLog;
use car_eventlog::RetentionPolicy;
use connectors_core::ConnectorEvent;
use connectors_core::events::EventKind;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};

use super::journal::{self, Journal};

/// Events that are kept in memory at most.
const EVENTS: usize = 2_000;

/// Bytes of arguments, roughly, that they may hold.
const BYTES: usize = 32 << 20;

/// What a call adds to the log beside its arguments, roughly, in bytes.
const CALL: usize = 4 << 10;

/// Spans that are kept at most before the older half of them goes: the log itself keeps all.
const SPANS: usize = 4_000;

/// Opens the log that is kept in a file as well, or in memory only. Its events are chained by hashes; a file that is there is
/// continued.
pub(super) fn open(journal: Option<PathBuf>) -> (EventLog, Bounds) {
    let log = match &journal {
        Some(path) => journal::open(path).with_hash_chaining(),
        None => {
            let mut log = journal::in_memory();
            log.set_retention(Some(RetentionPolicy {
                max_events: Some(EVENTS),
                ..RetentionPolicy::default()
            }));
            log
        }
    };
    (log, Bounds::new(journal))
}

/// Keeps the log from growing without end in memory.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Locked only by whoever has the log.
    journal: Option<Mutex<Journal>>,
    /// Bytes of arguments, roughly, that the events may hold.
    most: usize,
    /// What the events hold, roughly: never less, as what is looked at during a call is counted again after it.
    bytes: AtomicUsize,
}

impl Bounds {
    fn new(journal: Option<PathBuf>) -> Self {
        let journal = journal.map(|path| Mutex::new(Journal::new(path)));
        Self { journal, most: BYTES, bytes: AtomicUsize::new(0) }
    }

    /// To be called after each call, with the size of its arguments.
    fn count(&self, arguments: usize) {
        self.bytes.fetch_add(arguments.saturating_add(CALL), Ordering::Relaxed);
    }

    /// To be called after that.
    async fn keep(&self, log: &mut EventLog) {
        let is_large = self.bytes.load(Ordering::Relaxed) > self.most;
        let Some(journal) = &self.journal else {
            if is_large {
                self.shrink(log);
            }
            return;
        };
        if !is_large && log.len() <= EVENTS {
            return;
        }
        if journal.lock().await.secure(log).await {
            // Cutting off the oldest would cut them off the file too.
            log.clear();
            self.bytes.store(0, Ordering::Relaxed);
        } else {
            log.truncate_events_keep_last(EVENTS / 2);
            self.shrink(log);
        }
    }

    /// Returns once all that the log holds is in its file, if it has one.
    pub(super) async fn secure(&self, log: &Mutex<EventLog>) {
        if let Some(journal) = &self.journal {
            let mut log = log.lock().await;
            journal.lock().await.secure(&mut log).await;
        }
    }

    /// Drops the older half of the events until the rest is small enough.
    fn shrink(&self, log: &mut EventLog) {
        loop {
            let bytes = log.stats().approx_event_bytes;
            if bytes <= self.most / 2 || log.is_empty() {
                self.bytes.store(bytes, Ordering::Relaxed);
                return;
            }
            log.truncate_events_keep_last(log.len() / 2);
        }
    }
}

/// Keeps the log small while there are no calls: what becomes of tools is in it too. Ends with the manager or the log.
pub(super) async fn keep_small(
    log: Weak<Mutex<EventLog>>,
    bounds: Arc<Bounds>,
    mut events: broadcast::Receiver<Arc<ConnectorEvent>>,
) {
    loop {
        match events.recv().await.map(|event| concerns_tools(&event)) {
            Ok(false) => continue,
            Ok(true) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        let Some(log) = log.upgrade() else { return };
        bounds.count(0);
        bounds.keep(&mut *log.lock().await).await;
    }
}

fn concerns_tools(event: &ConnectorEvent) -> bool {
    matches!(
        event.kind,
        EventKind::Catalogue { .. } | EventKind::Selection { .. } | EventKind::DefinitionChanged { .. }
    )
}

/// A call or a rule that is in the log, whether it comes to its end or is dropped: then the log is kept small.
pub(super) struct Logged {
    log: Arc<Mutex<EventLog>>,
    bounds: Arc<Bounds>,
    arguments: usize,
}

impl Logged {
    pub(super) fn new(log: &Arc<Mutex<EventLog>>, bounds: &Arc<Bounds>, arguments: &impl Serialize) -> Self {
        Self { log: Arc::clone(log), bounds: Arc::clone(bounds), arguments: size(arguments) }
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.bounds.count(self.arguments);
        // Whoever called may be gone, and need not wait for a file.
        let Ok(runtime) = Handle::try_current() else { return };
        let (log, bounds) = (Arc::clone(&self.log), Arc::clone(&self.bounds));
        runtime.spawn(async move {
            let mut log = log.lock().await;
            bounds.keep(&mut log).await;
            if log.span_len() > SPANS {
                log.truncate_spans_keep_last(SPANS / 2);
            }
        });
    }
}

/// The size of a value as JSON, in bytes.
fn size(value: &impl Serialize) -> usize {
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
mod tests;
