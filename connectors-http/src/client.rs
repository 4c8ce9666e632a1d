//! Making HTTP clients: the one place that knows of TLS, proxies and pools.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connectors_core::TransportError;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

const USER_AGENT: &str = concat!("connectors/", env!("CARGO_PKG_VERSION"));

/// What connectors have to agree on to share a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Longest wait for a connection: name resolution, TCP and TLS.
    pub(crate) connect: Duration,
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
    reqwest::Client::builder()
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
        let settings = |secs| ClientSettings { connect: Duration::from_secs(secs) };
        for secs in [10, 10, 5, 10] {
            clients.get(&settings(secs)).unwrap();
        }
        let made: Vec<_> = clients.made.lock().unwrap().iter().map(|(s, _)| s.clone()).collect();
        assert_eq!(made, [settings(10), settings(5)]);
    }
}
