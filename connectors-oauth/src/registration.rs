//! How an authorization server comes to know this client (2026-07-28, client registration).

mod dynamic;
mod error;
mod method;

use connectors_core::OAuthSettings;
use connectors_core::definition::Registration;
use connectors_core::sign_in::ClientCredentials;
use connectors_core::trace::{Step, StepOutcome, TraceStep};
use secrecy::SecretString;
use url::Url;

pub(crate) use self::error::RegistrationError;
use crate::client_auth::AuthMethod;
use crate::endpoint;
use crate::exchange::Exchange;
use crate::metadata::ServerMetadata;
use crate::quoted::quoted;

/// This client, as one authorization server knows it. It is used with no other.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<SecretString>,
    pub(crate) auth_method: AuthMethod,
    pub(crate) registration: Registration,
    /// What it was registered with, where that is known.
    pub(crate) redirect_uri: Option<String>,
    /// The authorization server that knows it.
    pub(crate) issuer: String,
}

impl Client {
    /// The client that an earlier sign-in used, as far as `server` knows it. `None` for one of another server's.
    ///
    /// Settings that car-connectors wrote do not name the issuer: it is then known by its token endpoint.
    pub(crate) fn stored(
        settings: &OAuthSettings,
        secret: Option<SecretString>,
        server: &ServerMetadata,
    ) -> Option<Self> {
        let is_known = match &settings.issuer {
            Some(issuer) => *issuer == server.issuer,
            None => settings.token_endpoint == server.token_endpoint.as_str(),
        };
        if settings.client_id.is_empty() || !is_known {
            return None;
        }
        let written = settings.token_endpoint_auth_method.as_deref().and_then(AuthMethod::parse);
        let auth_method = match written {
            Some(method) => method,
            None => method::of_known(server, secret.is_some()).ok()?,
        };
        Some(Self {
            id: settings.client_id.clone(),
            secret,
            auth_method,
            registration: settings.registration.unwrap_or(Registration::Dynamic),
            redirect_uri: settings.redirect_uri.clone(),
            issuer: server.issuer.clone(),
        })
    }
}

/// What the host says about this client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientOptions<'a> {
    /// What users see.
    pub(crate) name: &'a str,
    /// Where the host publishes its client ID metadata document.
    pub(crate) metadata_url: Option<&'a str>,
    /// What a new registration should be good for; nothing special if empty.
    pub(crate) scopes: &'a [String],
}

/// The clients that there are already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// What the user has entered.
    pub(crate) manual: Option<&'a ClientCredentials>,
    /// What an earlier sign-in at the same server used ([`Client::stored`]).
    pub(crate) stored: Option<&'a Client>,
}

enum Choice {
    Known(Client),
    Register(Url),
}

/// The client to use with `server`: one that is known there, the host's metadata document, or a new registration, in the order
/// of the specification. `redirect_uri` is `None` for a sign-in on another device. Noted in the trace.
pub(crate) async fn client(
    exchange: &Exchange,
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    known: Known<'_>,
    options: &ClientOptions<'_>,
) -> Result<Client, RegistrationError> {
    let outcome = match choose(server, redirect_uri, known, options) {
        Ok(Choice::Known(client)) => Ok(client),
        Ok(Choice::Register(endpoint)) => {
            dynamic::register(exchange, server, &endpoint, redirect_uri, options).await
        }
        Err(error) => Err(error),
    };
    exchange.note(match &outcome {
        Ok(client) => {
            let code = match client.registration {
                Registration::MetadataDocument => "client_metadata_document",
                Registration::Dynamic if known.stored.is_some_and(|stored| stored.id == client.id) => {
                    "client_known"
                }
                Registration::Dynamic => "client_registered",
                _ => "client_manual",
            };
            TraceStep::new(Step::Registration, StepOutcome::Passed, code)
                .expecting("a client that the authorization server knows")
                .seeing(format!(
                    "client {} of {}, {}",
                    quoted(&client.id),
                    quoted(&client.issuer),
                    client.auth_method.as_str()
                ))
        }
        Err(error) => TraceStep::new(Step::Registration, StepOutcome::Failed, error.detail())
            .expecting(error.expected())
            .seeing(error.to_string())
            .remedied_by(error.remedy()),
    });
    outcome
}

fn choose(
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
    known: Known<'_>,
    options: &ClientOptions<'_>,
) -> Result<Choice, RegistrationError> {
    if let Some(manual) = known.manual {
        return by_hand(manual, server, redirect_uri).map(Choice::Known);
    }
    if let Some(stored) = known.stored.filter(|stored| is_usable(stored, server, redirect_uri)) {
        return Ok(Choice::Known(stored.clone()));
    }
    if let Some(url) = options.metadata_url.filter(|url| is_document_url(url))
        && server.client_id_metadata_document_supported
    {
        return Ok(Choice::Known(Client {
            id: url.to_owned(),
            secret: None,
            auth_method: AuthMethod::None,
            registration: Registration::MetadataDocument,
            redirect_uri: redirect_uri.map(str::to_owned),
            issuer: server.issuer.clone(),
        }));
    }
    match &server.registration_endpoint {
        Some(endpoint) => Ok(Choice::Register(endpoint.clone())),
        None => Err(RegistrationError::Impossible {
            issuer: quoted(&server.issuer),
            takes_documents: server.client_id_metadata_document_supported,
            redirect_uri: redirect_uri.map(error::in_full),
        }),
    }
}

fn by_hand(
    manual: &ClientCredentials,
    server: &ServerMetadata,
    redirect_uri: Option<&str>,
) -> Result<Client, RegistrationError> {
    if let Some(issuer) = manual.issuer.as_deref().filter(|issuer| *issuer != server.issuer) {
        return Err(RegistrationError::OtherServersClient {
            knows: quoted(issuer),
            asked: quoted(&server.issuer),
        });
    }
    Ok(Client {
        id: manual.id.clone(),
        secret: manual.secret.clone(),
        auth_method: method::of_known(server, manual.secret.is_some())?,
        registration: Registration::Manual,
        redirect_uri: redirect_uri.map(str::to_owned),
        issuer: server.issuer.clone(),
    })
}

/// A client registered by hand has the redirect URIs that the user says; a dynamic one the one that it was registered with,
/// compared byte for byte, as servers do. Where that is not known, registering again is safer, if it is possible.
fn is_usable(stored: &Client, server: &ServerMetadata, redirect_uri: Option<&str>) -> bool {
    if stored.issuer != server.issuer {
        return false;
    }
    match stored.registration {
        Registration::Manual => true,
        Registration::Dynamic => match (stored.redirect_uri.as_deref(), redirect_uri) {
            (None, Some(_)) => server.registration_endpoint.is_none(),
            (registered, wanted) => registered == wanted,
        },
        // The document of now counts, not that of then.
        _ => false,
    }
}

/// A client identifier that is a URL: https, with a path (draft-ietf-oauth-client-id-metadata-document, section 3).
fn is_document_url(url: &str) -> bool {
    endpoint::checked(url).is_ok_and(|url| url.scheme() == "https" && url.path() != "/")
}

#[cfg(test)]
mod tests;
