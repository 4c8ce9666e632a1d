//! The daemon's runtime (feature `car-engine`): every `connectors.call_tool` is a proposal of one action in it.

use std::path::PathBuf;
use std::sync::Arc;

use car_engine::{EventLog, Runtime};
use car_eventlog::RetentionPolicy;
use connectors_core::car::{CarBridge, GovernedCalls, GovernedError};
use connectors_core::manager::{CallRequest, CallResult};
use connectors_core::{ConnectorError, ConnectorManager, Slug};

use crate::error::ErrorObject;

/// Names the file that the event log is kept in; without it, the log is in memory. It holds the arguments of calls.
const JOURNAL: &str = "CONNECTORS_CAR_JOURNAL";

/// Events that are kept in memory.
const RETAINED: usize = 2_000;

/// Spans that are kept at most before the older half of them goes: the log itself keeps all.
const SPANS: usize = 4_000;

/// A runtime with the connectors of one manager. Cloning is cheap.
#[derive(Clone)]
pub struct Governance {
    calls: Arc<GovernedCalls>,
    bridge: CarBridge,
}

impl std::fmt::Debug for Governance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Governance").finish_non_exhaustive()
    }
}

impl Governance {
    /// A runtime of its own, whose event log is chained by hashes.
    pub async fn start(manager: ConnectorManager) -> Self {
        let mut log = match std::env::var_os(JOURNAL).filter(|path| !path.is_empty()) {
            Some(path) => EventLog::with_journal(PathBuf::from(path)),
            None => EventLog::new(),
        };
        log.set_retention(Some(RetentionPolicy { max_events: Some(RETAINED), ..RetentionPolicy::default() }));
        let runtime = Runtime::new().with_event_log(log.with_hash_chaining());
        Self::over(Arc::new(runtime), CarBridge::new(manager).await).await
    }

    /// A runtime of the host's. Its tool executor is replaced.
    pub async fn over(runtime: Arc<Runtime>, bridge: CarBridge) -> Self {
        Self { calls: Arc::new(GovernedCalls::through(runtime, &bridge).await), bridge }
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
        let outcome = self.calls.call_tool(request).await;
        let mut log = self.runtime().log.lock().await;
        if log.span_len() > SPANS {
            log.truncate_spans_keep_last(SPANS / 2);
        }
        drop(log);
        Ok(outcome?)
    }

    pub(crate) async fn deny(&self, rule: &str, target: Slug) {
        self.bridge.deny_connector(self.runtime(), rule, target).await;
    }

    pub(crate) async fn lift(&self, rule: &str) {
        self.bridge.allow_connector(self.runtime(), rule).await;
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
