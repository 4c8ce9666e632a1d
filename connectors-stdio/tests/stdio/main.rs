//! The transport against the contract, against streams that misbehave, and against processes that do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod contract;
#[cfg(all(feature = "car-engine", target_os = "linux"))]
mod engine;
#[cfg(unix)]
mod orphans;
#[cfg(unix)]
mod process;
mod stream;
mod support;
