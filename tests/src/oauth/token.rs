//! The token endpoint, and the end of tokens.

use serde_json::json;

use super::answer::Answer;
use super::dpop::{Claim, ProofFault};
use super::ledger::Family;
use super::log::{Asked, Issued};
use super::setup::{DpopUse, KnownClient};
use super::state::Desk;

pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A token request whose client is known.
pub(super) struct TokenRequest<'a> {
    pub(super) asked: &'a Asked,
    pub(super) client: KnownClient,
    /// The thumbprint of the key that was proved.
    pub(super) key: Option<String>,
}

impl TokenRequest<'_> {
    /// A consent to what this request asks for itself.
    pub(super) fn consent(&self, scope: Vec<String>, resource: Option<String>) -> Family {
        let (client_id, bound_to) = (self.client.id.clone(), self.key.clone());
        Family { client_id, scope, resource, bound_to, revoked: false }
    }
}

impl Desk<'_> {
    pub(super) fn token(&mut self, asked: &Asked) -> Answer {
        let answer = match self.token_request(asked) {
            Ok(answer) | Err(answer) => answer,
        };
        if self.setup.dpop_nonces {
            answer.with_header("dpop-nonce", self.ledger.proofs.nonce())
        } else {
            answer
        }
    }

    fn token_request(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        if !asked.header("content-type").starts_with("application/x-www-form-urlencoded") {
            return Err(Answer::error(400, "invalid_request", "the body is not a form"));
        }
        for (index, (name, _)) in asked.parameters.iter().enumerate() {
            if asked.parameters[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Answer::error(400, "invalid_request", &format!("{name} comes twice")));
            }
        }
        let grant = asked.parameter("grant_type");
        let anonymous = grant == JWT_BEARER
            && asked.header("authorization").is_empty()
            && !asked.has("client_id")
            && !asked.has("client_assertion");
        let client = if anonymous { KnownClient::public("", "") } else { self.authenticate(asked)? };
        let key = self.proved_key(asked)?;
        let request = TokenRequest { asked, client, key };
        match grant {
            "authorization_code" => self.exchange_code(&request),
            "refresh_token" => self.refresh(&request),
            "client_credentials" => self.client_credentials(&request),
            DEVICE_CODE => self.poll_device(&request),
            JWT_BEARER => self.jwt_bearer(&request),
            TOKEN_EXCHANGE => self.exchange_token(&request),
            _ => Err(Answer::error(400, "unsupported_grant_type", "this grant is not known")),
        }
    }

    /// The key that the request proves to have, where that matters.
    fn proved_key(&mut self, asked: &Asked) -> Result<Option<String>, Answer> {
        if self.setup.dpop == DpopUse::Ignored {
            return Ok(None);
        }
        let url = self.url("/token");
        let claim = Claim {
            headers: &asked.headers,
            method: "POST",
            url: &url,
            token: None,
            with_nonce: self.setup.dpop_nonces,
        };
        match self.ledger.proofs.check(claim) {
            Ok(thumbprint) => Ok(Some(thumbprint)),
            Err(ProofFault::Missing) if self.setup.dpop == DpopUse::Offered => Ok(None),
            Err(ProofFault::Missing) => Err(Answer::error(400, "invalid_dpop_proof", "there is no proof")),
            Err(ProofFault::Invalid(why)) => Err(Answer::error(400, "invalid_dpop_proof", why)),
            Err(ProofFault::Nonce) => Err(Answer::error(400, "use_dpop_nonce", "the proof lacks the nonce")),
        }
    }

    /// Issues an access token of a family, and a refresh token if `with_refresh`.
    pub(super) fn issue(
        &mut self,
        grant: &str,
        family: usize,
        scope: Vec<String>,
        with_refresh: bool,
    ) -> Answer {
        let consent = self.ledger.families[family].clone();
        let access_token = self.ledger.new_access(family, scope.clone(), self.setup.lifetime);
        let refresh_token = with_refresh.then(|| self.ledger.new_refresh(family));
        self.log.secrets.push(access_token.clone());
        self.log.secrets.extend(refresh_token.clone());
        let token_type = if consent.bound_to.is_some() { "DPoP" } else { "Bearer" };
        let mut body = json!({
            "access_token": access_token,
            "token_type": token_type,
            "expires_in": self.setup.lifetime.as_secs(),
        });
        if !scope.is_empty() {
            body["scope"] = json!(scope.join(" "));
        }
        if let Some(refresh_token) = &refresh_token {
            body["refresh_token"] = json!(refresh_token);
        }
        self.log.issued.push(Issued {
            grant: grant.to_owned(),
            client_id: consent.client_id,
            access_token,
            refresh_token,
            scope,
            resource: consent.resource,
            family,
            bound_to: consent.bound_to,
        });
        Answer::json(200, body)
    }

    /// Whether a new consent comes with a refresh token.
    pub(super) fn gives_refresh(&self, scope: &[String]) -> bool {
        let offline = scope.iter().any(|scope| scope == "offline_access");
        self.setup.refresh_tokens && (offline || !self.setup.refresh_needs_offline_access)
    }

    /// Revokes a family because something of it was used twice.
    pub(super) fn punish(&mut self, family: usize) {
        if self.ledger.revoke_family(family) {
            self.log.families_revoked += 1;
        }
    }

    /// Gives a token back (RFC 7009), with all of its family.
    pub(super) fn revoke(&mut self, asked: &Asked) -> Answer {
        if !self.setup.revocation {
            return Answer::page(404, "Not found");
        }
        let client = match self.authenticate(asked) {
            Ok(client) => client,
            Err(refusal) => return refusal,
        };
        let token = asked.parameter("token");
        if token.is_empty() {
            return Answer::error(400, "invalid_request", "token is missing");
        }
        let of_access = self.ledger.access.get(token).map(|access| access.family);
        let of_refresh = self.ledger.refresh.get(token).map(|refresh| refresh.family);
        if let Some(family) = of_access.or(of_refresh)
            && self.ledger.families[family].client_id == client.id
        {
            self.ledger.revoke_family(family);
            self.log.revocations.push(token.to_owned());
        }
        Answer::empty(200)
    }
}
