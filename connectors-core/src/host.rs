//! What a host does for servers: answering their requests for input.

use async_trait::async_trait;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::names::Slug;
use crate::protocol::{RpcError, code};

/// Answers what servers ask of the user or the model: elicitation, sampling, roots.
///
/// The same requests reach the host in both eras: embedded in a result (2026-07-28, multi round-trip requests), as
/// requests of the server's own (legacy versions), or in an error that names pages to visit first (2025-11-25).
///
/// *Cancellation.* The future is dropped when the call that needs the input is. *Concurrency.* Any number at once.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait InputHandler: Send + Sync + 'static {
    /// The `ClientCapabilities` object that is declared to servers. Constant; only what
    /// [`answer`](Self::answer) can do belongs in it.
    fn capabilities(&self) -> Value;

    /// The result of one request. An error reaches the server as it is.
    async fn answer(&self, connector: &Slug, request: InputRequest) -> Result<Value, RpcError>;
}

/// A server's request for input.
#[derive(Debug)]
pub struct InputRequest {
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// Its parameters, unparsed. Untrusted.
    pub params: Option<Box<RawValue>>,
}

/// A host that offers servers nothing, and says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoInput;

#[async_trait]
impl InputHandler for NoInput {
    fn capabilities(&self) -> Value {
        Value::Object(serde_json::Map::new())
    }

    async fn answer(&self, _: &Slug, request: InputRequest) -> Result<Value, RpcError> {
        Err(RpcError::new(
            code::METHOD_NOT_FOUND,
            format!("{} is not supported by this client", request.method),
        ))
    }
}
