//! The words of the protocol: versions, JSON-RPC messages, and the members that this client reads and writes.

mod jsonrpc;
mod meta;
pub(crate) mod shallow;
mod version;

pub use jsonrpc::{Incoming, MalformedMessage, RequestId, RpcError, read_messages};
pub use meta::{Implementation, RequestMeta, key};
pub use version::{Era, ProtocolVersion};

/// JSON-RPC and MCP error codes that a client acts on.
pub mod code {
    /// The message is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The message is not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method is not known, or not to this side.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are wrong.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The other side failed.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// `HeaderMismatch` (2026-07-28, transports, server validation).
    pub const HEADER_MISMATCH: i64 = -32020;
    /// `MissingRequiredClientCapability` (2026-07-28, base protocol).
    pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
    /// `UnsupportedProtocolVersion` (2026-07-28, versioning).
    pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
    /// `URLElicitationRequired` (2025-11-25, client, elicitation).
    pub const URL_ELICITATION_REQUIRED: i64 = -32042;
}
