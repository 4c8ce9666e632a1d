//! Composing a manager.

use std::sync::Arc;

use super::shared::Shared;
use super::{ConnectorManager, Owner};
use crate::gate::EnablementGate;
use crate::host::InputHandler;
use crate::import::ImportSource;
use crate::limits::Limits;
use crate::proposal::ProposalSource;
use crate::protocol::Implementation;
use crate::sign_in::SignInProvider;
use crate::store::{ConfigStore, CredentialStore};
use crate::trace::Trace;
use crate::transport::Dialer;

/// Puts a manager together. Without stores it keeps everything in memory; without dialers it reaches nothing.
#[derive(Default)]
pub struct ManagerBuilder {
    pub(super) config: Option<Arc<dyn ConfigStore>>,
    pub(super) credentials: Option<Arc<dyn CredentialStore>>,
    pub(super) dialers: Vec<Arc<dyn Dialer>>,
    pub(super) gates: Vec<Arc<dyn EnablementGate>>,
    pub(super) sign_in: Option<Arc<dyn SignInProvider>>,
    pub(super) input: Option<Arc<dyn InputHandler>>,
    pub(super) asks_by_event: bool,
    pub(super) proposals: Option<Arc<dyn ProposalSource>>,
    pub(super) trusts_proposals: bool,
    pub(super) imports: Option<Arc<dyn ImportSource>>,
    pub(super) limits: Limits,
    pub(super) client_info: Option<Implementation>,
}

impl ManagerBuilder {
    /// Where definitions are kept.
    #[must_use]
    pub fn with_config(mut self, store: Arc<dyn ConfigStore>) -> Self {
        self.config = Some(store);
        self
    }

    /// Where secrets are kept.
    #[must_use]
    pub fn with_credentials(mut self, store: Arc<dyn CredentialStore>) -> Self {
        self.credentials = Some(store);
        self
    }

    /// A way to reach servers. The first that serves a definition is taken.
    #[must_use]
    pub fn with_dialer(mut self, dialer: Arc<dyn Dialer>) -> Self {
        self.dialers.push(dialer);
        self
    }

    /// A gate on top of the user's selection and the pinned definitions.
    #[must_use]
    pub fn with_gate(mut self, gate: Arc<dyn EnablementGate>) -> Self {
        self.gates.push(gate);
        self
    }

    /// How connectors sign in; without it they have fixed headers only.
    #[must_use]
    pub fn with_sign_in(mut self, provider: Arc<dyn SignInProvider>) -> Self {
        self.sign_in = Some(provider);
        self
    }

    /// Who answers servers' requests for input; nobody if not called.
    #[must_use]
    pub fn with_input(mut self, input: Arc<dyn InputHandler>) -> Self {
        self.input = Some(input);
        self
    }

    /// Offers servers elicitation: what they ask is announced as [`EventKind::InputWanted`](crate::EventKind::InputWanted) and
    /// answered by [`ConnectorManager::answer`]. Takes the place of [`with_input`](Self::with_input).
    #[must_use]
    pub fn with_input_by_event(mut self) -> Self {
        self.asks_by_event = true;
        self
    }

    /// Where connectors are proposed. Each is listed in the state `proposed`, and nothing is dialled or started for it before
    /// the user accepts it ([`ConnectorManager::accept`]).
    #[must_use]
    pub fn with_proposals(mut self, source: Arc<dyn ProposalSource>) -> Self {
        self.proposals = Some(source);
        self
    }

    /// Takes every proposal as accepted, for a host that asks its user in a way of its own whether a project is trusted. What is
    /// proposed is started at once, follows every change of its file, and is written to the user's definitions only when the
    /// user changes something about it.
    #[must_use]
    pub fn trust_proposals(mut self, trusted: bool) -> Self {
        self.trusts_proposals = trusted;
        self
    }

    /// Where other clients' configurations are found; nowhere if not called.
    #[must_use]
    pub fn with_imports(mut self, source: Arc<dyn ImportSource>) -> Self {
        self.imports = Some(source);
        self
    }

    /// Limits for every connector.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What servers are told of this host.
    #[must_use]
    pub fn with_client_info(mut self, info: Implementation) -> Self {
        self.client_info = Some(info);
        self
    }

    /// Loads the definitions and starts connecting. Returns as soon as they are loaded: connectors become ready on their
    /// own. A manifest that cannot be read does not fail the start: the manager is empty, says so
    /// ([`ConnectorManager::storage_problem`]), and refuses to write until it can be read.
    ///
    /// Where the store tells of changes ([`ConfigStore::changes`]), what others write to it takes effect at once.
    pub async fn start(self) -> ConnectorManager {
        let shared = Arc::new(Shared::new(self));
        // Before it is read, so that no change is missed.
        let changes = shared.config.changes();
        let loaded = shared.config.load().await;
        shared.note_storage(&loaded);
        // An error is noted, and told to the log.
        for definition in shared.without_unfinished(loaded.unwrap_or_default()) {
            shared.adopt(definition, Trace::default());
        }
        if let Some(changes) = changes {
            shared.follow_manifest(changes);
        }
        // Boxed: whoever starts a manager would have it in a future of their own.
        Box::pin(shared.follow_proposals()).await;
        ConnectorManager { owner: Arc::new(Owner(shared)) }
    }
}
