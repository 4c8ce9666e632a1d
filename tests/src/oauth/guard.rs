//! The resource server's side: tokens checked before an MCP server, and what it says of itself (RFC 9728, RFC 6750).

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Outcome};
use super::dpop::Proofs;
use super::fault::{Endpoint, Fault, strike};
use super::guard_setup::{GuardSetup, ListedServers, MetadataLocation, PublishedResource};
use super::log::Asked;
use super::server::AuthorizationServer;
use super::setup::Setup;
use super::state::{State, asked};
use super::verdict::{Sighting, Verdict};
use crate::mcp_server::{Guard, McpServer, Port, Record, Script, SeenRequest};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Lets into an MCP server only who shows a good token of a server that it trusts, issued for this MCP server. Clones are the
/// same guard; a guard is for one MCP server.
#[derive(Debug, Clone)]
pub struct TokenGuard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: Mutex<String>,
    setup: Mutex<GuardSetup>,
    trusted: Mutex<Vec<Arc<State>>>,
    proofs: Mutex<Proofs>,
    record: Record<Doings>,
}

#[derive(Debug, Default)]
struct Doings {
    requests: Vec<Asked>,
    sightings: Vec<Sighting>,
}

/// An authorization server, and an MCP server that trusts it.
#[derive(Debug)]
pub struct Rig {
    /// The MCP server.
    pub mcp: McpServer,
    /// What stands before it.
    pub guard: TokenGuard,
    /// The authorization server.
    pub server: AuthorizationServer,
}

impl Rig {
    /// Starts both.
    pub fn start(script: Script, guard: GuardSetup, setup: Setup) -> Self {
        let server = AuthorizationServer::start(setup);
        let guard = TokenGuard::new(&[&server], guard);
        Self { mcp: script.guarded_by(guard.clone()).start(), guard, server }
    }
}

impl TokenGuard {
    /// A guard that trusts these servers.
    pub fn new(servers: &[&AuthorizationServer], setup: GuardSetup) -> Self {
        let guard = Self(Arc::new(Inner {
            origin: Mutex::default(),
            setup: Mutex::new(setup),
            trusted: Mutex::default(),
            proofs: Mutex::default(),
            record: Record::default(),
        }));
        guard.trust(servers);
        guard
    }

    /// From now on trusts these servers and no others.
    pub fn trust(&self, servers: &[&AuthorizationServer]) {
        let states = servers.iter().map(|server| Arc::clone(&server.state)).collect();
        *self.0.trusted.lock().expect("no panic with the lock") = states;
    }

    /// Changes what it is, from now on.
    pub fn change(&self, change: impl FnOnce(&mut GuardSetup)) {
        change(&mut self.setup());
    }

    /// From now on this goes wrong with the metadata, before anything else does.
    pub fn break_with(&self, fault: Fault) {
        self.change(|setup| setup.faults.insert(0, fault));
    }

    /// From now on wants another DPoP nonce.
    pub fn rotate_nonce(&self) {
        self.proofs().rotate_nonce();
    }

    /// The requests outside of the MCP endpoint so far: for its metadata, and for what it has not.
    pub fn requests(&self) -> Vec<Asked> {
        self.0.record.look(|doings| doings.requests.clone())
    }

