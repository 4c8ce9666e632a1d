//! Telling the server that nobody waits any more.

use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use crate::protocol::{Era, ProtocolVersion};
use crate::transport::{Mirror, OutgoingNotification, Transport};

/// Sends `notifications/cancelled` when it is dropped before the request was answered, on wires where closing the reply
/// stream does not say it (2026-07-28, patterns, cancellation; 2025-11-25, utilities, cancellation).
pub(super) struct CancelGuard {
    armed: Option<(Arc<dyn Transport>, i64, ProtocolVersion)>,
}

impl CancelGuard {
    pub(super) fn new(inner: &Inner, id: i64, version: Option<ProtocolVersion>, method: &str) -> Self {
        // `initialize` must not be cancelled; a dropped stream speaks for itself in the modern era.
        let armed = version
            .filter(|version| !(version.era() == Era::Modern && inner.traits.drop_cancels))
            .filter(|_| method != "server/discover" || inner.traits.is_process)
            .map(|version| (Arc::clone(&inner.transport), id, version));
        Self { armed }
    }

    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let Some((transport, id, version)) = self.armed.take() else { return };
        // Outside a runtime there is no connection left that could carry it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let body = serde_json::json!({
            "jsonrpc": "2.0",
            "method": "notifications/cancelled",
            "params": {"requestId": id, "reason": "nobody waits for the answer any more"}
        });
        let note = OutgoingNotification {
            method: Some("notifications/cancelled".into()),
            body: Bytes::from(body.to_string()),
            mirror: Mirror::version(version),
        };
        runtime.spawn(async move {
            if let Err(error) = transport.notify(note).await {
                tracing::debug!(id, %error, "could not tell the server of a cancellation");
            }
        });
    }
}
