//! The border to plain HTTP: the single requests of a sign-in, on the stack that carries the connection itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::{Host, Url};

use crate::definition::NetworkSettings;
use crate::error::TransportError;

/// A request with all of its body.
pub type HttpRequest = http::Request<Bytes>;

/// An answer with all of its body.
pub type HttpResponse = http::Response<Bytes>;

/// True for an address on this machine, by what is written there: `localhost`, 127.0.0.0/8 or `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Sends single HTTP requests: metadata, registrations, tokens.
///
/// Implemented by `connectors-http` with the proxies, certificates and pool of the connections; used by the OAuth sibling. Any
/// status is an answer, not an error; no credentials are added.
///
/// *Cancellation.* Dropping the future closes the request; the server may have acted on it. *Errors.*
/// [`TransportError::Refused`] where [`HttpRules`] forbid the address or a redirect, before a byte is sent there.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    /// Sends a request and reads the whole answer.
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, TransportError>;
}

/// What holds for a request that a server's metadata led to.
#[derive(Debug, Clone)]
pub struct HttpRules {
    /// The MCP server on whose behalf it is made. Only for one on this machine, or on a private address that its URL spells
    /// out, may the request go to such addresses too.
    pub server: Url,
    /// How the connector's network is set up.
    pub network: Arc<NetworkSettings>,
    /// Longest body of an answer in bytes, counted after decompression.
    pub max_body: usize,
    /// Longest time for the whole request.
    pub timeout: Duration,
    /// Whether redirects within the origin are followed (GET only); others never are, and are then answers.
    pub follow_redirects: bool,
}
