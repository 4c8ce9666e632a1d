//! Servers behind the process handling of the Common Agent Runtime's engine (feature `car-engine`, Linux).

mod answers;
mod dialer;
mod life;
mod lifeline;
mod transport;

pub use dialer::EngineDialer;
pub use transport::EngineTransport;
