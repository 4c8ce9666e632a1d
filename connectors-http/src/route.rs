//! Whether a request goes through a proxy.

use std::sync::LazyLock;

use connectors_core::NetworkSettings;
use connectors_core::transport::InvalidDefinition;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::address::is_this_machine;
use crate::network;

/// The proxies of the environment and of the operating system, as reqwest finds them too.
static SYSTEM: LazyLock<Matcher> = LazyLock::new(Matcher::from_system);

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Without a proxy.
    Direct,
    /// Through the system's proxy, if it has one for the host.
    System,
    /// Through the connector's own.
    Proxy(Url),
}

/// A proxy that a request goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Its host.
    pub(crate) host: String,
    /// Host and port, for messages.
    pub(crate) place: String,
    /// It is itself reached over TLS.
    pub(crate) is_https: bool,
}

impl Route {
    /// The way to where `url` leads. This machine is always reached directly.
    pub(crate) fn to(url: &Url, network: &NetworkSettings) -> Result<Self, InvalidDefinition> {
        if is_this_machine(url) {
            return Ok(Self::Direct);
        }
        Ok(network::proxy(network)?.map_or(Self::System, Self::Proxy))
    }

    /// The proxy that a request to `url` goes through on this way.
    pub(crate) fn proxy(&self, url: &Url) -> Option<Proxy> {
        match self {
            Self::Direct => None,
            Self::Proxy(proxy) => Some(Proxy {
                host: proxy.host_str()?.to_owned(),
                place: crate::error::place(proxy),
                is_https: proxy.scheme() == "https",
            }),
            Self::System => {
                let found = SYSTEM.intercept(&url.as_str().parse().ok()?)?;
                let uri = found.uri();
                let host = uri.host()?.to_owned();
                let place = uri.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
                Some(Proxy { host, place, is_https: uri.scheme_str() == Some("https") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_connectors_own_proxy_is_for_everything_but_this_machine() {
        let mut network = NetworkSettings::default();
        assert_eq!(Route::to(&url("https://h.example/"), &network), Ok(Route::System));
        network.proxy = Some("https://proxy.example:3128".into());
        let route = Route::to(&url("https://h.example/"), &network).unwrap();
        assert_eq!(route, Route::Proxy(url("https://proxy.example:3128")));
        assert_eq!(
            route.proxy(&url("https://h.example/")),
            Some(Proxy { host: "proxy.example".into(), place: "proxy.example:3128".into(), is_https: true })
        );
        for here in ["http://localhost/", "https://127.0.0.1/", "http://[::1]/", "http://app.localhost/"] {
            assert_eq!(Route::to(&url(here), &network), Ok(Route::Direct), "{here}");
        }
        assert_eq!(Route::Direct.proxy(&url("https://h.example/")), None);
    }
}
