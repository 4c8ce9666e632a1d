//! A process group with a guard in it.
//!
//! The group's leader is a guard: a shell with a constant script that waits for the end of its standard input, a pipe
//! whose other end only this program holds, and then kills the group. The system closes that pipe however this program
//! dies, so that neither the server nor what it has started can outlive it, on any Unix; a parent-death signal is Linux
//! alone, reaches the direct child alone, is sent when the starting *thread* ends, and cannot be had without `unsafe`.
//! The guard also keeps the group's number from being used again before it is signalled for the last time.

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::{Pipes, Program};

/// Ignores what the group is asked to end with, and kills it when standard input ends.
const GUARD: &str = "trap '' HUP INT QUIT TERM; while read -r _; do :; done; kill -KILL 0";

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Group,
}

impl Process {
    /// Starts a program in a group of its own.
    pub(crate) fn spawn(program: &Program) -> io::Result<Self> {
        let guard = spawn_guard()
            .inspect_err(|error| {
                tracing::warn!(%error, "/bin/sh does not start: local servers may outlive a crash of this program");
            })
            .ok();
        let leader = guard.as_ref().and_then(group_of);
        let mut group = Group { leader, guard };
        let mut command = program.command();
        command.process_group(group.leader.map_or(0, |leader| leader.as_raw_nonzero().get()));
        let child = command.spawn()?;
        group.leader = group.leader.or_else(|| group_of(&child));
        Ok(Self { child, group })
    }

    /// Takes the streams. They are there once.
    pub(crate) fn pipes(&mut self) -> Option<Pipes> {
        let (stdin, stdout) = (self.child.stdin.take()?, self.child.stdout.take()?);
        Some(Pipes { stdin, stdout, stderr: self.child.stderr.take()? })
    }

    /// The number of the server's process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the server to exit; what it has started may go on. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the whole group to end.
    pub(crate) fn terminate(&mut self) {
        self.group.signal(Signal::TERM);
    }

    /// Ends the whole group.
    pub(crate) fn kill(&mut self) {
        self.group.signal(Signal::KILL);
    }

    /// Kills the group and waits until nothing of it is left to this program.
    pub(crate) async fn reap(mut self) {
        self.kill();
        let _ = self.child.wait().await;
        if let Some(guard) = &mut self.group.guard {
            let _ = guard.wait().await;
        }
        self.group.leader = None;
    }
}

#[derive(Debug)]
struct Group {
    /// The group's number; `None` once it may belong to others.
    leader: Option<Pid>,
    /// `None` where there is no shell: then the server leads its group.
    guard: Option<Child>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // Fails if nothing of the group is left.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn spawn_guard() -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", GUARD])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn group_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}
