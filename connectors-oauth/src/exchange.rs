//! The requests of one connector's sign-in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors_core::http::{HttpClient, HttpRequest, HttpResponse, HttpRules};
use connectors_core::trace::TraceStep;
use connectors_core::{NetworkSettings, Slug, Trace, TransportError};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use url::Url;
use url::form_urlencoded::Serializer;

/// Longest answer of an authorization server: a metadata document or tokens, in bytes.
pub(crate) const MAX_BODY: usize = 256 << 10;

/// Longest time for one request.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Whom the requests are for, how they travel, and where they are recorded.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) slug: Slug,
    /// The MCP endpoint.
    pub(crate) server: Url,
    pub(crate) network: Arc<NetworkSettings>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) trace: Trace,
}

impl Exchange {
    pub(crate) fn note(&self, step: TraceStep) {
        self.trace.note(step);
    }

    /// True for the server itself, and after its step from http to https to the same host.
    pub(crate) fn leads_to(&self, url: &Url) -> bool {
        let server = &self.server;
        let is_same_origin = || {
            server.scheme() == url.scheme() && server.port_or_known_default() == url.port_or_known_default()
        };
        let is_upgraded = || server.scheme() == "http" && url.scheme() == "https";
        server.host() == url.host() && (is_same_origin() || is_upgraded())
    }

    /// Reads a document. Redirects within its origin are followed.
    pub(crate) async fn get(&self, url: &Url) -> Result<HttpResponse, TransportError> {
        let request = request(Method::GET, url, Bytes::new(), None);
        self.send(request, true).await
    }

    /// Posts a form, and waits no longer than `timeout` for the answer. Its fields may be secrets: nothing of it is kept.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        fields: &[(&str, &str)],
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
    ) -> Result<HttpResponse, TransportError> {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = request(
            Method::POST,
            url,
            body.into(),
            Some(HeaderValue::from_static("application/x-www-form-urlencoded")),
        );
        for (name, value) in headers {
            request.headers_mut().append(name, value.clone());
        }
        self.send_within(request, false, timeout).await
    }

    /// Posts a JSON document.
    pub(crate) async fn post_json(&self, url: &Url, body: Vec<u8>) -> Result<HttpResponse, TransportError> {
        let json = HeaderValue::from_static("application/json");
        self.send(request(Method::POST, url, body.into(), Some(json)), false).await
    }

    /// Sends any request.
    pub(crate) async fn send(
        &self,
        request: HttpRequest,
        follow_redirects: bool,
    ) -> Result<HttpResponse, TransportError> {
        self.send_within(request, follow_redirects, REQUEST_TIMEOUT).await
    }

    async fn send_within(
        &self,
        request: HttpRequest,
        follow_redirects: bool,
        timeout: Duration,
    ) -> Result<HttpResponse, TransportError> {
        let rules = HttpRules {
            server: self.server.clone(),
            network: Arc::clone(&self.network),
            max_body: MAX_BODY,
            timeout,
            follow_redirects,
        };
        self.http.send(request, &rules).await
    }
}

fn request(method: Method, url: &Url, body: Bytes, content_type: Option<HeaderValue>) -> HttpRequest {
    let mut request = HttpRequest::new(body);
    *request.method_mut() = method;
    // A `Url` with an http scheme is always a URI; anything else is refused by the client.
    *request.uri_mut() = url.as_str().parse().unwrap_or_default();
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(content_type) = content_type {
        request.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    request
}
