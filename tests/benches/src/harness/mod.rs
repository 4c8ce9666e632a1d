//! Runs every row: processes started, runs interleaved, ratios taken.

mod machine;
mod process;
mod report;
mod rows;
mod stats;

use std::time::Instant;

use anyhow::Result;

use self::process::{Child, Server};
use self::report::Finished;
use self::rows::Row;
use self::stats::Samples;
use crate::contender::Cost;

/// The clients that are compared, each in a process of its own; the bare loop is measured beside them, twice.
pub(crate) const CONTENDERS: [&str; 4] = ["connectors", "manager", "rmcp-tuned", "rmcp-default"];

/// What to run.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    pub(crate) without: Vec<String>,
}

/// Runs the rows and prints the report.
pub(crate) fn run(options: &Options) -> Result<()> {
    let contenders: Vec<&'static str> = CONTENDERS
        .into_iter()
        .filter(|name| !options.without.iter().any(|left_out| left_out == name))
        .collect();
    let started = Instant::now();
    let mut finished = Vec::new();
    for row in rows::all(options.quick) {
        if options.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        eprint!("{:<44}", row.name);
        let begun = Instant::now();
        finished.push(measure(row, &contenders)?);
        eprintln!("{:6.1} s", begun.elapsed().as_secs_f64());
    }
    print!("{}", report::markdown(&finished, &contenders, started.elapsed(), options.quick));
    Ok(())
}

/// One round after the other, each contender once in each, beginning with another every time.
fn measure(row: Row, contenders: &[&'static str]) -> Result<Finished> {
    let names: Vec<&'static str> = interleaved(contenders);
    let mut samples = Samples::new(contenders.len());
    let mut children: Vec<Option<Child>> = Vec::new();
    let mut server = None;
    for round in 0..row.rounds {
        if round % row.rounds_per_process == 0 {
            children.clear();
            children.resize_with(names.len(), || None);
            server = None;
        }
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(Server::start(row.era, row.hosts())?),
        };
        let job = row.job(server.port());
        let mut costs: Vec<Cost> = vec![Cost::default(); names.len()];
        for step in 0..names.len() {
            let index = (step + round) % names.len();
            let child = match &mut children[index] {
                Some(child) => child,
                none => none.insert(Child::start(names[index], row.era)?),
            };
            costs[index] = child.run(&job)?;
        }
        samples.add(&costs);
    }
    Ok(Finished { row, samples })
}

/// The order of a round: the bare loop first and again in the middle, so that what changes within a round shows.
fn interleaved(contenders: &[&'static str]) -> Vec<&'static str> {
    let (first, second) = contenders.split_at(contenders.len().div_ceil(2));
    [&["bare"], first, &["bare"], second].concat()
}
