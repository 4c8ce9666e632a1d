//! Single requests to where a server's metadata led: metadata, registrations, tokens.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use connectors_core::http::{HttpRequest, HttpResponse, HttpRules};
use connectors_core::{HttpClient, Limits, TransportError};
use reqwest::header::LOCATION;
use reqwest::{Method, Request, Response};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::body::{release, whole};
use crate::client::{ClientSettings, Clients};
use crate::error::unanswered;
use crate::guard::{self, Guard};
use crate::network::refused;
use crate::redirect::{self, MAX_REDIRECTS};
use crate::route::Route;
use crate::stack::HttpStack;

/// The [`HttpClient`] of a sign-in, on the stack of the connections.
///
/// *Addresses.* A request goes to the public internet; further only where the server of its [`HttpRules`] is itself spelled
/// as a private address or as this machine, or where `network.allow_private` opens private addresses. Link-local addresses,
/// those of cloud metadata services, and reserved ones are never reached. Literal addresses are checked before anything is
/// sent, names once they are resolved, for each connection: it is made to an address that was checked. Through a proxy only
/// literal addresses can be checked, as the proxy resolves the names.
///
/// *Schemes.* `https`; `http` on this machine, and for the server's own origin if that is `http`.
///
/// *Redirects.* With [`HttpRules::follow_redirects`] those of a GET are followed, five at most, to the same origin or from
/// http to https on the same host. Every other redirect is the answer. Headers are sent on as they are.
///
/// *Errors.* [`TransportError::Refused`] for what is not allowed, before a byte is sent there;
/// [`TransportError::LimitExceeded`] for a body over [`HttpRules::max_body`], of which no more is read;
/// [`TransportError::TimedOut`]; else as for connections.
#[derive(Clone)]
pub struct GuardedHttp {
    clients: Arc<Clients>,
}

impl std::fmt::Debug for GuardedHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedHttp").finish_non_exhaustive()
    }
}

impl GuardedHttp {
    /// On the stack that the connections use.
    pub fn on(stack: &HttpStack) -> Self {
        Self { clients: Arc::clone(&stack.clients) }
    }

    async fn follow(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, TransportError> {
        let (parts, body) = request.into_parts();
        let mut url = Url::parse(&parts.uri.to_string())
            .map_err(|_| TransportError::Refused("the address to request is not a URL".into()))?;
        let mut redirects = 0;
        loop {
            let mut request = Request::new(parts.method.clone(), url.clone());
            *request.headers_mut() = parts.headers.clone();
            if !body.is_empty() {
                *request.body_mut() = Some(body.clone().into());
            }
            let response = self.attempt(request, &url, rules).await?;
            let Some(to) = redirected(&parts.method, &response, &url, rules) else {
                return read(response, rules.max_body).await;
            };
            release(response);
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                return Err(redirect::circles());
            }
            url = to;
        }
    }

    /// Sends a request, if it may be sent, and returns the head of its answer.
    async fn attempt(
        &self,
        request: Request,
        url: &Url,
        rules: &HttpRules,
    ) -> Result<Response, TransportError> {
        guard::check(url, rules).map_err(|forbidden| TransportError::Refused(forbidden.to_string()))?;
        let mut route = Route::to(url, &rules.network).map_err(refused)?;
        let proxy = route.proxy(url);
        if proxy.is_none() {
            route = Route::Direct;
        }
        // The guard stays where a proxy is expected: should the name be resolved here after all, it is checked.
        let guard = Guard { reach: guard::reach(rules), chosen: proxy.map(|proxy| proxy.host) };
        let connect = Limits::default().connect;
        let settings = ClientSettings { connect, route: route.clone(), guard: Some(guard) };
        let client = self.clients.get(settings, &rules.network).await?;
        client.execute(request).await.map_err(|error| unanswered(error, url, connect, &route).error)
    }
}

#[async_trait]
impl HttpClient for GuardedHttp {
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, TransportError> {
        match tokio::time::timeout(rules.timeout, self.follow(request, rules)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::TimedOut { what: "the request", limit: rules.timeout }),
        }
    }
}

/// Where an answer sends the request on to, if it is to go there.
fn redirected(method: &Method, response: &Response, from: &Url, rules: &HttpRules) -> Option<Url> {
    if !rules.follow_redirects || method != Method::GET {
        return None;
    }
    let location = response.headers().get(LOCATION).map(|value| value.as_bytes());
    // A redirect that is not followed is an answer.
    redirect::target(method, response.status(), from, location).ok().flatten()
}

async fn read(mut response: Response, max_body: usize) -> Result<HttpResponse, TransportError> {
    let (status, version) = (response.status(), response.version());
    let headers = std::mem::take(response.headers_mut());
    let body = whole(&mut response, max_body, &CancellationToken::new()).await?;
    let mut answer = HttpResponse::new(Bytes::new());
    *answer.status_mut() = status;
    *answer.version_mut() = version;
    *answer.headers_mut() = headers;
    *answer.body_mut() = body;
    Ok(answer)
}
