//! The daemon as a child process.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::deadline::soon;
use crate::temp_home::TempHome;
use crate::ws_client::WsClient;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Daemon {
    executable: PathBuf,
    secrets: &'static str,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    variables: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl Daemon {
    /// The executable at `path`, with secrets in memory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            executable: path.into(),
            secrets: "memory",
            arguments: Vec::new(),
            wrapper: Vec::new(),
            variables: Vec::new(),
            folder: None,
        }
    }

    /// Keeps secrets in the encrypted file of its home.
    #[must_use]
    pub fn with_vault(mut self) -> Self {
        self.secrets = "vault";
        self
    }

    /// Keeps secrets where `--secrets` says.
    #[must_use]
    pub fn with_secrets(mut self, place: &'static str) -> Self {
        self.secrets = place;
        self
    }

    /// Runs it by another program, which is given its command line after these words.
    #[must_use]
    pub fn run_by(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts with a further argument.
    #[must_use]
    pub fn with_argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts with a variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts in this working directory instead of the user's home.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts it on `home`, on a port of its own, and waits until it accepts connections.
    pub async fn start(&self, home: &TempHome) -> RunningDaemon {
        let started = self.try_start(home).await;
        started.unwrap_or_else(|Ended { status, output }| panic!("the daemon ended ({status}): {output}"))
    }

    /// The same of one that may end instead.
    pub async fn try_start(&self, home: &TempHome) -> Result<RunningDaemon, Ended> {
        let mut command = match self.wrapper.split_first() {
            Some((wrapper, words)) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(&self.executable);
                command
            }
            None => Command::new(&self.executable),
        };
        let mut child = command
            .args(["--port", "0", "--secrets", self.secrets])
            .args(&self.arguments)
            .env("CAR_HOME", home.state())
            // No test may find the keychain or the settings of whoever runs it.
            .env("HOME", home.user())
            .env("XDG_RUNTIME_DIR", home.user())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("CONNECTORS_VAULT_PASSPHRASE")
            .env_remove("CREDENTIALS_DIRECTORY")
            .env_remove("RUST_LOG")
            .envs(self.variables.iter().cloned())
            .current_dir(self.folder.as_deref().unwrap_or(&home.user()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.executable.display()));
        let output = Arc::new(Mutex::new(String::new()));
        let errors = collect(child.stderr.take().expect("a piped stream"), Arc::clone(&output));
        let mut lines = BufReader::new(child.stdout.take().expect("a piped stream")).lines();
        let first = soon("the daemon's first line", lines.next_line()).await;
        let Ok(Some(first)) = first else {
            let status = soon("the daemon's end", child.wait()).await.expect("the daemon can be waited for");
            soon("the end of its output", errors).await.expect("no panic");
            let output = output.lock().expect("no panic with the lock").clone();
            return Err(Ended { status, output });
        };
        let address = first
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix('/'))
            .unwrap_or_else(|| panic!("the daemon's first line is {first:?}"))
            .to_owned();
        collect(lines.into_inner(), Arc::clone(&output));
        Ok(RunningDaemon { child, address, output, token_path: home.token_path() })
    }
}

/// A daemon that has ended before it accepted connections.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// What it has said.
    pub output: String,
}

/// Copies a stream into `output`, line by line, until it ends.
fn collect(stream: impl AsyncRead + Unpin + Send + 'static, output: Arc<Mutex<String>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().expect("no panic with the lock");
            output.push_str(&line);
            output.push('\n');
        }
    })
}

/// A daemon at work. Dropping it kills it.
#[derive(Debug)]
pub struct RunningDaemon {
    child: Child,
    address: String,
    output: Arc<Mutex<String>>,
    token_path: PathBuf,
}

impl RunningDaemon {
    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the daemon has not been waited for")
    }

    /// What it has written so far, its first line apart.
    pub fn output(&self) -> String {
        self.output.lock().expect("no panic with the lock").clone()
    }

    /// The token of this launch.
    pub fn token(&self) -> String {
        std::fs::read_to_string(&self.token_path).expect("the daemon has written its token").trim().to_owned()
    }

    /// A connection that has authenticated.
    pub async fn client(&self) -> WsClient {
        self.authenticated(WsClient::connect(&self.address).await).await
    }

    /// Authenticates a connection.
    pub async fn authenticated(&self, client: WsClient) -> WsClient {
        client.authenticate(&self.token()).await.expect("the daemon accepts its own token");
        client
    }

    /// Asks it to end, as an operator does, and waits until it has; returns what it has written.
    pub async fn stop(mut self) -> String {
        #[cfg(unix)]
        {
            let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(pid.expect("a process id"), rustix::process::Signal::TERM)
                .expect("the daemon is there");
        }
        #[cfg(not(unix))]
        self.child.start_kill().expect("the daemon is there");
        soon("the daemon's end", self.child.wait()).await.expect("the daemon can be waited for");
        self.output()
    }

    /// Ends it without a warning, and waits until it is gone.
    pub async fn kill(mut self) -> String {
        soon("the daemon's end", self.child.kill()).await.expect("the daemon can be killed");
        self.output()
    }
}

/// True while a process with this id exists and is not just waiting to be reaped.
#[cfg(target_os = "linux")]
pub fn is_alive(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the command, which is in parentheses and may hold any character.
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => false,
    }
}
