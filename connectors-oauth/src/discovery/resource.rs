//! The metadata of the MCP server itself (RFC 9728).

use connectors_core::trace::{Step, StepOutcome, TraceStep};
use url::Url;

use super::document::{self, Document};
use super::{DiscoveryError, place, written_place};
use crate::endpoint::{self, BadEndpoint};
use crate::exchange::Exchange;
use crate::metadata::ResourceMetadata;
use crate::quoted::quoted;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Reads the metadata of the exchange's MCP server. `announced` is the address that a challenge gave. `None` where it is plain
/// that there is none, and none was announced.
pub(super) async fn find(
    exchange: &Exchange,
    announced: Option<&str>,
) -> Result<Option<ResourceMetadata>, DiscoveryError> {
    let addresses = addresses(&exchange.server, announced)?;
    let found = document::find(exchange, Document::Resource, &addresses, ResourceMetadata::read).await?;
    let Some((url, metadata)) = found else {
        return match announced {
            Some(url) => Err(DiscoveryError::NothingAsAnnounced { url: written_place(url) }),
            None => Ok(None),
        };
    };
    if !covers(&metadata.resource, &exchange.server) {
        return Err(DiscoveryError::OtherResource {
            server: place(&exchange.server),
            resource: quoted(&metadata.resource),
        });
    }
    exchange.note(
        TraceStep::new(Step::ResourceMetadata, StepOutcome::Passed, "resource_metadata")
            .expecting(Document::Resource.name())
            .seeing(format!(
                "{}: resource {}, authorization servers: {}",
                place(&url),
                quoted(&metadata.resource),
                quoted(&metadata.authorization_servers.join(" ")),
            )),
    );
    Ok(Some(metadata))
}

/// Where the metadata may be, in the order in which it is looked for.
///
/// A slash at the end of the server's path is part of the address by RFC 9728, section 3.1, but servers leave it out as well.
fn addresses(server: &Url, announced: Option<&str>) -> Result<Vec<Url>, DiscoveryError> {
    let mut addresses = Vec::new();
    if let Some(announced) = announced {
        addresses.push(announced_at(server, announced)?);
    }
    let path = server.path();
    for path in [path, path.trim_end_matches('/'), ""] {
        let mut url = server.clone();
        url.set_fragment(None);
        url.set_path(&format!("{WELL_KNOWN}{}", if path == "/" { "" } else { path }));
        if path.is_empty() {
            url.set_query(None);
        }
        if !addresses.contains(&url) {
            addresses.push(url);
        }
    }
    Ok(addresses)
}

/// The address of a challenge: any that is safe, or one at the server itself.
fn announced_at(server: &Url, announced: &str) -> Result<Url, DiscoveryError> {
    let is_own = |url: &Url| url.origin() == server.origin();
    match endpoint::checked(announced) {
        Ok(url) => Ok(url),
        Err(BadEndpoint::Unencrypted) if Url::parse(announced).is_ok_and(|url| is_own(&url)) => {
            Url::parse(announced).map_err(|_| BadEndpoint::NotAUrl)
        }
        Err(problem) => Err(problem),
    }
    .map_err(|problem| DiscoveryError::ChallengeUrl { url: written_place(announced), problem })
}

/// True if tokens for `resource` are meant for `server`: the same origin, and a path that the server's begins with, segment by
/// segment.
fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else { return false };
    if resource.origin() != server.origin() {
        return false;
    }
    if !resource.username().is_empty() || resource.password().is_some() || resource.fragment().is_some() {
        return false;
    }
    if resource.query().is_some() && resource.query() != server.query() {
        return false;
    }
    let prefix = resource.path().trim_end_matches('/');
    server.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> Url {
        Url::parse(url).unwrap()
    }

    fn places(server: &str) -> Vec<String> {
        addresses(&url(server), None).unwrap().into_iter().map(String::from).collect()
    }

    #[test]
    fn the_path_of_the_server_comes_before_the_root() {
        let root = "https://mcp.test/.well-known/oauth-protected-resource";
        assert_eq!(places("https://mcp.test/a/mcp"), [format!("{root}/a/mcp"), root.to_owned()]);
        assert_eq!(
            places("https://mcp.test/mcp/?k=v"),
            [format!("{root}/mcp/?k=v"), format!("{root}/mcp?k=v"), root.to_owned()]
        );
        assert_eq!(places("https://mcp.test"), [root]);
    }

    #[test]
    fn a_resource_covers_what_is_at_or_below_it() {
        let server = url("https://mcp.test/a/mcp");
        let covering = [
            "https://mcp.test/a/mcp",
            "https://mcp.test/a/mcp/",
            "https://mcp.test/a",
            "https://mcp.test/a/",
            "https://mcp.test",
            "https://mcp.test/",
            "HTTPS://MCP.test:443/a",
        ];
        for resource in covering {
            assert!(covers(resource, &server), "{resource}");
        }
        let others = [
            "https://mcp.test/a/mc",
            "https://mcp.test/a/mcp/more",
            "https://mcp.test/A/mcp",
            "https://mcp.test/a/mcp?x=y",
            "https://mcp.test/a/mcp#x",
            "https://user@mcp.test/a/mcp",
            "https://mcp.test:8443/a/mcp",
            "http://mcp.test/a/mcp",
            "https://mcp.test.evil.test/a/mcp",
            "https://evil.test/a/mcp",
            "mcp.test/a/mcp",
            "urn:mcp",
            "",
        ];
        for resource in others {
            assert!(!covers(resource, &server), "{resource}");
        }
    }
}
