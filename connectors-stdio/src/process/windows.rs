//! A job object, which ends with its last handle: with this program, however it dies.

use std::io;
use std::process::ExitStatus;

use process_wrap::tokio::{ChildWrapper, CommandWrap, CreationFlags, JobObject, KillOnDrop};
use windows::Win32::System::Threading::CREATE_NO_WINDOW;

use super::{Pipes, Program};

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    child: Box<dyn ChildWrapper>,
}

impl Process {
    /// Starts a program in a job of its own, without a console window.
    pub(crate) fn spawn(program: &Program) -> io::Result<Self> {
        let mut command = CommandWrap::from(program.command());
        command.wrap(CreationFlags(CREATE_NO_WINDOW)).wrap(KillOnDrop).wrap(JobObject);
        Ok(Self { child: command.spawn()? })
    }

    /// Takes the streams. They are there once.
    pub(crate) fn pipes(&mut self) -> Option<Pipes> {
        let (stdin, stdout) = (self.child.stdin().take()?, self.child.stdout().take()?);
        Some(Pipes { stdin, stdout, stderr: self.child.stderr().take()? })
    }

    /// The number of the server's process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the server to exit; what it has started may go on. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        // The wrapper itself would wait for the whole job.
        self.child.inner_mut().wait().await
    }

    /// There is no signal to ask with: closing standard input was the question.
    pub(crate) fn terminate(&mut self) {}

    /// Ends the whole job.
    pub(crate) fn kill(&mut self) {
        // Fails if nothing of the job is left.
        let _ = self.child.start_kill();
    }

    /// Kills the job and waits for the server.
    pub(crate) async fn reap(mut self) {
        self.kill();
        let _ = self.wait().await;
    }
}
