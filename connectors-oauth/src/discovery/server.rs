//! The metadata of an authorization server (RFC 8414, OpenID Connect Discovery 1.0), and what it lacks.

use connectors_core::OAuthException;
use connectors_core::trace::{Step, StepOutcome, TraceStep};
use url::Url;

use super::document::{self, Document};
use super::{DiscoveryError, note_failure, place};
use crate::endpoint::{self, BadEndpoint};
use crate::exchange::Exchange;
use crate::metadata::ServerMetadata;
use crate::quoted::quoted;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// Reads the metadata of the authorization server `issuer`. What does not come from that very issuer is not used
/// (RFC 8414, section 3.3).
pub(super) async fn find(
    exchange: &Exchange,
    issuer: &str,
    exceptions: &[OAuthException],
) -> Result<ServerMetadata, DiscoveryError> {
    let url = issuer_url(issuer)?;
    let found = document::find(exchange, Document::Server, &addresses(&url), ServerMetadata::read).await?;
    let Some((url, metadata)) = found else {
        return Err(DiscoveryError::NoServerMetadata { issuer: quoted(issuer) });
    };
    if metadata.issuer != issuer {
        let (expected, found) = (quoted(issuer), quoted(&metadata.issuer));
        if !differ_by_slash(&metadata.issuer, issuer) {
            return Err(DiscoveryError::OtherIssuer { expected, found });
        }
        if !exceptions.contains(&OAuthException::IssuerSlash) {
            return Err(DiscoveryError::IssuerSlash { expected, found });
        }
        note_exception(exchange, "issuer_slash_accepted", expected, found);
    }
    note_found(exchange, &url, &metadata);
    Ok(metadata)
}

/// The MCP server as its own authorization server, as in 2025-03-26: its metadata at its origin, or else the addresses that
/// are assumed of it. Its issuer is written nowhere, so that a slash at its end makes no difference.
pub(super) async fn at_origin(exchange: &Exchange) -> Result<ServerMetadata, DiscoveryError> {
    let origin = issuer_url(&exchange.server.origin().ascii_serialization())?;
    let found = document::find(exchange, Document::Server, &addresses(&origin), ServerMetadata::read).await?;
    let assumed = ServerMetadata::assumed(&origin);
    let Some((url, metadata)) = found else {
        exchange.note(
            TraceStep::new(Step::AuthorizationServer, StepOutcome::Passed, "server_metadata_assumed")
                .expecting(Document::Server.name())
                .seeing(
                    "nothing is published: /authorize, /token and /register of the server's origin are used",
                ),
        );
        return Ok(assumed);
    };
    if metadata.issuer != assumed.issuer && !differ_by_slash(&metadata.issuer, &assumed.issuer) {
        let (expected, found) = (quoted(&assumed.issuer), quoted(&metadata.issuer));
        return Err(DiscoveryError::OtherIssuer { expected, found });
    }
    note_found(exchange, &url, &metadata);
    Ok(metadata)
}

/// The page that users of `server` sign in at. Where they do, the server has to support PKCE with S256 and say so
/// (2026-07-28, authorization security considerations, authorization code protection), and has to take the request from the
/// browser. For grants without a browser none of that matters.
///
/// Of a server that publishes nothing, nothing can be demanded: S256 is used with it like with all others.
pub(crate) fn authorization_page<'a>(
    exchange: &Exchange,
    server: &'a ServerMetadata,
    exceptions: &[OAuthException],
) -> Result<&'a Url, DiscoveryError> {
    check_page(exchange, server, exceptions).inspect_err(|error| note_failure(exchange, error))
}

fn check_page<'a>(
    exchange: &Exchange,
    server: &'a ServerMetadata,
    exceptions: &[OAuthException],
) -> Result<&'a Url, DiscoveryError> {
    let issuer = || quoted(&server.issuer);
    let page = server
        .authorization_endpoint
        .as_ref()
        .ok_or_else(|| DiscoveryError::NoAuthorizationEndpoint { issuer: issuer() })?;
    if server.require_pushed_authorization_requests {
        return Err(DiscoveryError::PushedRequestsOnly { issuer: issuer() });
    }
    match &server.code_challenge_methods_supported {
        Some(methods) if methods.iter().any(|method| method == "S256") => {}
        Some(methods) => {
            let methods = quoted(&methods.join(" "));
            return Err(DiscoveryError::PkceUnsupported { issuer: issuer(), methods });
        }
        None if server.assumed => {}
        None if exceptions.contains(&OAuthException::PkceNotAdvertised) => {
            let found = "no code_challenge_methods_supported".to_owned();
            note_exception(exchange, "pkce_not_advertised_accepted", "S256".to_owned(), found);
        }
        None => return Err(DiscoveryError::PkceNotAdvertised { issuer: issuer() }),
    }
    Ok(page)
}

