//! The daemon's runtime (feature `car-engine`): every `connectors.call_tool` is a proposal of one action in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use car_engine::Runtime;
use connectors_core::car::{CarBridge, GovernedCalls, GovernedError};
use connectors_core::manager::{CallRequest, CallResult};
use connectors_core::{ConnectorError, ConnectorManager, Slug};
use serde::Serialize;

use self::log::{Bounds, Logged};
use crate::error::ErrorObject;

mod journal;
mod log;

/// Names the file that the event log is kept in, whole; without it, the log is in memory. It holds the arguments of calls.
const JOURNAL: &str = "CONNECTORS_CAR_JOURNAL";

/// How long the end of the event log may take: a disk is asked twice.
const PATIENCE: Duration = Duration::from_secs(12);

/// A runtime with the connectors of one manager. Cloning is cheap.
#[derive(Clone)]
pub struct Governance {
    calls: Arc<GovernedCalls>,
    bridge: CarBridge,
    /// None where the log is the host's.
    bounds: Option<Arc<Bounds>>,
}

impl std::fmt::Debug for Governance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Governance").finish_non_exhaustive()
    }
}

impl Governance {
    /// A runtime of its own, whose event log is chained by hashes.
    pub async fn start(manager: ConnectorManager) -> Self {
        let journal = std::env::var_os(JOURNAL).filter(|path| !path.is_empty()).map(PathBuf::from);
        // A journal is read and verified first.
        let opened = tokio::task::spawn_blocking(|| log::open(journal)).await;
        let (log, bounds) = opened.unwrap_or_else(|error| {
            tracing::error!(%error, "the journal could not be opened; the event log is in memory");
            log::open(None)
        });
        let runtime = Arc::new(Runtime::new().with_event_log(log));
        let bounds = Arc::new(bounds);
        let (log, events) = (Arc::downgrade(&runtime.log), manager.events().subscribe());
        tokio::spawn(log::keep_small(log, Arc::clone(&bounds), events));
        let governance = Self::over(runtime, CarBridge::new(manager).await).await;
        Self { bounds: Some(bounds), ..governance }
    }

    /// A runtime of the host's: its rules hold for every call, and its event log holds it. The runtime's tool executor stays as it is.
    pub async fn over(runtime: Arc<Runtime>, bridge: CarBridge) -> Self {
        Self { calls: Arc::new(GovernedCalls::through(runtime, &bridge).await), bridge, bounds: None }
    }

    /// The runtime.
    pub fn runtime(&self) -> &Arc<Runtime> {
        self.calls.runtime()
    }

    /// The bridge.
    pub fn bridge(&self) -> &CarBridge {
        &self.bridge
    }

    pub(crate) async fn call_tool(&self, request: CallRequest) -> Result<CallResult, ErrorObject> {
        let _logged = self.logged(&request.arguments);
        Ok(self.calls.call_tool(request).await?)
    }

    /// Something that is in the log until the end of what is returned; `None` where the log is the host's.
    fn logged(&self, arguments: &impl Serialize) -> Option<Logged> {
        Some(Logged::new(&self.runtime().log, self.bounds.as_ref()?, arguments))
    }

    /// Returns once all that has happened is in the log, and in its file where it has one.
    pub(crate) async fn end_records(&self) {
        let ended = tokio::time::timeout(PATIENCE, async {
            self.bridge.recorded().await;
            if let Some(bounds) = &self.bounds {
                bounds.secure(&self.runtime().log).await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!("the event log may lack its last entries");
        }
    }

    pub(crate) async fn deny(&self, rule: &str, target: Slug) {
        let _logged = self.logged(&());
        self.calls.deny_connector(rule, target).await;
    }

    pub(crate) async fn lift(&self, rule: &str) {
        let _logged = self.logged(&());
        self.calls.allow_connector(rule).await;
    }
}

impl From<GovernedError> for ErrorObject {
    fn from(error: GovernedError) -> Self {
        let reason = error.to_string();
        match error {
            GovernedError::Connector(error) => error.into(),
            GovernedError::Denied { slug, tool, .. } => {
                // Not admitted, and so not known: with the runtime's reason.
                let mut refused = Self::from(ConnectorError::UnknownTool { slug, tool });
                refused.message = reason;
                refused
            }
            error => Self::internal(error.to_string()),
        }
    }
}
