//! The sign-in of a connector: whether it has one, and which.

use std::sync::Arc;

use super::cell::Cell;
use super::shared::Shared;
use crate::definition::{ConnectorDefinition, GrantKind, NetworkSettings, OAuthException};
use crate::error::ConnectorError;
use crate::sign_in::{SignIn, SignInProvider, SignInTarget};
use crate::store::CredentialStore;
use crate::trace::Trace;
use crate::transport::InvalidDefinition;

/// The header that a sign-in sends; a fixed one of this name takes its place.
const AUTHORIZATION: &str = "authorization";

/// A sign-in, and the definition that it was opened for.
pub(super) struct OpenSignIn {
    pub(super) sign_in: Arc<dyn SignIn>,
    pub(super) definition: Arc<ConnectorDefinition>,
}

impl OpenSignIn {
    /// True where the connector still signs in to the same server in the same way.
    fn is_for(&self, definition: &ConnectorDefinition) -> bool {
        type How<'a> = (&'a str, &'a NetworkSettings, Option<&'a GrantKind>, &'a [OAuthException]);
        fn how(definition: &ConnectorDefinition) -> How<'_> {
            let oauth = definition.oauth.as_ref();
            let grant = oauth.and_then(|oauth| oauth.grant.as_ref());
            let exceptions = oauth.map(|oauth| oauth.exceptions.as_slice()).unwrap_or_default();
            (&definition.url, &definition.network, grant, exceptions)
        }
        how(&self.definition) == how(definition)
    }
}

impl Shared {
    /// Opens the sign-in of a dial and keeps it, where the connector has one.
    pub(super) fn open_sign_in(
        &self,
        cell: &Cell,
        definition: &Arc<ConnectorDefinition>,
    ) -> Option<Arc<dyn SignIn>> {
        let opened = self.signs_in(definition).ok().map(|provider| self.open(provider, cell, definition));
        cell.sign_in.store(opened.clone());
        opened.map(|opened| Arc::clone(&opened.sign_in))
    }

    fn open(
        &self,
        provider: &Arc<dyn SignInProvider>,
        cell: &Cell,
        definition: &Arc<ConnectorDefinition>,
    ) -> Arc<OpenSignIn> {
        let target = self.target(Arc::clone(definition), Arc::clone(&self.credentials), cell.trace.clone());
        Arc::new(OpenSignIn { sign_in: provider.open(target), definition: Arc::clone(definition) })
    }

    /// What a sign-in works with.
    pub(super) fn target(
        &self,
        definition: Arc<ConnectorDefinition>,
        credentials: Arc<dyn CredentialStore>,
        trace: Trace,
    ) -> SignInTarget {
        SignInTarget { definition, credentials, limits: Arc::clone(&self.limits), trace }
    }

    /// Who opens a connector's sign-ins, or why it has none.
    pub(super) fn signs_in(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<&Arc<dyn SignInProvider>, ConnectorError> {
        let no = |field, problem: &str| Err(InvalidDefinition { field, problem: problem.to_owned() }.into());
        if definition.stdio.is_some() {
            return no("slug", "a local server is not signed in to");
        }
        if definition.secret_headers.iter().any(|name| name.eq_ignore_ascii_case(AUTHORIZATION)) {
            return no(
                "headers",
                "it sends a fixed Authorization header; remove that first to sign in instead",
            );
        }
        match &self.sign_in {
            Some(provider) => Ok(provider),
            None => no("slug", "this host was built without signing in"),
        }
    }

    /// The sign-in of a connector: that of its last dial, as long as that is what it is for.
    pub(super) fn sign_in_of(&self, cell: &Cell) -> Result<Arc<OpenSignIn>, ConnectorError> {
        let definition = cell.definition.load_full();
        let provider = self.signs_in(&definition)?;
        if let Some(opened) = cell.sign_in.load_full().filter(|opened| opened.is_for(&definition)) {
            return Ok(opened);
        }
        let opened = self.open(provider, cell, &definition);
        cell.sign_in.store(Some(Arc::clone(&opened)));
        Ok(opened)
    }
}
