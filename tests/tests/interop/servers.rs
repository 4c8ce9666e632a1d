//! The servers: where they are, and how they are started.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use connectors_core::StdioCommand;
use connectors_tests::deadline::poll;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The folder with the servers; `None`, after saying so, where there is none.
pub(super) fn installed() -> Option<Installed> {
    let folder = std::env::var_os("CONNECTORS_INTEROP").map(PathBuf::from);
    if folder.is_none() {
        #[expect(clippy::print_stdout, reason = "a skipped test says so")]
        {
            println!("skipped: CONNECTORS_INTEROP does not name a folder with the servers");
        }
    }
    folder.map(Installed)
}

/// What `interop/` says is to be installed.
pub(super) struct Installed(PathBuf);

impl Installed {
    pub(super) fn everything(&self) -> Server {
        let main = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
        Server::new("node", [self.path(main)])
    }

    pub(super) fn typescript(&self, era: &str) -> Server {
        Server::new("node", [self.path("typescript_server.mjs"), era.to_owned()])
    }

    pub(super) fn rmcp(&self, era: &str) -> Server {
        Server::new(&self.path("target/debug/rmcp-server"), [era.to_owned()])
    }

    pub(super) fn fastmcp(&self) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/fastmcp_server.py");
        Server::new(&self.path("venv/bin/python"), [script.to_owned()])
    }

    /// Where they are.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    fn path(&self, inside: &str) -> String {
        self.0.join(inside).display().to_string()
    }
}

/// A server's command line.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

impl Server {
    fn new(command: &str, args: impl IntoIterator<Item = String>) -> Self {
        Self { command: command.to_owned(), args: args.into_iter().collect(), env: Vec::new() }
    }

    pub(super) fn with_argument(mut self, argument: impl Into<String>) -> Self {
        self.args.push(argument.into());
        self
    }

    pub(super) fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// As a connector starts it.
    pub(super) fn over_stdio(&self) -> StdioCommand {
        StdioCommand { command: self.command.clone(), args: self.args.clone(), ..StdioCommand::default() }
    }

    /// Starts it and waits until it listens; `tell` tells it on which port.
    pub(super) async fn listening(self, tell: impl FnOnce(Self, String) -> Self) -> Listening {
        // Free a moment ago; none of these servers can pick one and say which.
        let port =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port();
        let server = tell(self, port.to_string());
        let mut process = Command::new(&server.command)
            .args(&server.args)
            .envs(server.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", server.command));
        poll("the server to listen", || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("{} {:?} ended with {status}", server.command, server.args);
            }
            async move { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok() }
        })
        .await;
        Listening { port, _process: process }
    }
}

/// A server at work. Dropping it kills it.
pub(super) struct Listening {
    port: u16,
    _process: Child,
}

impl Listening {
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}
