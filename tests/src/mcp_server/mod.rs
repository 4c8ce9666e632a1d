//! A scriptable MCP server on a loopback port, in both eras of the protocol.
//!
//! A [`Script`] says what it is and what goes wrong with it; [`Script::start`] runs it on a thread of its own, so that
//! no test can starve it; the [`McpServer`] that comes back changes the script at run time and tells what was seen. The
//! same [`engine`] also answers over stdio ([`stdio`]).

pub mod engine;
mod faults;
mod guard;
mod headers;
mod http;
mod in_flight;
mod record;
mod running;
mod script;
mod sse;
pub mod stdio;
mod tool;

pub use crate::port::Port;
pub(crate) use faults::respond;
pub use faults::{Fault, Stage};
pub use guard::Guard;
pub use record::{Cancelled, Record, Seen, SeenRequest, Signal, StreamEnd};
pub use running::McpServer;
pub use script::{Cursors, Eras, Linger, ReplyAs, Script};
pub use tool::{Gate, Tool, ToolContext};
