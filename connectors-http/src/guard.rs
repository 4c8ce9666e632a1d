//! Where a request may go that a server's metadata led to (DESIGN: metadata fetched for a public server never reaches
//! private, loopback or link-local addresses).

use std::net::IpAddr;

use connectors_core::http::HttpRules;
use url::Url;

use crate::address::Reach;
use crate::error::place;

/// The addresses that one client may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The furthest of them.
    pub(crate) reach: Reach,
    /// A host that the user has chosen, so that it may be anywhere: the proxy that the client goes through.
    pub(crate) chosen: Option<String>,
}

/// Why a request is not sent: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Forbidden(String);

/// How far requests may reach under these rules: as far as the server that they are for, by the spelling of its URL.
pub(crate) fn reach(rules: &HttpRules) -> Reach {
    let own = match Reach::spelled(&rules.server) {
        Some(reach @ (Reach::Private | Reach::Loopback)) => reach,
        _ => Reach::Public,
    };
    if rules.network.allow_private { own.max(Reach::Private) } else { own }
}

/// Checks what a URL tells before its name is resolved.
pub(crate) fn check(url: &Url, rules: &HttpRules) -> Result<(), Forbidden> {
    let Some(host) = url.host_str() else {
        return Err(Forbidden(format!("`{}` URLs are never requested", url.scheme())));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden(format!("the URL at `{}` holds credentials, so it is not used", place(url))));
    }
    let spelled = Reach::spelled(url);
    match url.scheme() {
        "https" => {}
        "http" if spelled == Some(Reach::Loopback) || url.origin() == rules.server.origin() => {}
        "http" => {
            return Err(Forbidden(format!(
                "`{}` is only to be had over unprotected http, which is used on this machine alone",
                place(url)
            )));
        }
        scheme => return Err(Forbidden(format!("`{scheme}` URLs are never requested"))),
    }
    match spelled {
        Some(found) if found > reach(rules) => Err(forbidden(host, found)),
        _ => Ok(()),
    }
}

