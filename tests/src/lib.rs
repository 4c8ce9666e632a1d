//! What the tests across the crates stand on: a scriptable MCP server, a scriptable authorization server, the
//! daemon as a child process on a temporary home, and a client of its WebSocket.
//!
//! Everything here fails by panicking, with a sentence that says what was expected: a failure is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]

pub mod daemon;
pub mod deadline;
pub mod http_client;
mod listener;
pub mod mcp_server;
pub mod oauth;
mod port;
pub mod temp_home;
pub mod ws_client;

pub use daemon::Daemon;
pub use mcp_server::{Fault, McpServer, Script, Stage, Tool};
pub use temp_home::TempHome;
pub use ws_client::{RpcError, WsClient};

/// The example of the project's README, compiled.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;
