#![doc = include_str!("../README.md")]

mod dialer;
#[cfg(all(feature = "car-engine", target_os = "linux"))]
mod engine;
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
#[cfg(all(feature = "car-engine", target_os = "linux"))]
pub use engine::{EngineDialer, EngineTransport};
pub use transport::StdioTransport;
