//! What tokens are given for.

use serde_json::{Value, json};

use super::answer::Answer;
use super::keys::{assertion_flaw, challenge_of, header_of, now, verified_claims};
use super::ledger::random;
use super::setup::{AuthMethod, ResourceRule, Reuse};
use super::state::Desk;
use super::token::{JWT_BEARER, TokenRequest};

const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ID_JAG_TYP: &str = "oauth-id-jag+jwt";

fn invalid_grant(why: &str) -> Answer {
    Answer::error(400, "invalid_grant", why)
}

impl Desk<'_> {
    /// OAuth 2.1, section 4.1.3.
    pub(super) fn exchange_code(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        let asked = request.asked;
        let (code, verifier) = (asked.parameter("code"), asked.parameter("code_verifier"));
        self.note_secret(verifier);
        let found =
            self.ledger.codes.get(code).cloned().ok_or_else(|| invalid_grant("this code is not known"))?;
        if let Some(family) = found.family {
            self.punish(family);
            return Err(invalid_grant("this code was used before"));
        }
        if found.consent.client_id != request.client.id {
            return Err(invalid_grant("this code is another client's"));
        }
        if found.redirect_uri != asked.parameter("redirect_uri") {
            return Err(invalid_grant("redirect_uri is another"));
        }
        if challenge_of(verifier) != found.challenge {
            return Err(invalid_grant("code_verifier does not match"));
        }
        self.same_resource(request, found.consent.resource.as_deref())?;
        if found.consent.bound_to.is_some() && found.consent.bound_to != request.key {
            return Err(Answer::error(
                400,
                "invalid_dpop_proof",
                "the proof is of another key than dpop_jkt",
            ));
        }
        let mut consent = found.consent;
        consent.bound_to = request.key.clone();
        let (scope, family) = (consent.scope.clone(), self.ledger.open_family(consent));
        self.ledger.codes.get_mut(code).expect("found above").family = Some(family);
        let with_refresh = self.gives_refresh(&scope);
        Ok(self.issue("authorization_code", family, scope, with_refresh))
    }

    /// OAuth 2.1, section 4.3.
    pub(super) fn refresh(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        let asked = request.asked;
        let token = asked.parameter("refresh_token");
        let found = self
            .ledger
            .refresh
            .get(token)
            .cloned()
            .ok_or_else(|| invalid_grant("this token is not known"))?;
        let family = self.ledger.families[found.family].clone();
        if family.client_id != request.client.id {
            return Err(invalid_grant("this token is another client's"));
        }
        if found.rotated_away {
            self.log.reuses += 1;
            match self.setup.reuse {
                Reuse::Tolerated => {}
                Reuse::Refused => return Err(invalid_grant("this token was used before")),
                Reuse::RevokesFamily => {
                    self.punish(found.family);
                    return Err(invalid_grant("this token was used before"));
                }
            }
        }
        if family.revoked {
            return Err(invalid_grant("this token was revoked"));
        }
        if family.bound_to.is_some() && family.bound_to != request.key {
            return Err(Answer::error(400, "invalid_dpop_proof", "the token is bound to another key"));
        }
        self.same_resource(request, family.resource.as_deref())?;
        let scope = if asked.has("scope") {
            let wanted: Vec<String> =
                asked.parameter("scope").split_whitespace().map(str::to_owned).collect();
            if wanted.iter().any(|scope| !family.scope.contains(scope)) {
                return Err(Answer::error(400, "invalid_scope", "more than was granted"));
            }
            wanted
        } else {
            family.scope
        };
        if self.setup.rotation {
            self.ledger.refresh.get_mut(token).expect("found above").rotated_away = true;
        }
        self.log.refreshes += 1;
        Ok(self.issue("refresh_token", found.family, scope, self.setup.rotation))
    }

    /// Checks that a token request names the resource that was consented to.
    fn same_resource(&self, request: &TokenRequest<'_>, consented: Option<&str>) -> Result<(), Answer> {
        let named =
            self.resource_of(request.asked).map_err(|why| Answer::error(400, "invalid_target", why))?;
        if named.is_some() && named.as_deref() != consented {
            return Err(Answer::error(400, "invalid_target", "another resource than was consented to"));
        }
        Ok(())
    }

    /// OAuth 2.1, section 4.2.
    pub(super) fn client_credentials(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        if request.client.method == AuthMethod::None {
            return Err(Answer::error(400, "unauthorized_client", "public clients have no credentials"));
        }
        let resource =
            self.resource_of(request.asked).map_err(|why| Answer::error(400, "invalid_target", why))?;
        let scope = self.scope_of(request.asked).map_err(|why| Answer::error(400, "invalid_scope", why))?;
        let family = self.ledger.open_family(request.consent(scope.clone(), resource));
        Ok(self.issue("client_credentials", family, scope, false))
    }

    /// RFC 7523, section 2.1: an ID-JAG or a workload's own token.
    pub(super) fn jwt_bearer(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        let assertion = request.asked.parameter("assertion");
        self.note_secret(assertion);
        let trusted = self.setup.trusts.iter().find_map(|trusted| {
            verified_claims(assertion, &trusted.key).filter(|claims| claims["iss"] == trusted.issuer.as_str())
        });
        let claims = trusted.ok_or_else(|| invalid_grant("the assertion is of nobody who is trusted"))?;
        if let Some(flaw) = assertion_flaw(&claims, self.issuer) {
            return Err(invalid_grant(flaw));
        }
        if !self.ledger.assertions.insert(claims["jti"].as_str().unwrap_or_default().to_owned()) {
            return Err(invalid_grant("the assertion was used before"));
        }
        let id_jag = header_of(assertion).is_some_and(|header| header["typ"] == ID_JAG_TYP);
        if id_jag && claims["client_id"] != request.client.id.as_str() {
            return Err(invalid_grant("the assertion is for another client"));
        }
        let resource = match claims["resource"].as_str() {
            Some(resource) => Some(resource.to_owned()),
            None => {
                self.resource_of(request.asked).map_err(|why| Answer::error(400, "invalid_target", why))?
            }
        };
        let scope = match claims["scope"].as_str() {
            Some(scope) => scope.split_whitespace().map(str::to_owned).collect(),
            None => self.scope_of(request.asked).map_err(|why| Answer::error(400, "invalid_scope", why))?,
        };
        let family = self.ledger.open_family(request.consent(scope.clone(), resource));
        Ok(self.issue(JWT_BEARER, family, scope, false))
    }

    /// RFC 8693, as an identity provider gives ID-JAGs for identity tokens.
    pub(super) fn exchange_token(&mut self, request: &TokenRequest<'_>) -> Result<Answer, Answer> {
        let asked = request.asked;
        let invalid = |why| Err(Answer::error(400, "invalid_request", why));
        self.note_secret(asked.parameter("subject_token"));
        if asked.parameter("requested_token_type") != ID_JAG {
            return invalid("requested_token_type is not id-jag");
        }
        if asked.parameter("subject_token_type") != ID_TOKEN {
            return invalid("subject_token_type is not id_token");
        }
        if !asked.has("audience") {
            return invalid("audience is missing");
        }
        if self.setup.resource == ResourceRule::Required && !asked.has("resource") {
            return invalid("resource is missing");
        }
        if !self.setup.id_tokens.iter().any(|token| token == asked.parameter("subject_token")) {
            return Err(invalid_grant("the identity token is not known"));
        }
        let here = &request.client.id;
        let elsewhere = self.setup.id_jag_clients.iter().find(|(id, _)| id == here);
        let client_id = elsewhere.map_or(here, |(_, elsewhere)| elsewhere);
        let iat = now();
        let mut claims = json!({
            "iss": self.issuer, "sub": "user-1", "aud": asked.parameter("audience"),
            "client_id": client_id, "jti": random(), "iat": iat, "exp": iat + 300,
        });
        for name in ["resource", "scope"] {
            if asked.has(name) {
                claims[name] = Value::from(asked.parameter(name));
            }
        }
        let assertion = self.key.sign(ID_JAG_TYP, &claims);
        self.note_secret(&assertion);
        Ok(Answer::json(
            200,
            json!({
                "access_token": assertion, "issued_token_type": ID_JAG, "token_type": "N_A", "expires_in": 300,
            }),
        ))
    }
}
