//! Sending one request: credentials, challenges, redirects.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use connectors_core::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use connectors_core::{Limits, TransportError};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::body::release;
use crate::connection::{Connection, Outcome};
use crate::error::{place, shut, unanswered};
use crate::headers::add_secrets;
use crate::redirect::{self, MAX_REDIRECTS};
use crate::route::Route;

/// How often the authorizer is asked about one request at most.
const ASKS: usize = 3;

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// One endpoint, and what every request to it needs.
pub(crate) struct Wire {
    client: reqwest::Client,
    /// The way that the client takes.
    route: Route,
    /// Where requests go: the configured URL, or where it has moved to for good.
    endpoint: ArcSwap<Url>,
    authorizer: Arc<dyn Authorizer>,
    pub(crate) limits: Arc<Limits>,
    connection: Arc<Connection>,
    /// Cancelled when the transport is closed.
    pub(crate) closed: CancellationToken,
}

/// A request that can be sent more than once.
pub(crate) struct Outgoing {
    pub(crate) verb: Verb,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The HTTP methods of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Get,
    Delete,
}

impl Verb {
    fn method(self) -> Method {
        match self {
            Self::Post => Method::POST,
            Self::Get => Method::GET,
            Self::Delete => Method::DELETE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::Delete => "DELETE",
        }
    }
}

impl Wire {
    pub(crate) fn new(
        (client, route): (reqwest::Client, Route),
        endpoint: Url,
        authorizer: Arc<dyn Authorizer>,
        limits: Arc<Limits>,
        connection: Connection,
    ) -> Self {
        let endpoint = ArcSwap::from_pointee(endpoint);
        let (connection, closed) = (Arc::new(connection), CancellationToken::new());
        Self { client, route, endpoint, authorizer, limits, connection, closed }
    }

    /// The same at another address of the same origin, until `closed` is cancelled.
    pub(crate) fn at(&self, endpoint: Url, closed: CancellationToken) -> Self {
        Self {
            client: self.client.clone(),
            route: self.route.clone(),
            endpoint: ArcSwap::from_pointee(endpoint),
            authorizer: Arc::clone(&self.authorizer),
            limits: Arc::clone(&self.limits),
            connection: Arc::clone(&self.connection),
            closed,
        }
    }

    /// Sends a request and returns the head of its answer, whatever its status, once redirects are followed and
    /// challenges met.
    ///
    /// # Errors
    ///
    /// [`TransportError::Closed`] when the transport is closed meanwhile; [`TransportError::Unauthorized`] and
    /// [`TransportError::Authorizer`] for a refusal that stands; [`TransportError::Refused`] for a redirect that is not
    /// followed; else why there was no answer.
    pub(crate) async fn send(&self, outgoing: &Outgoing) -> Result<Response, TransportError> {
        if self.closed.is_cancelled() {
            return Err(shut());
        }
        tokio::select! {
            biased;
            answer = self.send_even_closed(outgoing) => answer,
            () = self.closed.cancelled() => Err(shut()),
        }
    }

