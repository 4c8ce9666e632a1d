//! The page that the user is sent to. Its user decides at once.

use url::Url;

use super::answer::Answer;
use super::ledger::{Code, Family, random};
use super::log::Asked;
use super::setup::{Consent, Iss, KnownClient, Redirects, ResourceRule};
use super::state::Desk;

impl Desk<'_> {
    pub(super) fn authorize(&mut self, asked: &Asked) -> Answer {
        let redirect_uri = asked.parameter("redirect_uri").to_owned();
        let Some(client) = self.client(asked.parameter("client_id")) else {
            return Answer::page(400, "invalid_client: this client is not known");
        };
        if !self.redirects_to(&client, &redirect_uri) {
            return Answer::page(400, "invalid_request: this redirect URI was not registered");
        }
        let state = asked.has("state").then(|| asked.parameter("state").to_owned());
        let state = match self.setup.consent {
            Consent::WrongState => Some("another-state".to_owned()),
            Consent::NoState => None,
            _ => state,
        };
        let mut answer = match self.decide(&client, asked) {
            Ok(consent) => {
                let code = format!("canary-code-{}", random());
                self.note_secret(&code);
                let challenge = asked.parameter("code_challenge").to_owned();
                let redirect_uri = redirect_uri.clone();
                self.ledger
                    .codes
                    .insert(code.clone(), Code { consent, redirect_uri, challenge, family: None });
                vec![("code", code)]
            }
            Err((error, description)) => {
                vec![("error", error), ("error_description", description.to_owned())]
            }
        };
        answer.extend(state.map(|state| ("state", state)));
        answer.extend(self.iss().map(|iss| ("iss", iss)));
        let mut target = Url::parse(&redirect_uri).expect("a registered redirect URI is a URL");
        target.query_pairs_mut().extend_pairs(answer);
        Answer::redirect(target.into())
    }

    fn redirects_to(&self, client: &KnownClient, uri: &str) -> bool {
        let Ok(parsed) = Url::parse(uri) else { return false };
        let document = client.id.starts_with("https://") && client.redirect_uris.is_empty();
        if document || self.setup.redirects == Redirects::Any {
            return true;
        }
        client.redirect_uris.iter().any(|registered| {
            registered == uri
                || (self.setup.redirects == Redirects::LoopbackAnyPort && same_but_port(registered, &parsed))
        })
    }

    fn decide(&mut self, client: &KnownClient, asked: &Asked) -> Result<Family, (String, &'static str)> {
        let refuse = |error: &str, description| Err((error.to_owned(), description));
        if asked.parameter("response_type") != "code" {
            return refuse("unsupported_response_type", "response_type is not code");
        }
        if asked.parameter("code_challenge").len() != 43 || asked.parameter("code_challenge_method") != "S256"
        {
            return refuse("invalid_request", "a code_challenge of S256 is required");
        }
        if let Consent::Refused(error) = &self.setup.consent {
            return refuse(error, "the user has refused");
        }
        let resource = self.resource_of(asked).map_err(|why| ("invalid_target".to_owned(), why))?;
        let scope = self.scope_of(asked).map_err(|why| ("invalid_scope".to_owned(), why))?;
        let bound_to = asked.has("dpop_jkt").then(|| asked.parameter("dpop_jkt").to_owned());
        Ok(Family { client_id: client.id.clone(), scope, resource, bound_to, revoked: false })
    }

    /// The resource that a request names, if it may.
    pub(super) fn resource_of(&self, asked: &Asked) -> Result<Option<String>, &'static str> {
        let named: Vec<_> = asked.parameters.iter().filter(|(name, _)| name == "resource").collect();
        match (self.setup.resource, &named[..]) {
            (_, [_, _, ..]) => Err("more than one resource"),
            (ResourceRule::Required, []) => Err("resource is required"),
            (ResourceRule::Refused, [_]) => Err("resource is not understood"),
            (_, []) => Ok(None),
            (_, [(_, resource)]) => match Url::parse(resource) {
                Ok(url) if url.fragment().is_none() => Ok(Some(resource.clone())),
                _ => Err("resource is not an absolute URI without a fragment"),
            },
        }
    }

    /// The scopes that a request gets, if it may.
    pub(super) fn scope_of(&self, asked: &Asked) -> Result<Vec<String>, &'static str> {
        let wanted: Vec<String> = asked.parameter("scope").split_whitespace().map(str::to_owned).collect();
        if asked.has("scope") && wanted.is_empty() {
            return Err("scope is empty");
        }
        if let Some(allowed) = &self.setup.scopes_allowed
            && !wanted.iter().all(|scope| allowed.contains(scope))
        {
            return Err("a scope is not known");
        }
        Ok(match &self.setup.consent {
            Consent::GrantedFor(granted) => granted.clone(),
            _ => wanted,
        })
    }

    fn iss(&self) -> Option<String> {
        match &self.setup.iss {
            Iss::Right => Some(self.issuer.to_owned()),
            Iss::Missing => None,
            Iss::WithSlash => Some(format!("{}/", self.issuer)),
            Iss::Other(other) => Some(other.clone()),
        }
    }
}

/// True if both are on a loopback address and differ in nothing but the port.
fn same_but_port(registered: &str, asked: &Url) -> bool {
    let Ok(mut registered) = Url::parse(registered) else { return false };
    let loopback = match asked.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    loopback && registered.set_port(asked.port()).is_ok() && registered == *asked
}
