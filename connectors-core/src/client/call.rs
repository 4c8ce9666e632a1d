//! `tools/call`.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Inner;
use super::interactive::Interactive;
use super::options::ClientSignal;
use crate::connector::{ProgressSink, ToolCall, ToolOutcome};
use crate::error::ConnectorError;
use crate::protocol::{RpcError, code};
use crate::tool::ToolDefinition;

#[derive(Serialize)]
struct CallParams<'a> {
    name: &'a str,
    arguments: &'a Value,
}

impl Inner {
    pub(super) async fn call_tool(&self, call: &ToolCall) -> Result<ToolOutcome, ConnectorError> {
        match self.call_as_defined(call, &call.tool).await {
            Err(ConnectorError::Upstream { error, .. })
                if error.code == code::HEADER_MISMATCH && self.traits.mirrors_headers =>
            {
                // Rare, and large: kept out of the future of every call.
                Box::pin(self.call_as_redefined(call, error)).await
            }
            outcome => outcome,
        }
    }

    /// Repeats a call whose mirrored parameters the server does not expect any more (2026-07-28, Streamable HTTP, client
    /// behavior).
    async fn call_as_redefined(
        &self,
        call: &ToolCall,
        mismatch: Box<RpcError>,
    ) -> Result<ToolOutcome, ConnectorError> {
        self.signal(ClientSignal::ToolsChanged);
        let catalog = self.list_tools().await?;
        match catalog.get(&call.tool.name) {
            // Nothing else may have changed: the caller approved the tool as it was.
            Some(fresh) if fresh.differs_in_headers_only(&call.tool) => {
                self.call_as_defined(call, fresh).await
            }
            _ => Err(ConnectorError::Upstream { slug: self.options.slug.clone(), error: mismatch }),
        }
    }

    async fn call_as_defined(
        &self,
        call: &ToolCall,
        tool: &ToolDefinition,
    ) -> Result<ToolOutcome, ConnectorError> {
        let limits = &self.options.limits;
        let total = call.total_timeout.unwrap_or(limits.call_total);
        let ignore: ProgressSink = Arc::new(|_| ());
        let complete = self
            .interact(&Interactive {
                method: "tools/call",
                params: &CallParams { name: &tool.name, arguments: &call.arguments },
                name: &tool.name,
                header_params: tool
                    .header_params
                    .iter()
                    .filter_map(|param| Some((param.header.clone(), param.value(&call.arguments)?)))
                    .collect(),
                idle: call.idle_timeout.unwrap_or(call.total_timeout.unwrap_or(limits.call_idle)),
                total,
                // Opting in costs nothing, and progress keeps a slow call alive.
                progress: Some(call.on_progress.as_ref().unwrap_or(&ignore)),
            })
            .await?;
        Ok(ToolOutcome::new(complete.raw, complete.is_error))
    }
}
