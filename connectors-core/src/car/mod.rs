//! Connector tools as tools of the Common Agent Runtime (feature `car-engine`).
//!
//! A [`CarBridge`] keeps the registries of any number of `car_engine::Runtime`s in step with the routes of one
//! [`ConnectorManager`](crate::ConnectorManager), and makes the executors that their calls go through. What such a runtime runs
//! passes its validator, its policies and its event log like any other action, and the manager's own gates, schemas and limits
//! after that.
//!
//! `tools` (what a route is to a registry), `listing` (who lists what, and when), `runtime` and `mcp` (the two kinds of lists),
//! `executor`, `call`, `result` and `stream` (dispatch), `session` (connectors as the engine's own MCP sessions), `policy` and
//! `record` (governance), `governed` and `proposed` (single calls through a runtime), `digits` (integers that the engine does not take).

mod bridge;
mod call;
mod digits;
mod executor;
mod governed;
mod listing;
mod mcp;
mod policy;
mod proposed;
mod record;
mod result;
mod runtime;
mod session;
mod stream;
mod tools;

pub use self::bridge::CarBridge;
pub use self::executor::ConnectorExecutor;
pub use self::governed::{GovernedCalls, GovernedError};
pub use self::result::ResultShape;
pub use self::session::ConnectorSession;
pub use self::tools::{Permissions, tool_entry, tool_schema};
