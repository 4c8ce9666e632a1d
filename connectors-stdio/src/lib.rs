#![doc = include_str!("../README.md")]

mod dialer;
mod environment;
mod exchanges;
mod inbox;
pub mod lines;
mod lookup;
mod pipe;
mod process;
mod redact;
mod size;
mod stderr;
mod supervisor;
mod transport;
mod unreadable;

pub use dialer::StdioDialer;
pub use transport::StdioTransport;
pub use unreadable::response_id;
