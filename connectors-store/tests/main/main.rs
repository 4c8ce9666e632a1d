//! What the stores promise, on a real file system.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests"
)]

#[cfg(feature = "vault")]
mod exclusive;
mod kill;
mod manifest;
mod open;
mod process;
mod writers;