    /// As [`send`](Self::send), for the last request of a transport.
    pub(crate) async fn send_even_closed(&self, outgoing: &Outgoing) -> Result<Response, TransportError> {
        let mut url = self.endpoint.load_full();
        let mut asks = ASKS;
        let mut redirects = 0;
        let mut moved_for_good = true;
        loop {
            let (response, secrets) = self.attempt(outgoing, &url).await?;
            let status = response.status();
            let onward = redirected(outgoing.verb, &response, &url);
            self.note_answer(&response, onward.as_ref().err(), &url);
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                let challenge = challenge(&response, &url);
                release(response);
                self.meet(challenge, &secrets, &mut asks).await?;
                continue;
            }
            if let Some(nonce) = response.headers().get(DPOP_NONCE) {
                self.authorizer.nonce(url.as_str(), &text(nonce));
            }
            if let Some(to) = onward? {
                release(response);
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(redirect::circles());
                }
                moved_for_good &= status == StatusCode::PERMANENT_REDIRECT;
                url = Arc::new(to);
            } else {
                if redirects > 0 && moved_for_good && status.is_success() {
                    // Saves the detour and, after a step to https, keeps further credentials off the open wire.
                    self.endpoint.store(url);
                }
                return Ok(response);
            }
        }
    }

    /// One request, and the credentials that it carried.
    async fn attempt(
        &self,
        outgoing: &Outgoing,
        url: &Arc<Url>,
    ) -> Result<(Response, Vec<SecretHeader>), TransportError> {
        let target = RequestTarget { method: outgoing.verb.name(), url: Arc::clone(url) };
        let secrets = self.authorizer.headers(&target).await.map_err(from_authorizer)?;
        match self.client.execute(request(outgoing, url, &secrets)?).await {
            Ok(response) => Ok((response, secrets)),
            Err(error) => {
                let failed = unanswered(error, url, self.limits.connect, &self.route);
                self.note(failed.outcome, || failed.error.to_string());
                Err(failed.error)
            }
        }
    }

    /// Takes down how the connection fares. The last words of a closed transport are no part of that.
    fn note(&self, outcome: Outcome, seen: impl FnOnce() -> String) {
        if !self.closed.is_cancelled() {
            self.connection.note(outcome, seen);
        }
    }

    fn note_answer(&self, response: &Response, refused: Option<&TransportError>, url: &Url) {
        match refused {
            Some(refused) => self.note(Outcome::RedirectRefused, || refused.to_string()),
            None => self.note(Outcome::Connected, || {
                let address = response.remote_addr().map(|address| format!(" ({address})"));
                let proxy =
                    self.route.proxy(url).map(|proxy| format!(" by way of the proxy {}", proxy.place));
                format!(
                    "{}{}{} answered over {:?} with status {}",
                    place(url),
                    proxy.unwrap_or_default(),
                    address.unwrap_or_default(),
                    response.version(),
                    response.status().as_u16()
                )
            }),
        }
    }

    /// Has the authorizer answer a refusal: `Ok` to send once more. `asks` is how often it may still be asked.
    async fn meet(
        &self,
        challenge: Challenge,
        sent: &[SecretHeader],
        asks: &mut usize,
    ) -> Result<(), TransportError> {
        let forbidden = if *asks == 0 {
            challenge.status == StatusCode::FORBIDDEN
        } else {
            match self.authorizer.challenged(&challenge, sent).await.map_err(from_authorizer)? {
                ChallengeResponse::Retry => {
                    *asks = 0;
                    return Ok(());
                }
                ChallengeResponse::Outdated => {
                    *asks -= 1;
                    return Ok(());
                }
                ChallengeResponse::Forbidden => true,
                // `SignIn`, and what a later version may add.
                _ => false,
            }
        };
        Err(TransportError::Unauthorized { forbidden, challenge: Box::new(challenge) })
    }
}

/// Built apart from what waits for the answer, which would hold its parts all the while.
fn request(outgoing: &Outgoing, url: &Url, secrets: &[SecretHeader]) -> Result<Request, TransportError> {
    let mut request = Request::new(outgoing.verb.method(), url.clone());
    let mut headers = outgoing.headers.clone();
    add_secrets(&mut headers, secrets)?;
    *request.headers_mut() = headers;
    if outgoing.verb == Verb::Post {
        *request.body_mut() = Some(outgoing.body.clone().into());
    }
    Ok(request)
}

fn from_authorizer(error: connectors_core::ConnectorError) -> TransportError {
    TransportError::Authorizer(Box::new(error))
}

fn redirected(verb: Verb, response: &Response, from: &Url) -> Result<Option<Url>, TransportError> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).map(|value| value.as_bytes());
    redirect::target(&verb.method(), response.status(), from, location)
}

