use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connectors_core::{CredentialKey, CredentialStore, NetworkSettings, Slug, Trace};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::*;
use crate::record::{Provenance, TokenRecord};
use crate::token::{TokenType, Tokens};

mod clocks;
mod dying;
mod ending;
mod failing;
mod grants;
mod legacy;
mod racing;
mod secrets;
mod server;
mod shelf;

use server::Server;
use shelf::Shelf;

const START: u64 = 1_700_000_000;

/// One authorization server, one store, and as many processes as a test opens sessions.
struct World {
    server: Arc<Server>,
    shelf: Arc<Shelf>,
    wall: Arc<AtomicU64>,
    trace: Trace,
}

impl World {
    /// A world in which somebody has just signed in, with tokens for an hour.
    async fn signed_in() -> Self {
        let world = Self {
            server: Server::new(),
            shelf: Shelf::new(),
            wall: Arc::new(AtomicU64::new(START)),
            trace: Trace::default(),
        };
        world.sign_in().await;
        world
    }

    /// Writes new tokens, as a sign-in does.
    async fn sign_in(&self) -> TokenRecord {
        let (access, refresh) = self.server.grant();
        let tokens = Tokens {
            access_token: access.into(),
            token_type: TokenType::Bearer,
            refresh_token: Some(refresh.into()),
            expires_in: Some(3600),
            scope: None,
        };
        let record = TokenRecord::new(tokens, self.wall.load(Ordering::Relaxed), provenance());
        self.write(&record).await;
        record
    }

    async fn write(&self, record: &TokenRecord) {
        self.shelf.inside.put(&key(), &record.to_secret().unwrap()).await.unwrap();
    }

    async fn stored(&self) -> Option<TokenRecord> {
        let stored = self.shelf.inside.get(&key()).await.unwrap()?;
        Some(TokenRecord::parse(&stored).unwrap())
    }

    async fn stored_access(&self) -> Option<String> {
        self.stored().await.map(|record| record.access_token.expose_secret().to_owned())
    }

    /// A connection in a process of its own.
    fn process(&self) -> Session {
        self.connection(&Unsaved::default())
    }

    /// A connection in the process that `unsaved` belongs to.
    fn connection(&self, unsaved: &Unsaved) -> Session {
        self.session(unsaved, Some(OAuthSettings::default()))
    }

    /// The same, of a connector whose definition says this of a sign-in.
    fn session(&self, unsaved: &Unsaved, settings: Option<OAuthSettings>) -> Session {
        self.session_at("https://mcp.test/mcp", unsaved, settings)
    }

    /// The same, of a connector that leads to another address.
    fn session_at(&self, server: &str, unsaved: &Unsaved, settings: Option<OAuthSettings>) -> Session {
        let wall = Arc::clone(&self.wall);
        let exchange = Exchange {
            slug: slug(),
            server: Url::parse(server).unwrap(),
            network: Arc::new(NetworkSettings::default()),
            http: Arc::clone(&self.server) as _,
            trace: self.trace.clone(),
        };
        let clock = Clock::of(move || wall.load(Ordering::Relaxed));
        Session::with_clock(exchange, Arc::clone(&self.shelf) as _, settings, unsaved.clone(), clock)
    }

    /// Lets time pass, by both clocks.
    async fn pass(&self, seconds: u64) {
        self.wall.fetch_add(seconds, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn noted(&self) -> Vec<&'static str> {
        self.trace.read().iter().map(|step| step.code).collect()
    }
}

fn provenance() -> Provenance {
    Provenance {
        issuer: Some("https://as.test".into()),
        token_endpoint: Some("https://as.test/token".into()),
        revocation_endpoint: Some("https://as.test/revoke".into()),
        client_id: Some("client".into()),
        resource: Some("https://mcp.test/mcp".into()),
        resource_server: Some("https://mcp.test".into()),
        ..Provenance::default()
    }
}

fn slug() -> Slug {
    Slug::verbatim("test")
}

fn key() -> CredentialKey {
    CredentialKey::tokens(&slug())
}

/// The token that a request would carry.
async fn token(session: &Session) -> Result<Option<String>, &'static str> {
    let held = session.fresh().await.map_err(|error| error.detail())?;
    Ok(held.map(|held| held.record.access_token.expose_secret().to_owned()))
}

/// What comes of a 401 to a token.
async fn refused(session: &Session, token: &str) -> Result<Refreshed, &'static str> {
    session.refresh_after_refusal(&SecretString::from(token)).await.map_err(|error| error.detail())
}

fn some(token: &str) -> Result<Option<String>, &'static str> {
    Ok(Some(token.to_owned()))
}

/// Waits until the work that a session has begun behind its caller is done.
async fn landed(session: &Session) {
    let landing = lock(&session.inner.flight).clone();
    if let Some(mut landing) = landing {
        let _ = landing.wait_for(Option::is_some).await;
    }
}
