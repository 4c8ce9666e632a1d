//! A server's process with everything that it starts, as one thing that can be waited for and ended.
//!
//! Both systems offer the same [`Process`]: `spawn`, `pipes`, `wait`, `terminate`, `kill`, `reap`. Dropping it kills the
//! whole tree, and so does the death of this program, however it dies.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};

#[cfg(unix)]
pub(crate) use unix::Process;
#[cfg(windows)]
pub(crate) use windows::Process;

/// A program to start: nothing in it is looked at by a shell.
#[derive(Clone)]
pub(crate) struct Program {
    /// The executable.
    pub(crate) file: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The folder that it is started in; this program's own if `None`.
    pub(crate) folder: Option<PathBuf>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command
            .args(&self.args)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// The three streams of a process.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
}

/// The end of a process, as the predicate of a sentence.
pub(crate) fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with status {code}"),
        // On Unix, `signal: 9 (SIGKILL)`.
        None => format!("was ended by {}", status.to_string().replacen("signal: ", "signal ", 1)),
    }
}
