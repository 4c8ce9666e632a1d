//! What a server writes to its standard error: into the trace, and its end into the error of a dead process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connectors_core::text;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::lines::{Line, LineBuffer};
use crate::redact::{REDACTED, Redactor};

/// Longest line that is looked at.
const LINE_LIMIT: usize = 4 << 10;
/// How much is kept for the last words.
const KEPT: usize = 2 << 10;
/// Longest last words.
const SHOWN: usize = 300;
/// Lines that are traced per second.
const LINES_PER_SECOND: u32 = 100;

/// The last lines of a process, sanitised, without the secrets of its environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    fn push(&self, line: String) {
        let mut lines = self.lock();
        // A key of many lines must not push out what was said about it.
        if line == REDACTED && lines.back() == Some(&line) {
            return;
        }
        lines.push_back(line);
        let mut bytes: usize = lines.iter().map(String::len).sum();
        while bytes > KEPT && lines.len() > 1 {
            bytes -= lines.pop_front().map_or(0, |line| line.len());
        }
    }

    /// The end of what the process has said, on one line, without the indented lines of stack traces; `None` if it has
    /// said nothing.
    pub(crate) fn last_words(&self) -> Option<String> {
        let lines = self.lock();
        let telling =
            |line: &&String| !line.starts_with([' ', '\t']) && line.contains(|c: char| c.is_alphanumeric());
        let mut words: Vec<&str> = lines.iter().filter(telling).map(|line| line.trim()).collect();
        if words.is_empty() {
            words = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        }
        let words = words.join(" ");
        if words.is_empty() {
            return None;
        }
        let start = words.len().saturating_sub(SHOWN);
        let start = (start..words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or_default();
        Some(if start == 0 { words } else { format!("…{}", &words[start..]) })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the stream ends or fails, so that the process never waits for room in its pipe.
pub(crate) async fn drain(mut reader: impl AsyncRead + Unpin, redactor: Redactor, last: LastLines) {
    let mut lines = LineBuffer::new(LINE_LIMIT);
    let mut budget = TraceBudget::new();
    let keep = |line: Line, budget: &mut TraceBudget| {
        let line = match line {
            Line::Whole(text) => text::display(&redactor.redact(&String::from_utf8_lossy(&text)), LINE_LIMIT)
                .replace('\t', " "),
            // Its cut ends could hold a part of a secret.
            Line::TooLong { .. } => format!("[a line of more than {LINE_LIMIT} bytes]"),
        };
        budget.trace(&line);
        last.push(line);
    };
    loop {
        match reader.read_buf(lines.space()).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                while let Some(line) = lines.next_line() {
                    keep(line, &mut budget);
                }
            }
        }
    }
    if let Some(line) = lines.finish() {
        keep(line, &mut budget);
    }
}

/// Keeps a process that floods its standard error from flooding the log.
#[derive(Debug)]
struct TraceBudget {
    since: Instant,
    traced: u32,
    left_out: u64,
}

impl TraceBudget {
    fn new() -> Self {
        Self { since: Instant::now(), traced: 0, left_out: 0 }
    }

    fn trace(&mut self, line: &str) {
        if self.since.elapsed() >= Duration::from_secs(1) {
            if self.left_out > 0 {
                tracing::debug!(lines = self.left_out, "lines of the server's standard error were left out");
            }
            *self = Self::new();
        }
        if self.traced == LINES_PER_SECOND {
            self.left_out += 1;
        } else {
            self.traced += 1;
            tracing::debug!(target: "connectors_stdio::server", "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn last_words(said: &[u8], redactor: Redactor) -> Option<String> {
        let last = LastLines::default();
        drain(said, redactor, last.clone()).await;
        last.last_words()
    }

    #[tokio::test]
    async fn the_last_words_are_the_message_without_its_stack_trace() {
        let said = b"node:internal/modules/cjs/loader:1228\n  throw err;\n  ^\n\nError: Cannot find module 'x'\r\n    at f (a.js:1)\n{\n}\n";
        assert_eq!(
            last_words(said, Redactor::default()).await.as_deref(),
            Some("node:internal/modules/cjs/loader:1228 Error: Cannot find module 'x'")
        );
    }

    #[tokio::test]
    async fn the_last_words_are_short_clean_and_without_secrets() {
        let said = format!("{}\n\u{1b}[31mbad key s3cr3t-value\u{202e} é", "é".repeat(1000));
        let words = last_words(said.as_bytes(), Redactor::new(["s3cr3t-value"])).await.unwrap();
        assert!(words.len() <= SHOWN + "…".len());
        assert!(words.starts_with('…') && words.ends_with(" [31mbad key [redacted] é"), "{words}");
    }

    #[tokio::test]
    async fn of_a_secret_of_several_lines_nothing_is_in_the_last_words() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
        let said = format!("cannot read the key\r\n{}in $KEY: {key:?}\n", key.replace('\n', "\r\n"));
        let words = last_words(said.as_bytes(), Redactor::default().with_secrets([key])).await;
        assert_eq!(words.as_deref(), Some("cannot read the key [redacted] in $KEY: \"[redacted]\""));
    }

    #[tokio::test]
    async fn no_bound_cuts_a_secret_before_it_is_redacted() {
        let secret = "s3cr3t-".repeat(20);
        for filled in [SHOWN, KEPT, LINE_LIMIT - secret.len(), LINE_LIMIT - 10, LINE_LIMIT] {
            let said = format!("{}{secret}{}", "x".repeat(filled), "y".repeat(SHOWN - 50));
            let words = last_words(said.as_bytes(), Redactor::new([&*secret])).await.unwrap();
            assert!(!words.contains("cr3t"), "{words}");
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_not_kept_and_no_words_are_none() {
        let words = last_words(&b"x".repeat(1 << 20), Redactor::default()).await;
        assert_eq!(words.as_deref(), Some("[a line of more than 4096 bytes]"));
        assert_eq!(last_words(b" \n\r\n", Redactor::default()).await, None);
    }

    #[tokio::test]
    async fn only_the_end_is_kept() {
        let last = LastLines::default();
        drain(&b"a line\n".repeat(10_000)[..], Redactor::default(), last.clone()).await;
        assert!(last.lock().iter().map(String::len).sum::<usize>() <= KEPT);
    }
}
