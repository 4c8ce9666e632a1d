#![doc = include_str!("../README.md")]

mod address;
mod body;
mod cache;
mod client;
mod connection;
mod dialer;
mod error;
mod events;
mod guard;
mod guarded;
pub mod header_value;
mod headers;
mod http_sse;
mod incoming;
mod names;
mod network;
mod redirect;
mod reply;
mod response;
mod resume;
mod route;
mod session;
pub mod sse;
mod stack;
mod tls;
mod transport;
mod wire;

pub use dialer::HttpDialer;
pub use guarded::GuardedHttp;
pub use names::Names;
pub use stack::HttpStack;
pub use transport::HttpTransport;