impl Guard {
    /// The addresses of a host that may be connected to, of which there is at least one.
    pub(crate) fn permitted(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Forbidden> {
        if self.chosen.as_ref().is_some_and(|chosen| chosen.eq_ignore_ascii_case(host)) {
            return Ok(addresses);
        }
        // Of several reasons, the one that the user can most easily do something about.
        let nearest = addresses.iter().map(|address| Reach::of(*address)).min().unwrap_or(Reach::Never);
        if nearest > self.reach {
            return Err(forbidden(host, nearest));
        }
        Ok(addresses.into_iter().filter(|address| Reach::of(*address) <= self.reach).collect())
    }
}

fn forbidden(host: &str, found: Reach) -> Forbidden {
    Forbidden(match found {
        Reach::Private => format!(
            "`{host}` is on a private network, where the metadata of a public server may not lead; if that is your \
             intranet, set `network.allow_private` for this connector"
        ),
        Reach::Loopback => format!(
            "`{host}` is this machine, where only the metadata of a server on this machine may lead; \
             `network.allow_private` does not change that"
        ),
        // Public ones are never forbidden.
        Reach::Never | Reach::Public => format!(
            "`{host}` has an address that metadata may never lead to (link-local, reserved or of a cloud's own \
             services); `network.allow_private` does not change that"
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use connectors_core::NetworkSettings;

    use super::*;

    fn rules(server: &str, allow_private: bool) -> HttpRules {
        let mut network = NetworkSettings::default();
        network.allow_private = allow_private;
        HttpRules {
            server: server.parse().unwrap(),
            network: Arc::new(network),
            max_body: 1,
            timeout: Duration::ZERO,
            follow_redirects: false,
        }
    }

    fn verdict(server: &str, allow_private: bool, url: &str) -> Result<(), String> {
        check(&url.parse().unwrap(), &rules(server, allow_private)).map_err(|e| e.to_string())
    }

    const PUBLIC: &str = "https://mcp.example/mcp";

    #[test]
    fn a_server_reaches_as_far_as_its_url_is_spelled() {
        for (server, expected, with_private) in [
            (PUBLIC, Reach::Public, Reach::Private),
            ("https://8.8.8.8/", Reach::Public, Reach::Private),
            ("https://10.0.0.1/", Reach::Private, Reach::Private),
            ("http://localhost/", Reach::Loopback, Reach::Loopback),
            ("http://[::1]/", Reach::Loopback, Reach::Loopback),
            ("http://169.254.169.254/", Reach::Public, Reach::Private),
        ] {
            assert_eq!(reach(&rules(server, false)), expected, "{server}");
            assert_eq!(reach(&rules(server, true)), with_private, "{server}");
        }
    }

    #[test]
    fn a_literal_address_is_refused_with_what_would_allow_it() {
        assert_eq!(
            verdict(PUBLIC, false, "https://192.168.1.1/token"),
            Err("`192.168.1.1` is on a private network, where the metadata of a public server may not lead; if \
                 that is your intranet, set `network.allow_private` for this connector"
                .into())
        );
        assert_eq!(verdict(PUBLIC, true, "https://192.168.1.1/token"), Ok(()));
        for allow_private in [false, true] {
            assert_eq!(
                verdict(PUBLIC, allow_private, "http://localhost:631/"),
                Err("`localhost` is this machine, where only the metadata of a server on this machine may \
                     lead; `network.allow_private` does not change that"
                    .into())
            );
            assert_eq!(
                verdict("http://localhost/", allow_private, "https://169.254.169.254/latest/meta-data"),
                Err(
                    "`169.254.169.254` has an address that metadata may never lead to (link-local, reserved \
                     or of a cloud's own services); `network.allow_private` does not change that"
                        .into()
                )
            );
            assert!(verdict("http://10.0.0.1/", allow_private, "https://127.0.0.1/").is_err());
        }
        assert_eq!(verdict("http://10.0.0.1/", false, "https://10.0.0.2/"), Ok(()));
        assert_eq!(verdict("http://localhost/", false, "http://127.0.0.1:9/"), Ok(()));
    }

    #[test]
    fn unprotected_http_is_for_this_machine_and_for_the_server_itself() {
        assert_eq!(
            verdict(PUBLIC, true, "http://auth.example/token?secret=1"),
            Err(
                "`auth.example` is only to be had over unprotected http, which is used on this machine alone"
                    .into()
            )
        );
        assert_eq!(verdict("http://mcp.example:8080/mcp", false, "http://mcp.example:8080/x"), Ok(()));
        assert!(verdict("http://mcp.example:8080/mcp", false, "http://mcp.example/x").is_err());
        assert!(verdict("https://mcp.example/mcp", false, "http://mcp.example/x").is_err());
        assert_eq!(verdict("http://10.0.0.1/mcp", false, "http://10.0.0.1/x"), Ok(()));
        assert!(verdict("http://10.0.0.1/mcp", false, "http://10.0.0.2/x").is_err());
    }

    #[test]
    fn other_schemes_and_credentials_in_a_url_are_refused() {
        for url in ["file:///etc/passwd", "javascript:alert(1)", "ftp://h.example/", "data:,x"] {
            assert!(verdict(PUBLIC, true, url).unwrap_err().ends_with("URLs are never requested"), "{url}");
        }
        assert_eq!(
            verdict(PUBLIC, true, "https://user:hidden@h.example/"),
            Err("the URL at `h.example` holds credentials, so it is not used".into())
        );
    }

    #[test]
    fn of_several_addresses_those_that_are_permitted_are_used() {
        let guard = |reach, chosen: Option<&str>| Guard { reach, chosen: chosen.map(ToOwned::to_owned) };
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mixed = addresses(&["10.0.0.1", "8.8.8.8", "169.254.169.254", "127.0.0.1"]);
        let permitted = |guard: Guard| guard.permitted("h.example", mixed.clone()).unwrap();
        assert_eq!(permitted(guard(Reach::Public, None)), addresses(&["8.8.8.8"]));
        assert_eq!(permitted(guard(Reach::Private, None)), addresses(&["10.0.0.1", "8.8.8.8"]));
        assert_eq!(permitted(guard(Reach::Loopback, None)), addresses(&["10.0.0.1", "8.8.8.8", "127.0.0.1"]));
        assert_eq!(permitted(guard(Reach::Public, Some("H.example"))), mixed);
        assert_eq!(
            guard(Reach::Public, Some("proxy")).permitted("h.example", addresses(&["127.0.0.1", "10.0.0.1"])),
            Err(forbidden("h.example", Reach::Private))
        );
    }
}
