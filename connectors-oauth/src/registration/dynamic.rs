//! Dynamic client registration (RFC 7591; OpenID Connect Dynamic Client Registration 1.0).

use connectors_core::definition::Registration;
use connectors_core::http::{HttpResponse, is_loopback};
use connectors_core::trace::{Step, StepOutcome, TraceStep};
use serde_json::{Map, Value, json};
use url::Url;

use super::{Client, ClientOptions, RegistrationError, error, method};
use crate::client_auth::AuthMethod;
use crate::exchange::Exchange;
use crate::metadata::{BadMetadata, ServerMetadata};
use crate::quoted::quoted;

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Longest client identifier, in bytes.
const MAX_ID: usize = 2 << 10;

/// Registers this client. Where the server does not like what is asked for, it is asked once more for as little as possible:
/// scopes that the resource names may be unknown to it, and so may grants that it does not list.
pub(super) async fn register(
    exchange: &Exchange,
    server: &ServerMetadata,
    endpoint: &Url,
    redirect_uri: Option<&str>,
    options: &ClientOptions<'_>,
) -> Result<Client, RegistrationError> {
    let asked = method::to_ask_for(server)?;
    let attempt = async |document: &Value| {
        let answer = exchange.post_json(endpoint, document.to_string().into_bytes()).await;
        let response = answer.map_err(|source| RegistrationError::Transport { source })?;
        read(server, redirect_uri, asked, &response)
    };
    let full = document(server, redirect_uri, options, asked, true);
    let refusal = match attempt(&full).await {
        Err(refusal @ RegistrationError::Refused { .. }) => refusal,
        outcome => return outcome,
    };
    let least = document(server, redirect_uri, options, asked, false);
    if least == full {
        return Err(refusal);
    }
    exchange.note(
        TraceStep::new(Step::Registration, StepOutcome::Skipped, "registration_reduced")
            .expecting("a registration with scopes and refresh tokens")
            .seeing(refusal.to_string()),
    );
    attempt(&least).await
}

/// The client's metadata. With `in_full` the scopes, and renewal even if the server does not list it: some lists are incomplete.
fn document(
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    options: &ClientOptions<'_>,
    method: AuthMethod,
    in_full: bool,
) -> Value {
    let first = if redirect_uri.is_some() { "authorization_code" } else { DEVICE_CODE };
    let is_listed = |grant: &str| {
        server.grant_types_supported.as_ref().is_none_or(|grants| grants.iter().any(|listed| listed == grant))
    };
    let mut grants = vec![first];
    if in_full || is_listed("refresh_token") {
        grants.push("refresh_token");
    }
    let response_types: &[&str] = if redirect_uri.is_some() { &["code"] } else { &[] };
    let mut document = json!({
        "client_name": options.name,
        "redirect_uris": redirect_uri.iter().collect::<Vec<_>>(),
        "grant_types": grants,
        "response_types": response_types,
        "application_type": redirect_uri.map_or("native", application_type),
        "token_endpoint_auth_method": method.as_str(),
    });
    if in_full && !options.scopes.is_empty() {
        document["scope"] = options.scopes.join(" ").into();
    }
    document
}

/// `web` only for a page elsewhere: what runs on this machine, or has a scheme of its own, is native (2026-07-28, client
/// registration, application type and redirect URI constraints).
fn application_type(redirect_uri: &str) -> &'static str {
    match Url::parse(redirect_uri) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && !is_loopback(&url) => "web",
        _ => "native",
    }
}

fn read(
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    asked: AuthMethod,
    response: &HttpResponse,
) -> Result<Client, RegistrationError> {
    let status = response.status();
    if !matches!(status.as_u16(), 200 | 201) {
        return Err(refusal(server, redirect_uri, response));
    }
    let mut members = match serde_json::from_slice(response.body()) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err(BadMetadata::NotAnObject.into()),
        // A site that has a page for every address.
        Err(_) if server.assumed => {
            return Err(RegistrationError::NotOffered { issuer: quoted(&server.issuer) });
        }
        Err(error) => return Err(BadMetadata::NotJson(error.to_string()).into()),
    };
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let id = take("client_id")
        .filter(|id| id.len() <= MAX_ID && !id.contains(char::is_control))
        .ok_or(BadMetadata::Missing("client_id"))?;
    let secret = take("client_secret").map(Into::into);
    let answered = take("token_endpoint_auth_method");
    let auth_method = method::granted(server, answered.as_deref(), asked, Option::is_some(&secret))?;
    Ok(Client {
        id,
        secret: secret.filter(|_| auth_method != AuthMethod::None),
        auth_method,
        registration: Registration::Dynamic,
        redirect_uri: redirect_uri.map(str::to_owned),
        issuer: server.issuer.clone(),
    })
}

fn refusal(
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    response: &HttpResponse,
) -> RegistrationError {
    let (issuer, status) = (quoted(&server.issuer), response.status());
    let redirect_uri = redirect_uri.map(error::in_full);
    let members: Map<String, Value> = serde_json::from_slice(response.body()).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let description = text("error_description").map(quoted);
    match (status.as_u16(), text("error")) {
        (401 | 403 | 404 | 405 | 410 | 501, _) if server.assumed => RegistrationError::NotOffered { issuer },
        (300..=399, _) => RegistrationError::Redirected { issuer, status },
        (401 | 403, _) => RegistrationError::Protected { issuer, status, redirect_uri },
        (400..=499, Some("invalid_redirect_uri")) => {
            RegistrationError::RedirectRefused { issuer, description, redirect_uri }
        }
        (400 | 422, error) => {
            let error = error.map_or_else(|| status.to_string(), quoted);
            RegistrationError::Refused { issuer, error, description, redirect_uri }
        }
        _ => RegistrationError::Status { issuer, status },
    }
}