fn challenge(response: &Response, url: &Url) -> Challenge {
    let mut challenge = Challenge::new(response.status().as_u16(), url.as_str());
    challenge.www_authenticate = response.headers().get_all(WWW_AUTHENTICATE).iter().map(text).collect();
    challenge.dpop_nonce = response.headers().get(DPOP_NONCE).map(text);
    challenge
}

#[cfg(test)]
impl Wire {
    /// For tests that send nothing.
    pub(crate) fn unconnected(authorizer: Arc<dyn Authorizer>, limits: Limits) -> Self {
        let tls = crate::tls::Identity::default().configure().unwrap();
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
        let endpoint = "https://h.example/mcp".parse().unwrap();
        let (limits, connection) = (Arc::new(limits), Connection::default());
        Self::new((client, Route::Direct), endpoint, authorizer, limits, connection)
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use connectors_core::authorizer::MockAuthorizer;

    use super::*;

    fn wire(authorizer: MockAuthorizer) -> Wire {
        Wire::unconnected(Arc::new(authorizer), Limits::default())
    }

    fn refused(result: Result<(), TransportError>) -> (bool, u16) {
        match result {
            Err(TransportError::Unauthorized { forbidden, challenge }) => (forbidden, challenge.status),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_authorizer_is_asked_once_per_request() {
        let mut authorizer = MockAuthorizer::new();
        authorizer.expect_challenged().times(1).returning(|_, _| Ok(ChallengeResponse::Retry));
        let wire = wire(authorizer);
        let mut asks = ASKS;
        wire.meet(Challenge::new(401, "u"), &[], &mut asks).await.unwrap();
        assert_eq!(refused(wire.meet(Challenge::new(403, "u"), &[], &mut asks).await), (true, 403));
    }

    #[tokio::test]
    async fn the_authorizer_is_asked_again_where_others_have_changed_the_credentials_but_not_for_ever() {
        let mut authorizer = MockAuthorizer::new();
        authorizer.expect_challenged().times(ASKS).returning(|_, _| Ok(ChallengeResponse::Outdated));
        let wire = wire(authorizer);
        let mut asks = ASKS;
        for _ in 0..ASKS {
            wire.meet(Challenge::new(401, "u"), &[], &mut asks).await.unwrap();
        }
        assert_eq!(refused(wire.meet(Challenge::new(401, "u"), &[], &mut asks).await), (false, 401));
    }

    #[tokio::test]
    async fn what_the_authorizer_says_of_a_refusal_is_passed_on() {
        for (answer, forbidden) in [(ChallengeResponse::SignIn, false), (ChallengeResponse::Forbidden, true)]
        {
            let mut authorizer = MockAuthorizer::new();
            authorizer.expect_challenged().returning(move |_, _| Ok(answer));
            let result = wire(authorizer).meet(Challenge::new(403, "u"), &[], &mut 1).await;
            assert_eq!(refused(result), (forbidden, 403));
        }
    }

    #[test]
    fn a_challenge_holds_every_field_in_order() {
        let response = http::Response::builder()
            .status(401)
            .header("WWW-Authenticate", "Bearer scope=\"a\"")
            .header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")
            .header("DPoP-Nonce", "n1")
            .body("")
            .unwrap();
        let mut expected = Challenge::new(401, "https://h.example/mcp");
        expected.www_authenticate = vec!["Bearer scope=\"a\"".into(), "DPoP error=\"use_dpop_nonce\"".into()];
        expected.dpop_nonce = Some("n1".into());
        let url = "https://h.example/mcp".parse().unwrap();
        assert_eq!(challenge(&response.into(), &url), expected);
    }

    #[tokio::test]
    async fn a_closed_wire_sends_nothing() {
        let wire = wire(MockAuthorizer::new());
        wire.closed.cancel();
        let outgoing = Outgoing { verb: Verb::Get, headers: HeaderMap::new(), body: Bytes::new() };
        assert!(matches!(wire.send(&outgoing).await, Err(TransportError::Closed { .. })));
    }
}
