//! One HTTP stack for everything: connections, metadata, tokens.

use std::fmt;
use std::sync::Arc;

use connectors_core::HttpClient;

use crate::client::Clients;
use crate::guarded::GuardedHttp;
use crate::names::Names;

/// What an [`HttpDialer`](crate::HttpDialer) and a [`GuardedHttp`] have in common: TLS, client certificates, proxies. Compose
/// one per host process. Cloning is cheap; all clones are the same stack. Nothing is set up before the first use.
#[derive(Clone, Default)]
pub struct HttpStack {
    pub(crate) clients: Arc<Clients>,
}

impl fmt::Debug for HttpStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpStack").finish_non_exhaustive()
    }
}

impl HttpStack {
    /// A stack that trusts what the operating system trusts and uses its proxies, but never for servers on this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with host names resolved by `names`. Which addresses may be connected to is decided after that.
    pub fn with_names(names: Arc<dyn Names>) -> Self {
        Self { clients: Arc::new(Clients::with_names(names)) }
    }

    /// A client for the single requests of a sign-in.
    pub fn client(&self) -> Arc<dyn HttpClient> {
        Arc::new(GuardedHttp::on(self))
    }
}
