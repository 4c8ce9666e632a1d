//! What a backend runs on itself to show that it keeps a trait's contract, and fakes for whoever uses the trait.
//!
//! The suites are plain async functions that panic where the contract is broken: call them from a `#[tokio::test]`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite reports by panicking")]

pub mod config;
pub mod credentials;
mod parallel;
pub mod proposals;
pub mod scripted;
pub mod sign_in;
pub mod transport;
pub mod watched;
