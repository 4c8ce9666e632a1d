//! What stands before an MCP server and decides who may in.

use std::fmt;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::record::SeenRequest;
use crate::port::Port;

/// Decides over every request of a server. Everything outside of the MCP endpoint is its own.
#[async_trait]
pub trait Guard: fmt::Debug + Send + Sync + 'static {
    /// The server that it guards is about to start here.
    fn placed_at(&self, port: &Port);

    /// Answers a request for another path than the MCP endpoint's; `connection` cuts the connection that it came on.
    async fn elsewhere(&self, parts: &Parts, body: &Bytes, connection: &CancellationToken) -> Response<Body>;

    /// Refuses a request for the MCP endpoint, or lets it pass.
    fn admit(&self, request: &SeenRequest) -> Result<(), Box<Response<Body>>>;

    /// Adds to the answer of a request that has passed.
    fn sign(&self, _answer: &mut Response<Body>) {}
}
