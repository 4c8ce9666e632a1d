//! What a host composes into its manager.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use connectors_core::sign_in::{SignInProvider, SignInTarget};
use connectors_core::{HttpClient, SignIn};
use url::Url;

use crate::exchange::Exchange;
use crate::refresh::Unsaved;
use crate::sign_in::{Nowhere, OAuthSignIn};

/// What users see of this client at an authorization server, unless the host says otherwise.
const CLIENT_NAME: &str = "Connectors";

/// OAuth 2.1 for the connectors of one host.
pub struct OAuthProvider {
    host: Arc<Host>,
}

/// What all sign-ins of a host share.
#[derive(Clone)]
pub(crate) struct Host {
    http: Arc<dyn HttpClient>,
    pub(crate) client_name: String,
    pub(crate) client_metadata_url: Option<String>,
    /// Tokens that a store has not taken yet.
    pub(crate) unsaved: Unsaved,
    /// Clients that an authorization server has forgotten, as issuer and client id.
    forgotten: Arc<Mutex<HashSet<(String, String)>>>,
}

impl Host {
    /// Remembers that a server no longer knows a client.
    pub(crate) fn forget(&self, issuer: &str, client_id: &str) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.insert((issuer.to_owned(), client_id.to_owned()));
    }

    /// True for a client that a server no longer knows.
    pub(crate) fn is_forgotten(&self, issuer: &str, client_id: &str) -> bool {
        let forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.contains(&(issuer.to_owned(), client_id.to_owned()))
    }
}

impl std::fmt::Debug for OAuthProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthProvider").finish_non_exhaustive()
    }
}

impl OAuthProvider {
    /// Sign-ins that reach servers through `http`.
    pub fn new(http: Arc<dyn HttpClient>) -> Self {
        let host = Host {
            http,
            client_name: CLIENT_NAME.to_owned(),
            client_metadata_url: None,
            unsaved: Unsaved::default(),
            forgotten: Arc::default(),
        };
        Self { host: Arc::new(host) }
    }

    /// The name that users see when they are asked for their consent.
    #[must_use]
    pub fn with_client_name(mut self, name: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.host).client_name = name.into();
        self
    }

    /// Where this host publishes its client ID metadata document: an `https` URL with a path. It is then the client's identifier
    /// at every authorization server that supports that (2026-07-28, authorization, client registration).
    #[must_use]
    pub fn with_client_metadata_url(mut self, url: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.host).client_metadata_url = Some(url.into());
        self
    }
}

impl SignInProvider for OAuthProvider {
    fn open(&self, target: SignInTarget) -> Arc<dyn SignIn> {
        let definition = &target.definition;
        let Ok(server) = Url::parse(&definition.url) else {
            return Arc::new(Nowhere(definition.slug.clone()));
        };
        let exchange = Exchange {
            slug: definition.slug.clone(),
            server,
            network: Arc::new(definition.network.clone()),
            http: Arc::clone(&self.host.http),
            trace: target.trace.clone(),
        };
        Arc::new(OAuthSignIn::new(Arc::clone(&self.host), target, exchange))
    }
}
