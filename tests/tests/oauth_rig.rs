//! The scriptable authorization server and the guard of an MCP server themselves, seen by a client written by hand.

mod authorization;
mod discovery;
mod dpop;
mod grants;
pub(crate) mod hand_client;
mod tokens;
