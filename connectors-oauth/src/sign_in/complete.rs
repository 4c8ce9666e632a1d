//! From what the browser brought back to tokens.

use std::sync::{Arc, PoisonError};

use connectors_core::OAuthSettings;
use connectors_core::definition::Registration;
use connectors_core::sign_in::{Grant, SignInCallback};
use connectors_core::trace::{Step, StepOutcome, TraceStep};

use super::{Flow, OAuthSignIn, Server};
use crate::clock::unix_now;
use crate::dpop::DpopKey;
use crate::error::{OAuthError, flow_step};
use crate::flow::FlowError;
use crate::record::{Provenance, TokenRecord};
use crate::registration::Client;
use crate::token::{GrantRequest, Tokens, request_tokens};

impl OAuthSignIn {
    /// Checks an answer against its question, and exchanges the code.
    pub(super) async fn finish(&self, callback: SignInCallback) -> Result<Grant, OAuthError> {
        let flow = self.take(&callback.state).ok_or(FlowError::UnknownState)?;
        let Flow { bond, server, client, scopes, dpop } = flow;
        let code = match bond.code(callback) {
            Ok(code) => code,
            Err(error) => {
                if matches!(error, FlowError::InvalidScope { .. }) {
                    self.demand.too_much();
                }
                self.exchange.note(flow_step(&error));
                return Err(error.into());
            }
        };
        self.exchange.note(
            TraceStep::new(Step::Authorization, StepOutcome::Passed, "code_received")
                .expecting("a code, from the server that was asked, for the state that was sent"),
        );
        let grant = GrantRequest::AuthorizationCode {
            code,
            redirect_uri: bond.redirect_uri().to_owned(),
            verifier: bond.verifier.clone(),
        };
        let proof = self.proof(&client).await?;
        let resource = server.resource.as_deref();
        let answered =
            request_tokens(&self.exchange, &server.tokens, &proof, &grant, resource, &[], dpop.as_deref())
                .await;
        let tokens = answered.inspect_err(|error| {
            if error.error() == Some("invalid_client") && client.registration == Registration::Dynamic {
                self.host.forget(&client.issuer, &client.id);
            }
        })?;
        self.grant(server, client, scopes, dpop, tokens)
    }

    /// What there is to store once tokens have come.
    pub(super) fn grant(
        &self,
        server: Server,
        client: Client,
        scopes: Vec<String>,
        dpop: Option<Arc<DpopKey>>,
        tokens: Tokens,
    ) -> Result<Grant, OAuthError> {
        let before = self.settings();
        let mut settings = OAuthSettings::default();
        (settings.grant, settings.exceptions) = (before.grant, before.exceptions);
        settings.token_endpoint = server.tokens.endpoint.to_string();
        settings.client_id.clone_from(&client.id);
        settings.has_client_secret = client.secret.is_some();
        settings.resource.clone_from(&server.resource);
        settings.scopes.clone_from(&scopes);
        settings.issuer = Some(client.issuer.clone());
        settings.redirect_uri.clone_from(&client.redirect_uri);
        settings.registration = Some(client.registration);
        settings.token_endpoint_auth_method = Some(client.auth_method.as_str().to_owned());
        let record = self.record(&server, &client, scopes, tokens);
        let mut grant =
            Grant { settings, secrets: vec![("tokens", record.to_secret()?)], obsolete: Vec::new() };
        match client.secret {
            Some(secret) => grant.secrets.push(("client_secret", secret)),
            None => grant.obsolete.push("client_secret"),
        }
        match dpop {
            Some(key) => grant.secrets.push(("dpop_key", key.pem().clone())),
            None => grant.obsolete.push("dpop_key"),
        }
        self.demand.satisfied();
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = grant.settings.clone();
        Ok(grant)
    }

    pub(super) fn record(
        &self,
        server: &Server,
        client: &Client,
        scopes: Vec<String>,
        tokens: Tokens,
    ) -> TokenRecord {
        let provenance = Provenance {
            issuer: server.tokens.issuer.clone(),
            token_endpoint: Some(server.tokens.endpoint.to_string()),
            revocation_endpoint: server.revocation_endpoint.clone(),
            client_id: Some(client.id.clone()),
            auth_method: Some(client.auth_method),
            resource: server.resource.clone(),
            asked: scopes.clone(),
            scope: scopes,
            resource_server: Some(self.exchange.server.origin().ascii_serialization()),
            grant: self.settings().grant,
        };
        TokenRecord::new(tokens, unix_now(), provenance)
    }
}
