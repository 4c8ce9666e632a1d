//! Credentials: asked for anew for each attempt, and what is made of a 401 or 403.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::Method;
use connectors_core::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use connectors_core::{ConnectorError, Limits, TransportError};
use serde_json::json;

use super::client::{call, dial, initialize, initialized, next_incoming};
use super::server::{Call, Server, events, json as json_answer, status, with};

/// Has a token, and a better one once it is challenged.
#[derive(Default)]
struct TwoTokens {
    challenges: Mutex<Vec<Challenge>>,
    targets: Mutex<Vec<(&'static str, String)>>,
}

#[async_trait]
impl Authorizer for TwoTokens {
    async fn headers(&self, request: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        self.targets.lock().unwrap().push((request.method, request.url.to_string()));
        let token = if self.challenges.lock().unwrap().is_empty() { "Bearer old" } else { "Bearer new" };
        Ok(vec![SecretHeader { name: "Authorization".into(), value: token.into() }])
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        _: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        self.challenges.lock().unwrap().push(challenge.clone());
        Ok(ChallengeResponse::Retry)
    }
}

/// A server that takes the token `Bearer {good}` alone.
async fn server(good: &'static str) -> Server {
    Server::start(move |call: Call| {
        let response = if call.header("authorization") != format!("Bearer {good}") {
            with(status(401), "www-authenticate", "Bearer error=\"invalid_token\"")
        } else if call.method == Method::GET {
            events("data: {\"method\":\"notifications/x\"}\n\n")
        } else if call.body()["id"].is_null() {
            status(202)
        } else {
            json_answer(&json!({"jsonrpc": "2.0", "id": call.body()["id"], "result": {}}))
        };
        async move { response }
    })
    .await
}

#[tokio::test]
async fn a_refused_request_is_sent_again_once_with_what_the_authorizer_has_by_then() {
    let server = server("new").await;
    let authorizer = Arc::new(TwoTokens::default());
    let wire = dial(&server.url("/mcp"), Limits::default(), Arc::clone(&authorizer) as _).await;
    assert_eq!(call(&*wire, 1, "ping").await.unwrap(), json!({}));
    assert_eq!(call(&*wire, 2, "ping").await.unwrap(), json!({}));
    let tokens: Vec<String> =
        server.calls().iter().map(|call| call.header("authorization").to_owned()).collect();
    assert_eq!(tokens, ["Bearer old", "Bearer new", "Bearer new"]);
    let mut challenge = Challenge::new(401, server.url("/mcp"));
    challenge.www_authenticate = vec!["Bearer error=\"invalid_token\"".into()];
    assert_eq!(*authorizer.challenges.lock().unwrap(), [challenge]);
    assert_eq!(*authorizer.targets.lock().unwrap(), vec![("POST", server.url("/mcp")); 3]);
}

#[tokio::test]
async fn the_servers_stream_carries_credentials_too() {
    let server = server("new").await;
    let wire = dial(&server.url("/mcp"), Limits::default(), Arc::new(TwoTokens::default())).await;
    let mut incoming = wire.incoming();
    initialize(&*wire).await.unwrap();
    initialized(&*wire).await.unwrap();
    assert_eq!(next_incoming(&mut incoming).await.unwrap(), "notifications/x");
    assert_eq!(server.seen("GET", 1).await[0].header("authorization"), "Bearer new");
}

#[tokio::test]
async fn a_refusal_that_stands_is_not_tried_a_third_time() {
    let server = server("none of these").await;
    let wire = dial(&server.url("/mcp"), Limits::default(), Arc::new(TwoTokens::default())).await;
    let refused = call(&*wire, 1, "ping").await;
    let Err(TransportError::Unauthorized { forbidden: false, challenge }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(challenge.www_authenticate, ["Bearer error=\"invalid_token\""]);
    assert_eq!(server.asked(), ["ping", "ping"]);
}
