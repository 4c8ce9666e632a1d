//! A client in a process of its own: reads jobs, does them, and says what they cost.

mod bare;
mod connectors;
mod job;
mod manager;
mod rmcp;
mod work;

use std::future::Future;
use std::io::{BufRead, Write};

use anyhow::{Result, bail};
use serde_json::Value;

pub(crate) use self::job::{Cost, Job};
use crate::Era;

/// A way to talk to MCP servers.
trait Contender: 'static {
    type Connection: Connection;

    /// Connects to a server and lists its tools, all pages.
    fn connect(&self, url: &str) -> impl Future<Output = Result<Self::Connection>>;
}

/// A server that is connected, its tools known.
trait Connection: Send + Sync + 'static {
    /// How many tools it has.
    fn tools(&self) -> usize;

    /// Calls its first tool and returns how large the result was, in bytes, about.
    fn call(&self, arguments: Value) -> impl Future<Output = Result<usize>> + Send;

    /// Ends the conversation, in the way that the client offers.
    fn close(self) -> impl Future<Output = Result<()>>;
}

/// Does one job after the other until the standard input ends.
pub(crate) fn run(name: &str, era: Era) -> Result<()> {
    // For the clients that take whatever provider the process has. The other way to have one is what is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match name {
        "bare" => serve(bare::Bare::new(era)?),
        "connectors" => serve(connectors::Connectors::new(era)),
        "manager" => serve(manager::Managed::default()),
        "rmcp-default" => serve(rmcp::Rmcp::new(era, None)),
        "rmcp-tuned" => serve(rmcp::Rmcp::new(era, Some(::reqwest::Client::new()))),
        other => bail!("no contender is called {other:?}"),
    }
}

fn serve<C: Contender>(contender: C) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut worker = work::Worker::new(contender);
    for line in std::io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let cost = runtime.block_on(worker.run(job))?;
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &cost)?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
