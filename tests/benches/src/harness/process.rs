//! The processes of a measurement. Each ends when its standard input does, so none outlives the harness.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Era;
use crate::contender::{Cost, Job};

/// Longest wait for an answer: no job takes anywhere near as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server has the first core, the client whose turn it is the second; with one core they have to share it.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

/// A process that answers in lines. It is killed when this is dropped.
struct Process {
    child: std::process::Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(core: usize, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        if std::thread::available_parallelism()?.get() > 1 {
            command.args(["--core", &core.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("a process without output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("a process without input")?;
        writeln!(input, "{line}")?;
        input.flush()?;
        Ok(())
    }

    fn line(&self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("a process has not answered; what it says is above")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server.
pub(super) struct Server {
    _process: Process,
    port: u16,
}

impl Server {
    pub(super) fn start(era: Era, hosts: usize) -> Result<Self> {
        let arguments = ["serve", "--era", era.as_str(), "--hosts", &hosts.to_string()];
        let process = Process::start(SERVER_CORE, &arguments)?;
        let port = process.line()?.parse()?;
        Ok(Self { _process: process, port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// A contender.
pub(super) struct Child {
    name: &'static str,
    process: Process,
}

impl Child {
    pub(super) fn start(name: &'static str, era: Era) -> Result<Self> {
        let process = Process::start(CLIENT_CORE, &["contend", name, "--era", era.as_str()])?;
        Ok(Self { name, process })
    }

    pub(super) fn run(&mut self, job: &Job) -> Result<Cost> {
        self.process.tell(&serde_json::to_string(job)?)?;
        let line = self.process.line().with_context(|| format!("{} failed", self.name))?;
        Ok(serde_json::from_str(&line)?)
    }
}
