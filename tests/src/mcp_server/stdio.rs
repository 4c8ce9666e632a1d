//! The same server over standard input and output, in a process of its own.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::engine::{Engine, Era, Failure, MODERN, check_meta, meta, notification, response};
use super::script::Script;
use super::tool::{Gate, Tool};

/// What the process is told, as JSON in its only argument.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StdioScript {
    /// Speaks the legacy era.
    pub legacy: bool,
    /// Speaks the modern era.
    pub modern: bool,
    /// The names of its tools.
    pub tools: Vec<String>,
    /// Tools a page; 0 for all.
    pub page_size: usize,
    /// Exits with this code before it reads anything.
    pub exit_at_once: Option<i32>,
    /// Written to standard error before anything else.
    pub complaint: String,
    /// Written to standard output, as a line of its own, before anything else.
    pub noise: String,
    /// Exits with code 3 when a request of this method comes.
    pub die_of: String,
    /// Never answers requests of this method.
    pub hang_at: String,
    /// Goes on when its standard input is closed.
    pub outlive_stdin: bool,
    /// Where it appends every message that it receives, a line each.
    pub log: Option<PathBuf>,
    /// Where it appends its process id, a line for each process.
    pub pids: Option<PathBuf>,
    /// Starts a child process that sleeps, and appends its process id to `pids` too.
    pub with_child: bool,
}

impl StdioScript {
    /// A modern server with these tools.
    pub fn modern(tools: &[&str]) -> Self {
        Self { modern: true, ..Self::with_tools(tools) }
    }

    /// A legacy server with these tools.
    pub fn legacy(tools: &[&str]) -> Self {
        Self { legacy: true, ..Self::with_tools(tools) }
    }

    fn with_tools(tools: &[&str]) -> Self {
        Self { tools: tools.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    /// The argument that says all this.
    pub fn argument(&self) -> String {
        serde_json::to_string(self).expect("a script is JSON")
    }
}

/// Runs the server until its standard input ends.
pub async fn run(script: StdioScript) {
    if let Some(pids) = &script.pids {
        append(pids, &std::process::id().to_string());
    }
    if script.with_child {
        #[expect(clippy::zombie_processes, reason = "whoever ends this process has to end its child too")]
        let child = std::process::Command::new("sleep").arg("600").spawn().expect("`sleep` starts");
        append(script.pids.as_ref().expect("`with_child` needs `pids`"), &child.id().to_string());
    }
    if !script.complaint.is_empty() {
        eprintln_raw(&script.complaint);
    }
    if let Some(code) = script.exit_at_once {
        std::process::exit(code);
    }
    let gate = Gate::default();
    let tools = script.tools.iter().map(|name| Tool::by_name(name, &gate).expect("a known tool"));
    let page_size = if script.page_size == 0 { usize::MAX } else { script.page_size };
    let engine = Engine::new(Script::dual().with_tools(tools).with_page_size(page_size));
    let (outgoing, lines) = mpsc::unbounded_channel();
    tokio::spawn(write_lines(lines));
    if !script.noise.is_empty() {
        let _ = outgoing.send(script.noise.clone());
    }
    let server = Arc::new(Server { engine, script, outgoing, in_flight: Mutex::default() });
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = input.next_line().await {
        server.receive(&line);
    }
    if server.script.outlive_stdin {
        std::future::pending::<()>().await;
    }
}

struct Server {
    engine: Engine,
    script: StdioScript,
    outgoing: mpsc::UnboundedSender<String>,
    in_flight: Mutex<HashMap<String, AbortHandle>>,
}

impl Server {
    fn receive(self: &Arc<Self>, line: &str) {
        if let Some(log) = &self.script.log {
            append(log, line);
        }
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return self.send(&Failure::new(-32700, "Parse error").response(&Value::Null));
        };
        let method = message["method"].as_str().unwrap_or_default();
        if !method.is_empty() && method == self.script.die_of {
            std::process::exit(3);
        }
        if method == "notifications/cancelled" {
            let key = message["params"]["requestId"].to_string();
            if let Some(work) = self.in_flight.lock().expect("no panic with the lock").remove(&key) {
                work.abort();
            }
        }
        if message["id"].is_null() || method.is_empty() || method == self.script.hang_at {
            return;
        }
        let key = message["id"].to_string();
        let server = Arc::clone(self);
        // Held while spawning, so that the request cannot end before it is known.
        let mut in_flight = self.in_flight.lock().expect("no panic with the lock");
        let work = tokio::spawn(async move { server.exchange(&message).await });
        in_flight.insert(key, work.abort_handle());
    }

    async fn exchange(&self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        let method = message["method"].as_str().unwrap_or_default();
        let is_modern = params["_meta"].get(meta::VERSION).is_some();
        let outcome = if is_modern && self.script.modern {
            match check_meta(params) {
                Err(failure) => Err(failure),
                Ok(version) if version != MODERN => Err(Failure::unsupported_version(version)),
                Ok(_) if method == "subscriptions/listen" => return self.listen(id).await,
                Ok(_) => self.answer(Era::Modern, method, params).await,
            }
        } else if self.script.legacy && method != "server/discover" {
            self.answer(Era::Legacy, method, params).await
        } else {
            Err(Failure::unknown_method(method))
        };
        self.send(&response(id, outcome));
        self.in_flight.lock().expect("no panic with the lock").remove(&id.to_string());
    }

    async fn answer(&self, era: Era, method: &str, params: &Value) -> Result<Value, Failure> {
        let (sender, mut notes) = mpsc::unbounded_channel();
        let mut work = Box::pin(self.engine.answer(era, method, params, sender));
        let outcome = loop {
            tokio::select! {
                biased;
                Some(note) = notes.recv() => self.send(&note),
                outcome = &mut work => break outcome,
            }
        };
        while let Ok(note) = notes.try_recv() {
            self.send(&note);
        }
        outcome
    }

    async fn listen(&self, id: &Value) {
        let about = json!({"_meta": {meta::SUBSCRIPTION: id}});
        let mut params = about.clone();
        params["notifications"] = json!({"toolsListChanged": true});
        self.send(&notification("notifications/subscriptions/acknowledged", params));
        let mut changes = self.engine.tool_changes();
        while changes.changed().await.is_ok() {
            self.send(&notification("notifications/tools/list_changed", about.clone()));
        }
    }

    fn send(&self, message: &Value) {
        // Nobody reads any more if the process is about to end.
        let _ = self.outgoing.send(message.to_string());
    }
}

async fn write_lines(mut lines: mpsc::UnboundedReceiver<String>) {
    let mut output = tokio::io::stdout();
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if output.write_all(line.as_bytes()).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

fn eprintln_raw(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn append(path: &PathBuf, line: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("a log that can be written");
}
