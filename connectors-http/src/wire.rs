//! Sending one request: credentials, challenges, redirects.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use connectors_core::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget};
use connectors_core::{Limits, TransportError};
use reqwest::header::{HeaderMap, HeaderName, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::body::release;
use crate::error::{shut, unanswered};
use crate::headers::add_secrets;
use crate::redirect::{self, MAX_REDIRECTS};

const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// One endpoint, and what every request to it needs.
pub(crate) struct Wire {
    client: reqwest::Client,
    /// Where requests go: the configured URL, or where it has moved to for good.
    endpoint: ArcSwap<Url>,
    authorizer: Arc<dyn Authorizer>,
    pub(crate) limits: Arc<Limits>,
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
        client: reqwest::Client,
        endpoint: Url,
        authorizer: Arc<dyn Authorizer>,
        limits: Arc<Limits>,
    ) -> Self {
        let endpoint = ArcSwap::from_pointee(endpoint);
        Self { client, endpoint, authorizer, limits, closed: CancellationToken::new() }
    }

    /// The same at another address of the same origin, until `closed` is cancelled.
    pub(crate) fn at(&self, endpoint: Url, closed: CancellationToken) -> Self {
        Self {
            client: self.client.clone(),
            endpoint: ArcSwap::from_pointee(endpoint),
            authorizer: Arc::clone(&self.authorizer),
            limits: Arc::clone(&self.limits),
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
        let mut challenged = false;
        let mut redirects = 0;
        let mut moved_for_good = true;
        loop {
            let response = self.attempt(outgoing, &url).await?;
            let status = response.status();
            if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                let challenge = challenge(&response, &url);
                release(response);
                self.meet(challenge, &mut challenged).await?;
            } else if let Some(to) = redirected(outgoing.verb, &response, &url)? {
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

    async fn attempt(&self, outgoing: &Outgoing, url: &Url) -> Result<Response, TransportError> {
        let target = RequestTarget { method: outgoing.verb.name(), url: url.as_str().to_owned() };
        let secrets = self.authorizer.headers(&target).await.map_err(from_authorizer)?;
        let mut request = Request::new(outgoing.verb.method(), url.clone());
        let mut headers = outgoing.headers.clone();
        add_secrets(&mut headers, &secrets)?;
        *request.headers_mut() = headers;
        if outgoing.verb == Verb::Post {
            *request.body_mut() = Some(outgoing.body.clone().into());
        }
        self.client.execute(request).await.map_err(|e| unanswered(e, url, self.limits.connect))
    }

    /// Has the authorizer answer a refusal: `Ok` to send once more.
    async fn meet(&self, challenge: Challenge, challenged: &mut bool) -> Result<(), TransportError> {
        let forbidden = if std::mem::replace(challenged, true) {
            challenge.status == StatusCode::FORBIDDEN
        } else {
            match self.authorizer.challenged(&challenge).await.map_err(from_authorizer)? {
                ChallengeResponse::Retry => return Ok(()),
                ChallengeResponse::Forbidden => true,
                // `SignIn`, and what a later version may add.
                _ => false,
            }
        };
        Err(TransportError::Unauthorized { forbidden, challenge: Box::new(challenge) })
    }
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
    let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut challenge = Challenge::new(response.status().as_u16(), url.as_str());
    challenge.www_authenticate = response.headers().get_all(WWW_AUTHENTICATE).iter().map(text).collect();
    challenge.dpop_nonce = response.headers().get(DPOP_NONCE).map(text);
    challenge
}

#[cfg(test)]
mod tests {
    use connectors_core::authorizer::MockAuthorizer;

    use super::*;

    fn wire(authorizer: MockAuthorizer) -> Wire {
        let client = crate::client::Clients::default()
            .get(&crate::client::ClientSettings { connect: std::time::Duration::from_secs(1), direct: false })
            .unwrap();
        Wire::new(
            client,
            "https://h.example/mcp".parse().unwrap(),
            Arc::new(authorizer),
            Arc::new(Limits::default()),
        )
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
        authorizer.expect_challenged().times(1).returning(|_| Ok(ChallengeResponse::Retry));
        let wire = wire(authorizer);
        let mut challenged = false;
        wire.meet(Challenge::new(401, "u"), &mut challenged).await.unwrap();
        assert_eq!(refused(wire.meet(Challenge::new(403, "u"), &mut challenged).await), (true, 403));
    }

    #[tokio::test]
    async fn what_the_authorizer_says_of_a_refusal_is_passed_on() {
        for (answer, forbidden) in [(ChallengeResponse::SignIn, false), (ChallengeResponse::Forbidden, true)]
        {
            let mut authorizer = MockAuthorizer::new();
            authorizer.expect_challenged().returning(move |_| Ok(answer));
            let result = wire(authorizer).meet(Challenge::new(403, "u"), &mut false).await;
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
