//! Compares what MCP clients cost: connectors, rmcp and a bare reqwest loop, each in a process of its own, against one fast
//! server in another.
//!
//! Without a subcommand this is the harness: it starts the processes, interleaves their runs and prints a Markdown table. The
//! subcommands are those processes. Linux only: it pins processes to cores and reads `/proc`.

mod contender;
mod harness;
mod server;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: connectors-benches [--quick] [--only TEXT] [--without NAME]...
       connectors-benches serve --era modern|legacy [--hosts N] [--core N]
       connectors-benches contend NAME --era modern|legacy [--core N]

  --quick         few and short rounds: shows that everything runs, measures nothing
  --only TEXT     only the rows whose names contain TEXT
  --without NAME  leaves a contender out: connectors, manager, rmcp-default, rmcp-tuned
";

/// The protocol era that a server accepts and its clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2026-07-28.
    Modern,
    /// 2025-11-25, with a session.
    Legacy,
}

impl Era {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "modern" => Ok(Self::Modern),
            "legacy" => Ok(Self::Legacy),
            other => bail!("no era is called {other:?}"),
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = Arguments(std::env::args().skip(1).collect());
    let subcommand = arguments.0.first().filter(|first| !first.starts_with('-')).cloned();
    match subcommand.as_deref() {
        None => harness::run(&harness_options(arguments)?),
        Some("serve") => {
            arguments.0.remove(0);
            pin(&mut arguments)?;
            let era = Era::parse(&arguments.value("--era")?.context("--era is missing")?)?;
            let hosts = arguments.value("--hosts")?.map_or(Ok(1), |hosts| hosts.parse())?;
            arguments.finish()?;
            server::run(era, hosts)
        }
        Some("contend") => {
            arguments.0.remove(0);
            pin(&mut arguments)?;
            let era = Era::parse(&arguments.value("--era")?.context("--era is missing")?)?;
            let [name] = &arguments.0[..] else { bail!("one contender at a time\n{USAGE}") };
            contender::run(name, era)
        }
        Some(other) => bail!("no subcommand {other:?}\n{USAGE}"),
    }
}

fn harness_options(mut arguments: Arguments) -> Result<harness::Options> {
    if arguments.flag("--help") {
        print!("{USAGE}");
        std::process::exit(0);
    }
    let mut options = harness::Options {
        quick: arguments.flag("--quick"),
        only: arguments.value("--only")?,
        without: Vec::new(),
    };
    while let Some(name) = arguments.value("--without")? {
        options.without.push(name);
    }
    arguments.finish()?;
    Ok(options)
}

/// Keeps this process, all threads that it will start included, on the core that `--core` names.
fn pin(arguments: &mut Arguments) -> Result<()> {
    if let Some(core) = arguments.value("--core")? {
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core.parse()?);
        rustix::thread::sched_setaffinity(None, &cores).context("cannot pin to the core")?;
    }
    Ok(())
}

/// What of the command line is not yet read.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    fn value(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        if at + 1 == self.0.len() {
            bail!("{name} needs a value\n{USAGE}");
        }
        self.0.remove(at);
        Ok(Some(self.0.remove(at)))
    }

    fn finish(self) -> Result<()> {
        match self.0.first() {
            Some(unknown) => bail!("unknown argument {unknown:?}\n{USAGE}"),
            None => Ok(()),
        }
    }
}
