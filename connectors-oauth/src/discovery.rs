//! From an MCP server's refusal to the server that gives tokens for it (2026-07-28, authorization server discovery).
//!
//! A next address is tried only where one says plainly that it has nothing. Any other failure ends the search with an error of
//! its own: going on would let whoever causes it choose another authorization server.

mod document;
mod error;
mod resource;
mod server;

use std::time::Duration;

use connectors_core::OAuthException;
use connectors_core::sign_in::without_query;
use connectors_core::trace::{Step, StepOutcome, TraceStep};
use tokio::time::timeout;
use url::Url;

pub(crate) use self::error::DiscoveryError;
pub(crate) use self::server::authorization_page;
use crate::challenge::Wanted;
use crate::exchange::Exchange;
use crate::metadata::{ResourceMetadata, ServerMetadata};
use crate::quoted::quoted;

/// Authorization servers of one resource that are tried.
const MAX_SERVERS: usize = 8;

/// Longest time for the whole search: every address may use up its own, and there can be many.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who gives tokens for the MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovered {
    /// `None` where the server follows 2025-03-26, and is its own authorization server.
    pub(crate) resource: Option<ResourceMetadata>,
    pub(crate) server: ServerMetadata,
}

impl Discovered {
    /// The `resource` parameter (RFC 8707), byte for byte as published. `None` for a server of 2025-03-26, which knew none.
    pub(crate) fn resource_parameter(&self) -> Option<&str> {
        self.resource.as_ref().map(|resource| resource.resource.as_str())
    }
}

/// Finds the authorization server of the exchange's MCP server. `wanted` is what that server answered to a request without a
/// token, where it is known.
///
/// The addresses are those of the challenge, else of RFC 9728 with the server's path, else without. Only where all of them
/// answer that there is nothing, and the challenge had none, does 2025-03-26 apply. Of several authorization servers the
/// first usable one counts; the first failure is reported if none is. Each step is noted in the trace. Takes a minute at most.
pub(crate) async fn discover(
    exchange: &Exchange,
    wanted: Option<&Wanted>,
    exceptions: &[OAuthException],
) -> Result<Discovered, DiscoveryError> {
    note_challenge(exchange, wanted);
    let found = timeout(PATIENCE, search(exchange, wanted, exceptions)).await;
    found.unwrap_or_else(|_| {
        let error = DiscoveryError::TooSlow { server: place(&exchange.server), limit: PATIENCE };
        note_failure(exchange, &error);
        Err(error)
    })
}

async fn search(
    exchange: &Exchange,
    wanted: Option<&Wanted>,
    exceptions: &[OAuthException],
) -> Result<Discovered, DiscoveryError> {
    let announced = wanted.and_then(|wanted| wanted.resource_metadata.as_deref());
    let resource =
        resource::find(exchange, announced).await.inspect_err(|error| note_failure(exchange, error))?;
    let Some(resource) = resource else {
        let server = server::at_origin(exchange).await.inspect_err(|error| note_failure(exchange, error))?;
        return Ok(Discovered { resource: None, server });
    };
    let server = first_usable(exchange, &resource, exceptions).await?;
    Ok(Discovered { resource: Some(resource), server })
}

async fn first_usable(
    exchange: &Exchange,
    resource: &ResourceMetadata,
    exceptions: &[OAuthException],
) -> Result<ServerMetadata, DiscoveryError> {
    let mut first = None;
    for issuer in resource.authorization_servers.iter().take(MAX_SERVERS) {
        match server::find(exchange, issuer, exceptions).await {
            Ok(server) => return Ok(server),
            Err(error) => {
                note_failure(exchange, &error);
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| {
        let error = DiscoveryError::NoServerNamed { resource: quoted(&resource.resource) };
        note_failure(exchange, &error);
        error
    }))
}

fn note_challenge(exchange: &Exchange, wanted: Option<&Wanted>) {
    let step = |outcome, code| {
        TraceStep::new(Step::Challenge, outcome, code)
            .expecting("a Bearer or DPoP challenge, best with resource_metadata")
    };
    exchange.note(match wanted {
        None => step(StepOutcome::Skipped, "challenge_absent").seeing("no challenge that a token answers"),
        Some(wanted) => {
            let metadata = wanted.resource_metadata.as_deref().map_or("none".to_owned(), written_place);
            let scope = wanted.scope.as_ref().map_or("none".to_owned(), |scope| quoted(&scope.join(" ")));
            let seen = format!("{:?}, resource_metadata: {metadata}, scope: {scope}", wanted.scheme);
            step(StepOutcome::Passed, "challenge").seeing(seen)
        }
    });
}

fn note_failure(exchange: &Exchange, error: &DiscoveryError) {
    exchange.note(
        TraceStep::new(error.step(), StepOutcome::Failed, error.detail())
            .expecting(error.expected())
            .seeing(error.to_string())
            .remedied_by(error.remedy()),
    );
}

/// An address for the trace and for messages: without what may hold a key.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    // Fails for addresses that cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    quoted(&without_query(&url))
}

/// The same for an address as somebody wrote it.
fn written_place(url: &str) -> String {
    Url::parse(url).map_or_else(|_| quoted(url), |url| place(&url))
}

#[cfg(test)]
mod tests;
