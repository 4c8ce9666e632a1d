//! An authorization server without a wire.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::answer::{Answer, Outcome};
use super::fault::{Endpoint, endpoint_at, strike};
use super::keys::KeyPair;
use super::ledger::{Ledger, Standing};
use super::log::{Asked, Log};
use super::metadata;
use super::setup::{KnownClient, Setup};
use crate::mcp_server::Record;

/// What the server and the guards that trust it share.
#[derive(Debug)]
pub(super) struct State {
    origin: Mutex<String>,
    setup: Mutex<Setup>,
    ledger: Mutex<Ledger>,
    pub(super) log: Record<Log>,
    pub(super) key: KeyPair,
}

/// Whoever answers one request: everything that it works with.
pub(super) struct Desk<'a> {
    pub(super) setup: &'a Setup,
    pub(super) issuer: &'a str,
    pub(super) key: &'a KeyPair,
    pub(super) ledger: &'a mut Ledger,
    pub(super) log: &'a mut Log,
}

impl State {
    pub(super) fn new(origin: String, setup: Setup) -> Self {
        Self {
            origin: Mutex::new(origin),
            setup: Mutex::new(setup),
            ledger: Mutex::default(),
            log: Record::default(),
            key: KeyPair::generate(),
        }
    }

    /// From now on is at another origin.
    pub(super) fn move_to(&self, origin: String) {
        *self.origin.lock().expect("no panic with the lock") = origin;
    }

    pub(super) fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock().expect("no panic with the lock")
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic with the lock")
    }

    /// Its name: the origin and the path of the issuer.
    pub(super) fn issuer(&self) -> String {
        let origin = self.origin.lock().expect("no panic with the lock").clone();
        format!("{origin}{}", self.setup().issuer_path)
    }

    /// What an access token is worth.
    pub(super) fn standing(&self, token: &str) -> Standing {
        self.ledger().standing(token)
    }

    /// Answers one HTTP request; `connection` cuts the connection that it came on.
    pub(super) async fn answer(
        self: &Arc<Self>,
        parts: &Parts,
        body: &Bytes,
        connection: &CancellationToken,
    ) -> Response<Body> {
        let path = parts.uri.path();
        let asked = asked(self.endpoint_of(parts), parts, body);
        let grant = asked.parameter("grant_type").to_owned();
        let index = self.log.note(|log| {
            log.requests.push(asked.clone());
            log.requests.len() - 1
        });
        let fault = strike(&mut self.setup().faults, asked.endpoint, path, &grant);
        let answer = match fault {
            None => self.process(&asked, path).into_response(),
            Some(reply) => match reply.act(|| self.process(&asked, path)).await {
                Outcome::Answer(answer) => answer,
                Outcome::Cut => {
                    connection.cancel();
                    return std::future::pending().await;
                }
                Outcome::Silence => return std::future::pending().await,
            },
        };
        self.log.note(|log| log.requests[index].status = Some(answer.status().as_u16()));
        answer
    }

    fn endpoint_of(&self, parts: &Parts) -> Endpoint {
        let issuer_path = self.setup().issuer_path.clone();
        let path = parts.uri.path();
        if parts.method == "GET" && metadata::places(&issuer_path).iter().any(|(_, place)| place == path) {
            return Endpoint::Metadata;
        }
        let below = path.strip_prefix(issuer_path.trim_end_matches('/'));
        below.map_or(Endpoint::Unknown, |below| endpoint_at(&parts.method, below))
    }

    fn process(&self, asked: &Asked, path: &str) -> Answer {
        let issuer = self.issuer();
        let setup = self.setup().clone();
        let mut ledger = self.ledger();
        self.log.note(|log| {
            let mut desk = Desk { setup: &setup, issuer: &issuer, key: &self.key, ledger: &mut ledger, log };
            match asked.endpoint {
                Endpoint::Metadata => desk.metadata(path),
                Endpoint::Registration => desk.register(asked),
                Endpoint::Authorization => desk.authorize(asked),
                Endpoint::Token => desk.token(asked),
                Endpoint::Revocation => desk.revoke(asked),
                Endpoint::DeviceAuthorization => desk.authorize_device(asked),
                Endpoint::DevicePage => desk.device_page(asked),
                _ => Answer::page(404, "Not found"),
            }
        })
    }
}

impl Desk<'_> {
    /// The URL of a path below the issuer.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.trim_end_matches('/'))
    }

    /// A client by its identifier.
    pub(super) fn client(&self, id: &str) -> Option<KnownClient> {
        let known = || self.setup.clients.iter().find(|client| client.id == id);
        self.ledger.clients.get(id).or_else(known).cloned().or_else(|| {
            let document = self.setup.client_id_documents && id.starts_with("https://");
            document.then(|| KnownClient { redirect_uris: Vec::new(), ..KnownClient::public(id, "") })
        })
    }

    /// Remembers a secret that was received.
    pub(super) fn note_secret(&mut self, secret: &str) {
        if !secret.is_empty() && !self.log.secrets.iter().any(|known| known == secret) {
            self.log.secrets.push(secret.to_owned());
        }
    }
}

/// A request as it goes on record.
pub(super) fn asked(endpoint: Endpoint, parts: &Parts, body: &Bytes) -> Asked {
    let is_form = parts
        .headers
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let encoded = if is_form { body } else { parts.uri.query().unwrap_or_default().as_bytes() };
    Asked {
        endpoint,
        at: Instant::now(),
        method: parts.method.clone(),
        target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: parts.headers.clone(),
        parameters: form_urlencoded::parse(encoded).into_owned().collect(),
        json: if is_form { Value::Null } else { serde_json::from_slice(body).unwrap_or(Value::Null) },
        status: None,
    }
}