/// RFC 8414, section 2: an issuer has neither query nor fragment.
fn issuer_url(issuer: &str) -> Result<Url, DiscoveryError> {
    match endpoint::checked(issuer) {
        Ok(url) if url.query().is_some() => Err(BadEndpoint::Query),
        checked => checked,
    }
    .map_err(|problem| DiscoveryError::IssuerUrl { issuer: quoted(issuer), problem })
}

/// Where the metadata of an issuer may be, in the order that the specification demands.
fn addresses(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let mut paths = vec![format!("{OAUTH}{path}"), format!("{OPENID}{path}")];
    if !path.is_empty() {
        paths.push(format!("{path}{OPENID}"));
    }
    let at = |path: &String| {
        let mut url = issuer.clone();
        url.set_path(path);
        url
    };
    paths.iter().map(at).collect()
}

fn differ_by_slash(one: &str, other: &str) -> bool {
    one.strip_suffix('/') == Some(other) || other.strip_suffix('/') == Some(one)
}

fn note_found(exchange: &Exchange, url: &Url, metadata: &ServerMetadata) {
    let offers = [
        ("client metadata documents", metadata.client_id_metadata_document_supported),
        ("dynamic registration", metadata.registration_endpoint.is_some()),
        ("sign-in on another device", metadata.device_authorization_endpoint.is_some()),
        ("revocation", metadata.revocation_endpoint.is_some()),
    ];
    let offered: Vec<_> = offers.iter().filter(|(_, offered)| *offered).map(|(name, _)| *name).collect();
    let offered = if offered.is_empty() { "none of the options".to_owned() } else { offered.join(", ") };
    exchange.note(
        TraceStep::new(Step::AuthorizationServer, StepOutcome::Passed, "server_metadata")
            .expecting(Document::Server.name())
            .seeing(format!("{}: issuer {}, offers {offered}", place(url), quoted(&metadata.issuer))),
    );
}

fn note_exception(exchange: &Exchange, code: &'static str, expected: String, found: String) {
    exchange.note(
        TraceStep::new(Step::AuthorizationServer, StepOutcome::Skipped, code)
            .expecting(expected)
            .seeing(format!("{found}, accepted by an exception of this connector")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(issuer: &str) -> Vec<String> {
        addresses(&Url::parse(issuer).unwrap()).into_iter().map(String::from).collect()
    }

    #[test]
    fn an_issuer_with_a_path_is_looked_for_in_three_places() {
        let expected = [
            "https://as.test/.well-known/oauth-authorization-server/a/b",
            "https://as.test/.well-known/openid-configuration/a/b",
            "https://as.test/a/b/.well-known/openid-configuration",
        ];
        assert_eq!(places("https://as.test/a/b"), expected);
        assert_eq!(places("https://as.test/a/b/"), expected);
    }

    #[test]
    fn an_issuer_without_a_path_is_looked_for_in_two() {
        let expected = [
            "https://as.test/.well-known/oauth-authorization-server",
            "https://as.test/.well-known/openid-configuration",
        ];
        assert_eq!(places("https://as.test"), expected);
        assert_eq!(places("https://as.test/"), expected);
    }

    #[test]
    fn one_slash_is_the_only_difference_that_an_exception_covers() {
        assert!(differ_by_slash("https://as.test/", "https://as.test"));
        assert!(differ_by_slash("https://as.test", "https://as.test/"));
        assert!(!differ_by_slash("https://as.test//", "https://as.test"));
        assert!(!differ_by_slash("https://AS.test/", "https://as.test"));
        assert!(!differ_by_slash("https://as.test/a", "https://as.test/"));
    }
}
