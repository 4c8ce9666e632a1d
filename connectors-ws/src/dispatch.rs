//! From a method's name to its handler, whatever carries the messages.

use std::sync::Arc;

use connectors_core::gate::DenyConnectors;
use connectors_core::manager::{CallRequest, CallResult};
use connectors_core::{ConnectorManager, Slug};
use connectors_store::Secrets;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;

use crate::error::{ErrorObject, code};
use crate::methods::{self, Context, Method};
use crate::params;
use crate::session::Session;

/// The `connectors.*` methods on one manager. Cloning is cheap.
///
/// A host that has a WebSocket server of its own keeps one [`Session`] per connection, hands every request to
/// [`dispatch`](Self::dispatch), and sends on what the session's
/// [`Notifications`](crate::Notifications) yield.
#[derive(Clone)]
pub struct Dispatcher {
    pub(crate) manager: ConnectorManager,
    policy: Arc<DenyConnectors>,
    /// Held while rules change.
    turn: Arc<Mutex<()>>,
    callback: Option<Arc<str>>,
    pub(crate) secrets: Option<Secrets>,
    #[cfg(feature = "car-engine")]
    governance: Option<crate::car::Governance>,
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Methods on `manager`. `policy` has to be one of its gates, so that `policy.register` has an effect.
    pub fn new(manager: ConnectorManager, policy: Arc<DenyConnectors>) -> Self {
        Self {
            manager,
            policy,
            turn: Arc::default(),
            callback: None,
            secrets: None,
            #[cfg(feature = "car-engine")]
            governance: None,
        }
    }

    /// With a runtime that every call goes through, and that policy rules are registered in as well.
    #[cfg(feature = "car-engine")]
    #[must_use]
    pub fn with_governance(mut self, governance: crate::car::Governance) -> Self {
        self.governance = Some(governance);
        self
    }

    /// The runtime that calls go through.
    #[cfg(feature = "car-engine")]
    pub fn governance(&self) -> Option<&crate::car::Governance> {
        self.governance.as_ref()
    }

    pub(crate) async fn call_tool(&self, request: CallRequest) -> Result<CallResult, ErrorObject> {
        #[cfg(feature = "car-engine")]
        if let Some(governance) = &self.governance {
            return governance.call_tool(request).await;
        }
        Ok(self.manager.call_tool(request).await?)
    }

    /// Denies every tool of a connector until the rule is lifted.
    pub(crate) async fn deny(&self, rule: &str, target: Slug) {
        let (this, rule) = (self.clone(), rule.to_owned());
        let denied = self.in_turn(async move {
            #[cfg(feature = "car-engine")]
            if let Some(governance) = &this.governance {
                governance.deny(&rule, target.clone()).await;
            }
            this.policy.register(&rule, target);
            this.manager.gates_changed().await;
        });
        denied.await;
    }

    /// Lifts such a rule; false if there is none of this name.
    pub(crate) async fn lift(&self, rule: &str) -> bool {
        let (this, rule) = (self.clone(), rule.to_owned());
        let lifted = self.in_turn(async move {
            let lifted = this.policy.lift(&rule);
            #[cfg(feature = "car-engine")]
            if let Some(governance) = &this.governance {
                governance.lift(&rule).await;
            }
            if lifted {
                this.manager.gates_changed().await;
            }
            lifted
        });
        lifted.await.unwrap_or_default()
    }

    /// Makes one change of the rules after the other, each to its end whatever becomes of the caller: gate and runtime never
    /// disagree for longer. `None` if it panics.
    async fn in_turn<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turn);
        let changed = tokio::spawn(async move {
            let _turn = turn.lock().await;
            change.await
        });
        changed.await.inspect_err(|error| tracing::error!(%error, "a rule was not changed")).ok()
    }

    /// Closes every connector, and returns once what is recorded is where it is kept.
    pub async fn shutdown(&self) {
        self.manager.shutdown().await;
        self.end_records().await;
    }

    /// Returns once what is recorded is where it is kept.
    pub(crate) async fn end_records(&self) {
        #[cfg(feature = "car-engine")]
        if let Some(governance) = &self.governance {
            governance.end_records().await;
        }
    }

    /// With an address of the host's own for browsers that come back from a sign-in; a connector's is `/{slug}` below it.
    #[must_use]
    pub fn with_callback(mut self, address: &str) -> Self {
        self.callback = Some(address.into());
        self
    }

    /// With the methods that tell where secrets are kept, and change it. `secrets` is what the manager's credential store was opened
    /// with.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Where a sign-in to a connector ends that names no other place.
    pub(crate) fn own_callback(&self, slug: &Slug) -> Option<String> {
        self.callback.as_ref().map(|address| format!("{address}/{slug}"))
    }

    /// The manager that the methods work on.
    pub fn manager(&self) -> &ConnectorManager {
        &self.manager
    }

    /// The names of all methods.
    pub fn methods() -> &'static [&'static str] {
        methods::NAMES
    }

    /// Runs one request to its result or error.
    ///
    /// *Concurrency.* Any number at once; none waits for another. *Cancellation.* Dropping the future cancels a
    /// `connectors.call_tool`, at the server too; a change that has begun (`connectors.add`, ...) is finished all the
    /// same. *Errors.* As the WebSocket API says; `-32601` for a method that is not ours.
    pub async fn dispatch(
        &self,
        session: &Session,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Box<RawValue>, ErrorObject> {
        let outcome = methods::dispatch(Context { dispatcher: self, session }, method, params).await;
        if let Err(error) = &outcome {
            // The message may hold what the caller sent; the code is enough here.
            tracing::debug!(method, code = error.code, "a request was refused");
        }
        outcome
    }
}

/// Reads the parameters of `M`, runs it and writes its result.
pub(crate) async fn run<M: Method>(
    context: Context<'_>,
    params: Option<&RawValue>,
) -> Result<Box<RawValue>, ErrorObject> {
    let output = M::run(context, params::read(params)?).await?;
    to_raw_value(&output).map_err(|error| {
        tracing::error!(method = M::NAME, %error, "a result could not be written");
        ErrorObject::internal(format!("the result of `{}` could not be written", M::NAME))
    })
}

/// What an unknown method gets.
pub(crate) fn unknown(method: &str) -> ErrorObject {
    let shown = connectors_core::text::display(method, 100);
    let message = format!("there is no method `{shown}`; `rpc.discover` lists those that there are");
    ErrorObject::plain(code::METHOD_NOT_FOUND, message)
}
