#![doc = include_str!("../README.md")]

mod body;
mod client;
mod dialer;
mod error;
mod events;
pub mod header_value;
mod headers;
mod http_sse;
mod incoming;
mod redirect;
mod reply;
mod response;
mod resume;
mod session;
pub mod sse;
mod transport;
mod wire;

pub use dialer::HttpDialer;
pub use transport::HttpTransport;
