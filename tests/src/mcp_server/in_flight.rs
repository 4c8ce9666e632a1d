//! Requests that have come and are not answered yet.

use serde_json::Value;

use super::record::{Cancelled, Record, Signal};

/// Notes a request whose client leaves before it is settled: dropped together with the connection.
#[derive(Debug)]
pub(super) struct InFlight {
    record: Record,
    id: Value,
    method: String,
    settled: bool,
}

impl InFlight {
    pub(super) fn new(record: &Record, id: &Value, method: &str) -> Self {
        Self { record: record.clone(), id: id.clone(), method: method.to_owned(), settled: false }
    }

    /// It is answered, or known to be cancelled.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// The record that it is noted in.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.settled {
            let (id, method) = (self.id.clone(), self.method.clone());
            let cancelled = Cancelled { id, method, signal: Signal::Disconnect };
            self.record.note(|seen| seen.cancelled.push(cancelled));
        }
    }
}
