//! Making HTTP clients: the one place that knows of TLS, proxies and pools.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connectors_core::TransportError;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use url::{Host, Url};

const USER_AGENT: &str = concat!("connectors/", env!("CARGO_PKG_VERSION"));

/// What connectors have to agree on to share a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Longest wait for a connection: name resolution, TCP and TLS.
    pub(crate) connect: Duration,
    /// No proxy is asked, whatever the environment says.
    pub(crate) direct: bool,
}

impl ClientSettings {
    /// What reaching `endpoint` takes.
    pub(crate) fn new(endpoint: &Url, connect: Duration) -> Self {
        Self { connect, direct: is_loopback(endpoint) }
    }
}

/// True for a host that is this machine, as far as its name tells. A proxy would take it for itself.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// The clients in use, one per settings: each costs milliseconds to make, and has its own pool and TLS state.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    made: Mutex<Vec<(ClientSettings, reqwest::Client)>>,
}

impl Clients {
    /// The client for these settings, made on first use.
    pub(crate) fn get(&self, settings: &ClientSettings) -> Result<reqwest::Client, TransportError> {
        // Held while a client is made, so that dials that begin together make one, not one each.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = made.iter().find(|(known, _)| known == settings) {
            return Ok(client.clone());
        }
        let client = make(settings)?;
        made.push((settings.clone(), client.clone()));
        Ok(client)
    }
}

fn make(settings: &ClientSettings) -> Result<reqwest::Client, TransportError> {
    let unusable = |source: connectors_core::error::Source| TransportError::Unreachable {
        reason: "TLS cannot be set up on this machine".into(),
        source: Some(source),
    };
    let builder = reqwest::Client::builder();
    let builder = if settings.direct { builder.no_proxy() } else { builder };
    builder
        .tls_backend_preconfigured(tls().map_err(|e| unusable(e.into()))?)
        .user_agent(USER_AGENT)
        .connect_timeout(settings.connect)
        // Followed by hand: credentials must not travel along.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .build()
        .map_err(|e| unusable(e.into()))
}

fn tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match Verifier::new(provider) {
        Ok(verifier) => builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)),
        Err(error) => {
            // Local servers over plain HTTP work all the same; https fails with an unknown issuer.
            tracing::warn!(%error, "no system certificates: https servers will not be trusted");
            builder.with_root_certificates(RootCertStore::empty())
        }
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_made_once_per_settings() {
        let clients = Clients::default();
        let settings = |secs, direct| ClientSettings { connect: Duration::from_secs(secs), direct };
        for (secs, direct) in [(10, false), (10, false), (5, false), (10, true), (10, false)] {
            clients.get(&settings(secs, direct)).unwrap();
        }
        let made: Vec<_> = clients.made.lock().unwrap().iter().map(|(s, _)| s.clone()).collect();
        assert_eq!(made, [settings(10, false), settings(5, false), settings(10, true)]);
    }

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        let direct = |url: &str| ClientSettings::new(&url.parse().unwrap(), Duration::ZERO).direct;
        for url in [
            "http://localhost:3000/mcp",
            "https://LOCALHOST./",
            "http://127.0.0.1/",
            "http://127.9.8.7:1/",
            "http://127.1/",
            "http://[::1]:9/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(direct(url), "{url}");
        }
        for url in ["http://localhost.example/", "http://10.0.0.1/", "http://[fe80::1]/", "http://128.0.0.1/"]
        {
            assert!(!direct(url), "{url}");
        }
    }
}
