//! What a connector's trace says of its connection.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::Response;
use connectors_core::authorizer::{Authorizer, Challenge, ChallengeResponse, RequestTarget, SecretHeader};
use connectors_core::transport::DialTarget;
use connectors_core::{ConnectorError, Dialer, TransportError};
use connectors_http::{HttpDialer, HttpStack};
use tokio::net::TcpListener;

use super::certificates::Authority;
use super::exchange::{NoNames, Rig, closed_port, yes};
use crate::http_transport::client::{call, definition};
use crate::http_transport::server::{Server, status, with};

#[tokio::test]
async fn each_way_to_fail_has_its_own_code() {
    let authority = Authority::new("Private");
    let tls = |issued: super::certificates::Issued| issued.server();
    let expired = Server::start_tls(tls(authority.issue_expired(&["127.0.0.1"])), yes).await;
    let misnamed = Server::start_tls(tls(authority.issue(&["other.example"])), yes).await;
    let foreign = Server::start_tls(tls(Authority::new("Foreign").issue(&["127.0.0.1"])), yes).await;
    let plain = Server::start(yes).await;
    let elsewhere = Server::start(|_| async { with(status(308), "location", "https://h.example/") }).await;
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mute_url = format!("http://{}/mcp", mute.local_addr().unwrap());
    let mute = tokio::spawn(async move {
        loop {
            drop(mute.accept().await.unwrap());
        }
    });
    let mut seen = Vec::new();
    for url in [
        plain.url("/mcp"),
        format!("http://{}/mcp", closed_port()),
        "http://unknown.example/mcp".to_owned(),
        expired.url("/mcp"),
        misnamed.url("/mcp"),
        foreign.url("/mcp"),
        plain.url("/mcp").replace("http:", "https:"),
        expired.url("/mcp").replace("https:", "http:"),
        mute_url,
        elsewhere.url("/mcp"),
    ] {
        let mut rig = Rig::on(HttpStack::with_names(Arc::new(NoNames)));
        rig.network.ca_file = rig.file("ca.pem", &authority.pem());
        let outcome = rig.connect(&url).await;
        let mut steps = rig.trace.read();
        assert_eq!(steps.len(), 1, "{steps:?}");
        let step = steps.remove(0);
        assert_eq!(step.remedy.is_some(), outcome.is_err(), "{step:?}");
        if let Err(error) = outcome {
            assert_eq!(step.seen, error.to_string());
        }
        seen.push(step.code);
    }
    assert_eq!(
        seen,
        [
            "connected",
            "connection_refused",
            "name_not_resolved",
            "tls_expired",
            "tls_wrong_name",
            "tls_unknown_issuer",
            "tls_failed",
            "not_http",
            "no_answer",
            "redirect_refused",
        ]
    );
    mute.abort();
}

#[tokio::test]
async fn the_first_answer_is_noted_whatever_it_says_and_later_ones_are_not() {
    let server = Server::start(|_| async { status(500) }).await;
    let rig = Rig::new();
    let target = DialTarget::new(
        Arc::new(definition(&server.url("/mcp?key=hidden"))),
        Arc::new(Nonces::default()),
        Arc::default(),
        rig.trace.clone(),
    );
    let transport = HttpDialer::on(&rig.stack).dial(target).await.unwrap();
    for id in 0..3 {
        assert!(matches!(call(&*transport, id, "ping").await, Err(TransportError::Status { .. })));
    }
    let address = server.address();
    let expected = format!("{address} ({address}) answered over HTTP/1.1 with status 500");
    assert_eq!(rig.steps(), [("Passed".to_owned(), "connected", expected)]);
}

#[derive(Default)]
struct Nonces {
    told: Mutex<Vec<String>>,
    challenged: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Authorizer for Nonces {
    async fn headers(&self, _: &RequestTarget) -> Result<Vec<SecretHeader>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn challenged(
        &self,
        challenge: &Challenge,
        _: &[SecretHeader],
    ) -> Result<ChallengeResponse, ConnectorError> {
        self.challenged.lock().unwrap().push(challenge.dpop_nonce.clone());
        Ok(ChallengeResponse::Retry)
    }

    fn nonce(&self, url: &str, nonce: &str) {
        self.told.lock().unwrap().push(format!("{url} {nonce}"));
    }
}

#[tokio::test]
async fn a_nonce_is_passed_on_from_answers_and_a_challenge_carries_its_own() {
    let count = Mutex::new(0);
    let server = Server::start(move |call| {
        let number = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count
        };
        async move {
            let response: Response<_> = if number == 1 { status(401) } else { yes(call).await };
            with(response, "dpop-nonce", &format!("n{number}"))
        }
    })
    .await;
    let authorizer = Arc::new(Nonces::default());
    let url = server.url("/mcp");
    let transport = crate::http_transport::client::dial(
        &url,
        connectors_core::Limits::default(),
        Arc::clone(&authorizer) as Arc<dyn Authorizer>,
    )
    .await;
    call(&*transport, 1, "ping").await.unwrap();
    assert_eq!(*authorizer.challenged.lock().unwrap(), [Some("n1".to_owned())]);
    assert_eq!(*authorizer.told.lock().unwrap(), [format!("{url} n2")]);
}
