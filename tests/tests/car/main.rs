//! Connectors in a real runtime of the Common Agent Runtime (feature `car-engine`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]
#![allow(clippy::print_stdout, reason = "measurements, and tests that are skipped, say so")]
#![recursion_limit = "256"]

mod attach;
mod chain;
mod churn;
mod daemon;
mod dispatch;
mod embedded;
mod governance;
mod governed;
mod host;
mod lifetime;
mod mcp;
mod page;
mod ratio;
mod stdio;
