#![doc = include_str!("../README.md")]

mod dialer;
mod environment;
pub mod lines;
mod lookup;
mod pipe;
mod process;
mod redact;
mod size;
mod stderr;
mod supervisor;
mod transport;

pub use dialer::StdioDialer;
pub use transport::StdioTransport;
