//! The HTTP transport over loopback: what servers do that the contract of all wires does not ask about.

pub(crate) mod client;
mod credentials;
mod http_sse;
mod limits;
mod proxy;
mod redirects;
pub(crate) mod server;
mod sessions;
mod streams;
