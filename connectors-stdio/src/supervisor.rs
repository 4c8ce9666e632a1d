//! Watches over a conversation's tasks and process, and ends all of them together.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

use crate::pipe::Pipe;
use crate::process::{self, Process};
use crate::stderr::LastLines;

/// How long a closing server may take to read what was sent before.
const FLUSH: Duration = Duration::from_millis(500);
/// How long it may take to exit after its input has been closed, and again after it has been asked to terminate.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a dead process has left in its pipes may take to read, or a process that has closed one to exit.
const SETTLE: Duration = Duration::from_secs(1);

/// What ends a conversation that was closed or dropped by this side.
const CLOSED: &str = "the connection was closed";

/// Who is at the other end.
#[derive(Debug)]
pub(crate) enum Peer {
    /// Whoever holds the other end of a stream.
    Stream,
    /// A process of ours.
    Process {
        /// The process.
        process: Box<Process>,
        /// Reads its standard error.
        drain: JoinHandle<()>,
        /// What that has read.
        last_lines: LastLines,
    },
}

/// Owns everything that has to end.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) pipe: Arc<Pipe>,
    pub(crate) peer: Peer,
    pub(crate) reader: JoinHandle<io::Result<()>>,
    pub(crate) writer: JoinHandle<io::Result<()>>,
    /// Set to true when all is done.
    pub(crate) gone: watch::Sender<bool>,
}

/// Why a conversation ends.
enum Cause {
    Exited(io::Result<ExitStatus>),
    OutputEnded,
    InputFailed,
    Closed,
    Dropped,
}

impl Supervisor {
    /// Runs until the server ends, or `closing` becomes true or loses its sender.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let cause = tokio::select! {
            biased;
            asked = closing.wait_for(|close| *close) => {
                if asked.is_ok() { Cause::Closed } else { Cause::Dropped }
            }
            status = self.peer.exit() => Cause::Exited(status),
            _ = &mut self.reader => Cause::OutputEnded,
            _ = &mut self.writer => Cause::InputFailed,
        };
        match cause {
            Cause::Exited(status) => self.bury(status).await,
            Cause::OutputEnded => self.outlast("closed its output").await,
            Cause::InputFailed => self.outlast("closed its input").await,
            Cause::Closed => self.close().await,
            Cause::Dropped => self.pipe.end(CLOSED),
        }
        self.free().await;
    }

    /// The process has exited: what it has left in its pipes is read before its end is told.
    async fn bury(&mut self, status: io::Result<ExitStatus>) {
        // Whoever it has started may hold the pipes open.
        self.peer.kill();
        let _ = timeout(SETTLE, finished(&mut self.reader)).await;
        let last_words = self.peer.last_words().await;
        let what = status.map_or_else(|_| "has ended".to_owned(), process::describe);
        let when = if self.pipe.has_spoken() { "" } else { " before answering" };
        let words = last_words.map(|words| format!("; its last words: {words}")).unwrap_or_default();
        self.pipe.end(&format!("the process {what}{when}{words}"));
    }

    /// A stream has ended, mostly because the process is about to.
    async fn outlast(&mut self, what: &str) {
        match timeout(SETTLE, self.peer.exit()).await {
            Ok(status) => self.bury(status).await,
            Err(_) => self.pipe.end(&format!("the {} {what}", self.peer.name())),
        }
    }

    /// Ends the conversation in the order of the specification.
    async fn close(&mut self) {
        self.pipe.end(CLOSED);
        // The writer has been told by the same signal; it closes the input when all is written.
        if timeout(FLUSH, finished(&mut self.writer)).await.is_err() {
            self.writer.abort();
        }
        match &mut self.peer {
            Peer::Stream => {
                let _ = timeout(GRACE, finished(&mut self.reader)).await;
            }
            Peer::Process { process, .. } => {
                if timeout(GRACE, process.wait()).await.is_err() {
                    process.terminate();
                    if timeout(GRACE, process.wait()).await.is_err() {
                        tracing::debug!("the server did not end when it was asked to, and is killed");
                    }
                }
            }
        }
    }

    async fn free(mut self) {
        self.abort();
        if let Peer::Process { process, .. } = std::mem::replace(&mut self.peer, Peer::Stream)
            && timeout(SETTLE, process.reap()).await.is_err()
        {
            tracing::debug!("the server's process does not go away after it was killed");
        }
        self.gone.send_replace(true);
    }

    fn abort(&self) {
        self.reader.abort();
        self.writer.abort();
        if let Peer::Process { drain, .. } = &self.peer {
            drain.abort();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The runtime may end before this does.
        self.abort();
        self.pipe.end(CLOSED);
    }
}

impl Peer {
    /// Resolves when the process exits; a stream has no other end than its own.
    async fn exit(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Stream => std::future::pending().await,
            Self::Process { process, .. } => process.wait().await,
        }
    }

    fn kill(&mut self) {
        if let Self::Process { process, .. } = self {
            process.kill();
        }
    }

    async fn last_words(&mut self) -> Option<String> {
        let Self::Process { drain, last_lines, .. } = self else { return None };
        let _ = timeout(SETTLE, finished(drain)).await;
        last_lines.last_words()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Stream => "server",
            Self::Process { .. } => "process",
        }
    }
}

/// Waits for a task that may have been waited for already, which a handle alone does not bear.
async fn finished<T>(task: &mut JoinHandle<T>) -> Option<Result<T, JoinError>> {
    if task.is_finished() { None } else { Some(task.await) }
}
