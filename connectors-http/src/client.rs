//! Making HTTP clients: the one place that puts TLS, proxies and pools together.

use std::sync::Arc;
use std::time::Duration;

use connectors_core::{NetworkSettings, TransportError};
use rustls::ClientConfig;

use crate::cache::Cache;
use crate::guard::Guard;
use crate::names::{Names, Resolver, SystemNames};
use crate::network::{self, refused};
use crate::route::Route;
use crate::tls::{Identity, unusable};

const USER_AGENT: &str = concat!("connectors/", env!("CARGO_PKG_VERSION"));

/// What requests have to agree on to share a client, besides their TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// Longest wait for a connection: name resolution, TCP and TLS.
    pub(crate) connect: Duration,
    /// The way it takes.
    pub(crate) route: Route,
    /// Where it may lead; anywhere if `None`.
    pub(crate) guard: Option<Guard>,
}

/// The clients in use, one per settings: each has its own pool. Those with the same identity share its TLS, which costs
/// milliseconds to set up.
#[derive(Default)]
pub(crate) struct Clients {
    made: Cache<(ClientSettings, Identity), reqwest::Client>,
    tls: Cache<Identity, ClientConfig>,
    /// Who resolves names, if it is not the operating system.
    names: Option<Arc<dyn Names>>,
}

impl Clients {
    pub(crate) fn with_names(names: Arc<dyn Names>) -> Self {
        Self { names: Some(names), ..Self::default() }
    }

    /// The client for these settings, made on first use, and anew when a file has changed.
    ///
    /// # Errors
    ///
    /// [`TransportError::Refused`] for settings or files that are of no use; [`TransportError::Unreachable`] where this machine has no TLS.
    pub(crate) async fn get(
        &self,
        settings: ClientSettings,
        network: &NetworkSettings,
    ) -> Result<reqwest::Client, TransportError> {
        network::check(network).map_err(refused)?;
        let identity = if Identity::is_wanted(network) {
            let network = network.clone();
            aside(move || Identity::look(&network)).await?.map_err(refused)?
        } else {
            Identity::default()
        };
        let key = (settings, identity);
        self.made.get(&key, self.make(&key.0, &key.1)).await
    }

    async fn make(
        &self,
        settings: &ClientSettings,
        identity: &Identity,
    ) -> Result<reqwest::Client, TransportError> {
        let configure = async {
            let identity = identity.clone();
            aside(move || identity.configure()).await?
        };
        let tls = self.tls.get(identity, configure).await?;
        let mut builder = reqwest::Client::builder();
        builder = match &settings.route {
            Route::Direct => builder.no_proxy(),
            Route::System => builder,
            Route::Proxy(proxy) => {
                builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(|error| unusable(error.into()))?)
            }
        };
        if self.names.is_some() || settings.guard.is_some() {
            let names = self.names.clone().unwrap_or_else(|| Arc::new(SystemNames));
            builder = builder.dns_resolver(Arc::new(Resolver { names, guard: settings.guard.clone() }));
        }
        builder
            .tls_backend_preconfigured(tls)
            .user_agent(USER_AGENT)
            .connect_timeout(settings.connect)
            // Followed by hand: credentials must not travel along.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|error| unusable(error.into()))
    }
}

/// Runs what blocks where it holds nobody up.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TransportError> {
    // It fails only where the runtime ends.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| TransportError::Closed { reason: "the host is shutting down".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_made_once_per_settings_and_shares_its_tls() {
        let clients = Clients::default();
        let settings =
            |secs, route| ClientSettings { connect: Duration::from_secs(secs), route, guard: None };
        let network = NetworkSettings::default();
        for (secs, route) in [
            (10, Route::System),
            (5, Route::System),
            (10, Route::Direct),
            (5, Route::System),
            (10, Route::System),
        ] {
            clients.get(settings(secs, route), &network).await.unwrap();
        }
        let made: Vec<_> = clients.made.keys().into_iter().map(|(settings, _)| settings).collect();
        assert_eq!(
            made,
            [settings(10, Route::Direct), settings(5, Route::System), settings(10, Route::System)]
        );
        assert_eq!(clients.tls.keys(), [Identity::default()]);
    }

    #[tokio::test]
    async fn a_file_that_is_of_no_use_is_named() {
        let mut network = NetworkSettings::default();
        let missing = std::env::temp_dir().join("no-such-folder/ca.pem").to_string_lossy().into_owned();
        network.ca_file = Some(missing.clone());
        let settings = ClientSettings { connect: Duration::from_secs(1), route: Route::Direct, guard: None };
        let problem = Clients::default().get(settings, &network).await.unwrap_err();
        assert!(matches!(&problem, TransportError::Refused(_)), "{problem:?}");
        assert_eq!(problem.to_string(), format!("`network.ca_file`: {missing} does not exist"));
    }
}
