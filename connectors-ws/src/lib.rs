#![doc = include_str!("../README.md")]

pub mod auth;
mod callback;
#[cfg(feature = "car-engine")]
pub mod car;
pub mod compose;
mod connection;
mod dispatch;
pub mod error;
mod events;
#[cfg(test)]
mod fixture;
mod guard;
mod handshake;
mod methods;
mod openrpc;
#[cfg(feature = "panel")]
mod panel;
mod params;
mod protocol;
mod router;
mod server;
mod session;

pub use connection::Connections;
pub use connectors_store::SecretsChoice;
pub use dispatch::Dispatcher;
pub use error::ErrorObject;
pub use events::Notifications;
pub use handshake::PROTOCOL_VERSION;
pub use openrpc::document;
pub use protocol::MAX_FRAME;
pub use router::router;
pub use server::Server;
pub use session::{InFlight, MAX_IN_FLIGHT, Session};
