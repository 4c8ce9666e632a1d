//! The rows of the table.

use crate::Era;
use crate::contender::Job;
use crate::server;

use super::stats::Quantity;

/// One thing that is measured.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) era: Era,
    pub(super) rounds: usize,
    /// Rounds that a process lives: what is decided at its start, such as where its memory lies, weighs on all of them.
    pub(super) rounds_per_process: usize,
    pub(super) unit: Unit,
    query: String,
    work: Work,
}

/// How a row is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Microseconds of wall time, and of CPU time.
    PerCall { calls: usize },
    /// Calls a second: more is better.
    CallsPerSecond { calls: usize },
    /// Megabytes (10^6) of results a second: more is better.
    Throughput { bytes: usize },
    /// Milliseconds of wall time, and of CPU time.
    PerList { lists: usize },
    /// KiB.
    PerConnector { connectors: usize },
}

impl Unit {
    /// What of the cost it is made from.
    pub(super) fn quantity(self) -> Quantity {
        match self {
            Self::PerConnector { .. } => Quantity::Memory,
            _ => Quantity::Wall,
        }
    }

    /// True where the ratio is that of speeds.
    pub(super) fn is_speed(self) -> bool {
        matches!(self, Self::CallsPerSecond { .. } | Self::Throughput { .. })
    }

    /// A cost in this unit.
    pub(super) fn show(self, cost: f64) -> String {
        match self {
            Self::PerCall { calls } => format!("{:.1} us", cost / calls as f64 * 1e6),
            Self::CallsPerSecond { calls } => format!("{:.0} /s", calls as f64 / cost),
            Self::Throughput { bytes } => format!("{:.0} MB/s", bytes as f64 / cost / 1e6),
            Self::PerList { lists } => format!("{:.2} ms", cost / lists as f64 * 1e3),
            Self::PerConnector { connectors } => format!("{:.1} KiB", cost / connectors as f64 / 1024.0),
        }
    }
}

enum Work {
    Calls { count: usize, in_flight: usize, bytes: usize },
    Lists { count: usize, tools: usize },
    Idle { connectors: usize },
}

/// The number of tools that a server has where a row is not about them.
const TOOLS: usize = 20;

impl Row {
    /// How many servers it needs.
    pub(super) fn hosts(&self) -> usize {
        match self.work {
            // One more, for what a process has but once.
            Work::Idle { connectors } => connectors + 1,
            _ => 1,
        }
    }

    pub(super) fn job(&self, port: u16) -> Job {
        let url = |host| format!("http://{}:{port}/mcp?{}", server::host(host), self.query);
        match self.work {
            Work::Calls { count, in_flight, bytes } => Job::Calls { url: url(0), count, in_flight, bytes },
            Work::Lists { count, tools } => Job::Lists { url: url(0), count, tools },
            Work::Idle { .. } => Job::Idle { urls: (0..self.hosts()).map(url).collect(), tools: TOOLS },
        }
    }

    fn calls(name: &str, era: Era, query: &str, count: usize, in_flight: usize) -> Self {
        let unit = match in_flight {
            1 => Unit::PerCall { calls: count },
            _ => Unit::CallsPerSecond { calls: count },
        };
        let work = Work::Calls { count, in_flight, bytes: 1 };
        Self::new(name, era, query, work, unit, (25, 5))
    }

    fn large(name: &str, query: &str, mebibytes: usize, count: usize) -> Self {
        let bytes = mebibytes << 20;
        // What rmcp delivers is the text without its JSON escapes.
        let work = Work::Calls { count, in_flight: 1, bytes: bytes / 10 * 9 };
        let query = format!("{query}&bytes={bytes}");
        Self::new(name, Era::Modern, &query, work, Unit::Throughput { bytes: bytes * count }, (24, 3))
    }

    fn lists(name: &str, era: Era, tools: usize, page: Option<usize>, count: usize) -> Self {
        let page = page.map_or_else(String::new, |page| format!("&page={page}"));
        let query = format!("tools={tools}{page}");
        Self::new(name, era, &query, Work::Lists { count, tools }, Unit::PerList { lists: count }, (20, 5))
    }

    fn idle(name: &str, era: Era, connectors: usize) -> Self {
        Self::new(name, era, "", Work::Idle { connectors }, Unit::PerConnector { connectors }, (5, 1))
    }

    fn new(
        name: &str,
        era: Era,
        query: &str,
        work: Work,
        unit: Unit,
        (rounds, rounds_per_process): (usize, usize),
    ) -> Self {
        let name = if era == Era::Legacy { format!("{name}, 2025-11-25") } else { name.to_owned() };
        Self { name, era, rounds, rounds_per_process, unit, query: query.to_owned(), work }
    }

    /// The same row, only to see that it runs.
    fn quickly(mut self) -> Self {
        self.rounds = 2;
        self.rounds_per_process = 1;
        let divide = |count: &mut usize| *count = count.div_ceil(10);
        match &mut self.work {
            Work::Calls { count, .. } | Work::Lists { count, .. } => divide(count),
            Work::Idle { connectors } => divide(connectors),
        }
        match &mut self.unit {
            Unit::PerCall { calls: count }
            | Unit::CallsPerSecond { calls: count }
            | Unit::Throughput { bytes: count }
            | Unit::PerList { lists: count }
            | Unit::PerConnector { connectors: count } => divide(count),
        }
        self
    }
}

/// Every row, in the order of the table.
pub(super) fn all(quick: bool) -> Vec<Row> {
    use Era::{Legacy, Modern};
    let rows = vec![
        Row::calls("Call, JSON answer", Modern, "answer=json", 1_000, 1),
        Row::calls("Call, SSE answer", Modern, "answer=sse", 1_000, 1),
        Row::calls("Call, JSON answer", Legacy, "answer=json", 1_000, 1),
        Row::calls("Call, SSE answer", Legacy, "answer=sse", 1_000, 1),
        Row::calls("Call, SSE stream left open", Modern, "answer=open", 100, 1),
        Row::calls("64 calls in flight, JSON", Modern, "answer=json", 3_200, 64),
        Row::calls("64 calls in flight, SSE", Modern, "answer=sse", 3_200, 64),
        Row::calls("64 calls in flight, JSON", Legacy, "answer=json", 3_200, 64),
        Row::calls("256 calls in flight, JSON", Modern, "answer=json", 5_120, 256),
        Row::calls("256 calls in flight, SSE", Modern, "answer=sse", 5_120, 256),
        Row::large("1 MiB result, JSON", "answer=json", 1, 40),
        Row::large("1 MiB result, SSE", "answer=sse", 1, 40),
        Row::large("7 MiB result, JSON", "answer=json", 7, 8),
        Row::large("7 MiB result, SSE", "answer=sse", 7, 8),
        Row::lists("Connect, 1,000 tools in one page", Modern, 1_000, None, 20),
        Row::lists("Connect, 1,000 tools in pages of 50", Modern, 1_000, Some(50), 20),
        Row::lists("Connect, 1,000 tools in one page", Legacy, 1_000, None, 20),
        Row::lists("Connect, 10,000 tools in one page", Modern, 10_000, None, 2),
        Row::lists("Connect, 10,000 tools in pages of 50", Modern, 10_000, Some(50), 2),
        Row::idle("Idle connector with 20 tools", Modern, 500),
        Row::idle("Idle connector with 20 tools", Legacy, 500),
    ];
    if quick { rows.into_iter().map(Row::quickly).collect() } else { rows }
}
