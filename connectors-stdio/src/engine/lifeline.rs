//! The engine's processes on a lead.
//!
//! The engine keeps its child to itself, starts it in this program's own process group, and kills it alone. So that nothing is
//! left behind, what it starts is a session of its own with a guard in it: a shell with a constant script that waits for the
//! end of a pipe whose other end only this program holds, and then kills the whole group. The system closes that pipe
//! however this program dies. Through a second pipe the new process tells its number, by which its end is seen. A third one is its
//! standard error: the engine would log what comes on its own, secrets and control characters included.
//!
//! The pipes are reached through this program's folder in `/proc`; their numbers there stay taken for as long as anything may start,
//! so that they never mean anything else.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::{DupFlags, dup3};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::unix::pipe;

/// Arguments: the pipe to wait for, the pipe to report to, the pipe for standard error, and the command. The number of the process
/// stays the same throughout.
const GUARD: &str = r#"lease=$1 report=$2 errors=$3
shift 3
echo $$ >>"$report" || exit 126
exec 2>>"$errors" || exit 126
(
    trap '' HUP INT QUIT TERM
    { while read -r _; do :; done <"$lease"; } 2>/dev/null
    kill -KILL 0
) </dev/null >/dev/null 2>&1 &
exec "$@""#;

/// The pipes. Dropping it kills all that was started with it.
#[derive(Debug)]
pub(super) struct Lifeline {
    lease: (io::PipeReader, OwnedFd),
    reporting: pipe::Sender,
    errors: OwnedFd,
    reading: Option<(Watch, pipe::Receiver)>,
}

impl Lifeline {
    pub(super) fn new() -> io::Result<Self> {
        let (leased, lease) = io::pipe()?;
        let (reporting, reports) = pipe::pipe()?;
        let (errors, said) = pipe::pipe()?;
        let watch = Watch { reports: BufReader::new(reports) };
        let errors = errors.into_nonblocking_fd()?;
        Ok(Self { lease: (leased, lease.into()), reporting, errors, reading: Some((watch, said)) })
    }

    /// The arguments of `setsid` that the command follows.
    pub(super) fn prologue(&self) -> Vec<String> {
        let path = |fd: i32| format!("/proc/{}/fd/{fd}", std::process::id());
        let pipes = [self.lease.0.as_raw_fd(), self.reporting.as_raw_fd(), self.errors.as_raw_fd()].map(path);
        ["/bin/sh", "-c", GUARD, "sh"].map(str::to_owned).into_iter().chain(pipes).collect()
    }

    /// What watches over the process, and its standard error. There once.
    pub(super) fn watch(&mut self) -> Option<(Watch, pipe::Receiver)> {
        self.reading.take()
    }

    /// Kills what is left of a process that has ended. Its standard error ends with the last of it; and what is still started, as
    /// the engine may do, is killed by its guard at once.
    ///
    /// # Errors
    ///
    /// If the system has no more files: then all that ends when this is dropped.
    pub(super) fn retire(&mut self) -> io::Result<()> {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        dup3(&nothing, &mut self.lease.1, DupFlags::CLOEXEC)?;
        dup3(&nothing, &mut self.errors, DupFlags::CLOEXEC)?;
        Ok(())
    }
}

/// Sees the process start and end.
#[derive(Debug)]
pub(super) struct Watch {
    reports: BufReader<pipe::Receiver>,
}

impl Watch {
    /// Returns when the process that was started has ended, or another was started in its place.
    pub(super) async fn ended(mut self) -> io::Result<()> {
        let Some(process) = process(self.reported().await?) else { return Ok(()) };
        tracing::debug!(pid = process.as_raw_nonzero().get(), "the engine has started the server's process");
        let process = match pidfd_open(process, PidfdFlags::NONBLOCK) {
            Ok(process) => process,
            // It is gone already.
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        #[expect(deprecated, reason = "its replacement is unsafe, for what this type rules out")]
        let process: AsyncFd<OwnedFd> = AsyncFd::with_interest(process, Interest::READABLE)?;
        tokio::select! {
            ended = process.readable() => ended.map(drop),
            another = self.reported() => another.map(drop),
        }
    }

    async fn reported(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reports.read_line(&mut line).await?;
        Ok(line)
    }
}

fn process(report: String) -> Option<Pid> {
    report.trim().parse().ok().and_then(Pid::from_raw)
}
