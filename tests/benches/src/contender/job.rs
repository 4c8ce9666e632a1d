//! What a contender is told to do, and what it answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Job {
    /// `count` calls over one connection, `in_flight` of them at any time, each with a result of at least `bytes`.
    Calls { url: String, count: usize, in_flight: usize, bytes: usize },
    /// Connecting and listing `tools` tools, `count` times.
    Lists { url: String, count: usize, tools: usize },
    /// Connecting to every one of these servers and keeping the connections, with `tools` tools each.
    Idle { urls: Vec<String>, tools: usize },
}

/// What a job has cost, in all.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Seconds.
    pub(crate) wall: f64,
    /// Seconds of CPU time, user and system, of all threads of the process.
    pub(crate) cpu: f64,
    /// Growth of the resident memory, in bytes.
    pub(crate) memory: f64,
}

/// Adds up what happens between `start` and `stop`.
pub(super) struct Meter {
    wall: Duration,
    cpu: f64,
    started: (Instant, f64),
}

impl Meter {
    pub(super) fn start() -> Self {
        Self { wall: Duration::ZERO, cpu: 0.0, started: (Instant::now(), cpu_seconds()) }
    }

    pub(super) fn resume(&mut self) {
        self.started = (Instant::now(), cpu_seconds());
    }

    pub(super) fn pause(&mut self) {
        self.cpu += cpu_seconds() - self.started.1;
        self.wall += self.started.0.elapsed();
    }

    pub(super) fn stop(mut self) -> Cost {
        self.pause();
        self.cost()
    }

    /// What was added up, once paused.
    pub(super) fn cost(&self) -> Cost {
        Cost { wall: self.wall.as_secs_f64(), cpu: self.cpu, memory: 0.0 }
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The resident memory of this process, in bytes.
pub(super) fn resident() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .context("/proc/self/status does not tell the resident memory")?;
    Ok(kib * 1024.0)
}
