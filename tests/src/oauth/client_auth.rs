//! Who a client is, at the endpoints that it calls itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::answer::Answer;
use super::keys::{assertion_flaw, verified_claims};
use super::log::Asked;
use super::setup::{AuthMethod, KnownClient};
use super::state::Desk;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request shows of its client.
struct Shown {
    id: String,
    method: AuthMethod,
    /// The secret or the assertion.
    proof: String,
}

impl Desk<'_> {
    /// The client of a request, authenticated in the way that it has to use.
    pub(super) fn authenticate(&mut self, asked: &Asked) -> Result<KnownClient, Answer> {
        let shown = shown(asked)?;
        if shown.method == AuthMethod::PrivateKeyJwt {
            self.note_secret(&shown.proof);
        }
        let Some(client) = self.client(&shown.id) else {
            return Err(unauthenticated(asked, "this client is not known"));
        };
        if shown.method != client.method {
            return Err(unauthenticated(asked, &format!("this client has to use {}", client.method.name())));
        }
        if !self.setup.auth_methods.contains(&shown.method) {
            return Err(unauthenticated(asked, "this way of authentication is not offered"));
        }
        match shown.method {
            AuthMethod::None => {}
            AuthMethod::Basic | AuthMethod::Post => {
                if client.secret.as_deref() != Some(&shown.proof) {
                    return Err(unauthenticated(asked, "the secret is wrong"));
                }
            }
            AuthMethod::PrivateKeyJwt => {
                self.check_assertion(&client, &shown.proof).map_err(|why| unauthenticated(asked, why))?;
            }
        }
        Ok(client)
    }

    fn check_assertion(&mut self, client: &KnownClient, assertion: &str) -> Result<(), &'static str> {
        let key = client.key.as_ref().ok_or("this client has no key")?;
        let claims = verified_claims(assertion, key).ok_or("the assertion's signature is wrong")?;
        if claims["iss"] != client.id.as_str() || claims["sub"] != client.id.as_str() {
            return Err("iss and sub are not the client");
        }
        if let Some(flaw) = assertion_flaw(&claims, self.issuer) {
            return Err(flaw);
        }
        let jti = claims["jti"].as_str().unwrap_or_default().to_owned();
        if self.ledger.assertions.insert(jti) { Ok(()) } else { Err("the assertion was used before") }
    }
}

fn shown(asked: &Asked) -> Result<Shown, Answer> {
    let (authorization, body_id) = (asked.header("authorization"), asked.parameter("client_id").to_owned());
    let ways = [!authorization.is_empty(), asked.has("client_secret"), asked.has("client_assertion")];
    if ways.into_iter().filter(|used| *used).count() > 1 {
        return Err(Answer::error(400, "invalid_request", "more than one way of client authentication"));
    }
    if !authorization.is_empty() {
        let (id, proof) =
            basic(authorization).ok_or_else(|| unauthenticated(asked, "Authorization is not Basic"))?;
        if !body_id.is_empty() && body_id != id {
            return Err(Answer::error(400, "invalid_request", "two client identifiers"));
        }
        return Ok(Shown { id, method: AuthMethod::Basic, proof });
    }
    if asked.has("client_secret") {
        let proof = asked.parameter("client_secret").to_owned();
        return Ok(Shown { id: body_id, method: AuthMethod::Post, proof });
    }
    if asked.has("client_assertion") {
        if asked.parameter("client_assertion_type") != ASSERTION_TYPE {
            return Err(unauthenticated(asked, "client_assertion_type is wrong"));
        }
        let proof = asked.parameter("client_assertion").to_owned();
        let id = if body_id.is_empty() { subject(&proof) } else { body_id };
        return Ok(Shown { id, method: AuthMethod::PrivateKeyJwt, proof });
    }
    Ok(Shown { id: body_id, method: AuthMethod::None, proof: String::new() })
}

/// The identifier and the secret of RFC 6749, section 2.3.1.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    let form = format!("v={text}");
    form_urlencoded::parse(form.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

/// The `sub` of an assertion, unverified.
fn subject(assertion: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = assertion.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: serde_json::Value =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    claims["sub"].as_str().unwrap_or_default().to_owned()
}

fn unauthenticated(asked: &Asked, why: &str) -> Answer {
    let answer = Answer::error(401, "invalid_client", why);
    if asked.header("authorization").is_empty() {
        answer
    } else {
        answer.with_header("www-authenticate", r#"Basic realm="token""#)
    }
}