    /// The requests for the MCP endpoint so far, and what became of them.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.0.record.look(|doings| doings.sightings.clone())
    }

    /// How many requests for the MCP endpoint had this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        let of = |doings: &Doings| doings.sightings.iter().filter(|one| one.verdict == verdict).count();
        self.0.record.look(of)
    }

    /// Waits until `count` requests have had this verdict.
    pub async fn seen(&self, verdict: Verdict, count: usize) {
        let enough = |doings: &Doings| {
            (doings.sightings.iter().filter(|one| one.verdict == verdict).count() >= count).then_some(())
        };
        self.0.record.wait_for(&format!("{count} requests that are {verdict:?}"), enough).await;
    }

    /// The resource that tokens have to be for.
    pub fn resource(&self) -> String {
        let origin = self.origin();
        match &self.setup().resource {
            PublishedResource::Endpoint | PublishedResource::Absent => format!("{origin}/mcp"),
            PublishedResource::EndpointWithSlash => format!("{origin}/mcp/"),
            PublishedResource::Origin => origin,
            PublishedResource::Other(other) => other.clone(),
        }
    }

    /// The URL of its metadata; none if it is nowhere.
    pub fn metadata_url(&self) -> Option<String> {
        Some(format!("{}{}", self.origin(), metadata_path(&self.setup().metadata)?))
    }

    pub(super) fn origin(&self) -> String {
        self.0.origin.lock().expect("no panic with the lock").clone()
    }

    pub(super) fn setup(&self) -> MutexGuard<'_, GuardSetup> {
        self.0.setup.lock().expect("no panic with the lock")
    }

    pub(super) fn proofs(&self) -> MutexGuard<'_, Proofs> {
        self.0.proofs.lock().expect("no panic with the lock")
    }

    pub(super) fn trusted(&self) -> Vec<Arc<State>> {
        self.0.trusted.lock().expect("no panic with the lock").clone()
    }

    fn metadata(&self, path: &str) -> Answer {
        let setup = self.setup().clone();
        if metadata_path(&setup.metadata).as_deref() != Some(path) {
            return Answer::page(404, "Not found");
        }
        let mut document = json!({"bearer_methods_supported": ["header"]});
        if setup.resource != PublishedResource::Absent {
            document["resource"] = json!(self.resource());
        }
        match &setup.servers {
            ListedServers::Trusted => {
                let issuers: Vec<_> = self.trusted().iter().map(|server| server.issuer()).collect();
                document["authorization_servers"] = json!(issuers);
            }
            ListedServers::Others(others) => document["authorization_servers"] = json!(others),
            ListedServers::Absent => {}
        }
        if let Some(scopes) = &setup.scopes_supported {
            document["scopes_supported"] = json!(scopes);
        }
        Answer::json(200, document)
    }
}

#[async_trait]
impl Guard for TokenGuard {
    fn placed_at(&self, port: &Port) {
        *self.0.origin.lock().expect("no panic with the lock") = port.origin();
        if self.setup().hosts_authorization_server
            && let Some(first) = self.trusted().first()
        {
            first.move_to(port.origin());
        }
    }

    async fn elsewhere(&self, parts: &Parts, body: &Bytes, connection: &CancellationToken) -> Response<Body> {
        let path = parts.uri.path();
        let custom = matches!(&self.setup().metadata, MetadataLocation::Custom(custom) if custom == path);
        let metadata = custom || path.starts_with(WELL_KNOWN);
        let hosted =
            self.setup().hosts_authorization_server.then(|| self.trusted().first().cloned()).flatten();
        if !metadata && let Some(server) = hosted {
            return server.answer(parts, body, connection).await;
        }
        let endpoint = if metadata { Endpoint::ResourceMetadata } else { Endpoint::Unknown };
        let index = self.0.record.note(|doings| {
            doings.requests.push(asked(endpoint, parts, body));
            doings.requests.len() - 1
        });
        let fault = strike(&mut self.setup().faults, endpoint, path, "");
        let answer = match fault {
            None => self.metadata(path).into_response(),
            Some(reply) => match reply.act(|| self.metadata(path)).await {
                Outcome::Answer(answer) => answer,
                Outcome::Cut => {
                    connection.cancel();
                    return std::future::pending().await;
                }
                Outcome::Silence => return std::future::pending().await,
            },
        };
        self.0.record.note(|doings| doings.requests[index].status = Some(answer.status().as_u16()));
        answer
    }

    fn admit(&self, request: &SeenRequest) -> Result<(), Box<Response<Body>>> {
        let (token, verdict) = self.judge(request);
        let sighting = Sighting { method: request.method().to_owned(), token, verdict };
        self.0.record.note(|doings| doings.sightings.push(sighting));
        match verdict {
            Verdict::Good | Verdict::Open => Ok(()),
            verdict => Err(Box::new(self.refusal(request, verdict).into_response())),
        }
    }

    fn sign(&self, answer: &mut Response<Body>) {
        if self.setup().renews_nonce {
            let mut proofs = self.proofs();
            proofs.rotate_nonce();
            let nonce = HeaderValue::from_str(proofs.nonce()).expect("a nonce is a header value");
            answer.headers_mut().insert("dpop-nonce", nonce);
        }
    }
}

fn metadata_path(location: &MetadataLocation) -> Option<String> {
    match location {
        MetadataLocation::Path => Some(format!("{WELL_KNOWN}/mcp")),
        MetadataLocation::Root => Some(WELL_KNOWN.to_owned()),
        MetadataLocation::Custom(path) => Some(path.clone()),
        MetadataLocation::Nowhere => None,
    }
}
