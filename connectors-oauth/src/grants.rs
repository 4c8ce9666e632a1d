//! Tokens without a user in a browser (the MCP authorization extensions).

use connectors_core::trace::Step;
use connectors_core::{CredentialError, CredentialKey, CredentialStore, GrantKind, Slug};
use secrecy::SecretString;
use serde_json::Value;

use crate::client_auth::{AuthMethod, ClientAuth, SigningAlgorithm};
use crate::dpop::DpopKey;
use crate::endpoint;
use crate::exchange::Exchange;
use crate::form::Form;
use crate::token::{
    Exchanged, GrantRequest, TOKEN_EXCHANGE, TokenError, TokenServer, Tokens, document, post, request_tokens,
    scope, step, take,
};

const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Longest type of a token that is quoted, in bytes.
const QUOTED: usize = 100;

/// A grant with what it exchanges for tokens.
#[derive(Clone)]
pub(crate) struct Offer {
    pub(crate) kind: GrantKind,
    /// The assertion, or the identity provider's ID token; nothing for client credentials.
    pub(crate) secret: Option<SecretString>,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Offer {
    /// Reads from the store what the grant needs. What is not there is missed only when tokens are requested.
    pub(crate) async fn load(
        store: &dyn CredentialStore,
        slug: &Slug,
        kind: &GrantKind,
    ) -> Result<Self, CredentialError> {
        let secret = match secret_name(kind) {
            Some(name) => store.get(&CredentialKey::of_sign_in(slug, name)).await?,
            None => None,
        };
        Ok(Self { kind: kind.clone(), secret })
    }

    fn secret(&self) -> Result<&SecretString, TokenError> {
        let what = secret_name(&self.kind).unwrap_or("assertion");
        self.secret.as_ref().ok_or(TokenError::NothingToOffer { what })
    }
}

/// The secret that a grant exchanges, by the name of its [`CredentialKey`].
fn secret_name(kind: &GrantKind) -> Option<&'static str> {
    match kind {
        GrantKind::JwtBearer => Some("assertion"),
        GrantKind::EnterpriseManaged { .. } => Some("id_token"),
        _ => None,
    }
}

/// How the client proves itself for a grant, where the grant decides that: with the algorithm that it names.
pub(crate) fn auth_method(kind: &GrantKind) -> Option<AuthMethod> {
    match kind {
        GrantKind::ClientCredentials { signing_algorithm: Some(name) } => {
            Some(AuthMethod::PrivateKeyJwt { algorithm: SigningAlgorithm::parse(name) })
        }
        _ => None,
    }
}

/// Exchanges an offer for tokens. Each request is made once: an assertion that was refused is not offered again.
pub(crate) async fn obtain(
    exchange: &Exchange,
    server: &TokenServer,
    client: &ClientAuth,
    offer: &Offer,
    resource: Option<&str>,
    scopes: &[String],
    dpop: Option<&DpopKey>,
) -> Result<Tokens, TokenError> {
    let mut scopes = scopes;
    let grant = match &offer.kind {
        GrantKind::ClientCredentials { .. } => GrantRequest::ClientCredentials,
        GrantKind::JwtBearer => GrantRequest::JwtBearer { assertion: offer.secret()?.clone() },
        GrantKind::EnterpriseManaged { idp_token_endpoint, idp_client_id } => {
            let id_token = offer.secret()?;
            let company = Company { token_endpoint: idp_token_endpoint, client_id: idp_client_id };
            let assertion = company.assertion(exchange, server, id_token, resource, scopes).await?;
            // The scopes are in the assertion.
            scopes = &[];
            GrantRequest::JwtBearer { assertion }
        }
        _ => return Err(TokenError::NothingToOffer { what: "way to obtain tokens" }),
    };
    request_tokens(exchange, server, client, &grant, resource, scopes, dpop).await
}

/// The identity provider of an enterprise-managed authorization.
struct Company<'a> {
    token_endpoint: &'a str,
    client_id: &'a str,
}

impl Company<'_> {
    /// Gets an identity assertion (ID-JAG) for one authorization server and one resource (RFC 8693, section 2).
    async fn assertion(
        &self,
        exchange: &Exchange,
        server: &TokenServer,
        id_token: &SecretString,
        resource: Option<&str>,
        scopes: &[String],
    ) -> Result<SecretString, TokenError> {
        let endpoint = endpoint::checked(self.token_endpoint)
            .map_err(|problem| at_the_provider(TokenError::BadAddress(problem)))?;
        let provider = TokenServer { endpoint, issuer: None };
        let mut form = Form::of_grant(TOKEN_EXCHANGE);
        form.field("requested_token_type", ID_JAG);
        form.field("audience", server.audience());
        if let Some(resource) = resource {
            form.field("resource", resource);
        }
        scope(&mut form, scopes);
        form.secret("subject_token", id_token);
        form.field("subject_token_type", ID_TOKEN);
        let client = ClientAuth::public(self.client_id);
        let outcome = match post(exchange, &provider, &client, &form, None).await {
            Ok(exchanged) => read_assertion(&exchanged),
            Err(error) => Err(error),
        };
        outcome.map_err(|error| {
            let error = at_the_provider(error);
            exchange.note(step(Step::Token, &Err(error.clone()), &provider));
            error
        })
    }
}

fn at_the_provider(error: TokenError) -> TokenError {
    TokenError::IdentityProvider(Box::new(error))
}

fn read_assertion(exchanged: &Exchanged) -> Result<SecretString, TokenError> {
    let mut document = document(&exchanged.answer, &exchanged.form)?;
    match document.get("issued_token_type").and_then(Value::as_str) {
        None | Some(ID_JAG) => {}
        Some(other) => {
            return Err(TokenError::UnknownType { token_type: exchanged.form.quote(other, QUOTED) });
        }
    }
    let assertion = take(&mut document, "access_token");
    let assertion = assertion.ok_or(TokenError::Malformed { problem: "it has no access_token" })?;
    Ok(assertion.into())
}

#[cfg(test)]
mod tests;
