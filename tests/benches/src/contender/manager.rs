//! The whole of `ConnectorManager`: routes, gates, validation of arguments, events.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use connectors_core::manager::{CallRequest, NewConnector};
use connectors_core::{ConnectorManager, Slug, StateName};
use connectors_http::HttpDialer;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{Connection, Contender};

/// One manager for all connectors, started with the first.
#[derive(Default)]
pub(super) struct Managed {
    manager: std::cell::OnceCell<ConnectorManager>,
}

impl Contender for Managed {
    type Connection = Connected;

    async fn connect(&self, url: &str) -> Result<Connected> {
        let manager = match self.manager.get() {
            Some(manager) => manager.clone(),
            None => {
                let manager =
                    ConnectorManager::builder().with_dialer(Arc::new(HttpDialer::new())).start().await;
                self.manager.get_or_init(|| manager).clone()
            }
        };
        let status = manager.add(NewConnector::http("Bench", url, Vec::new())).await?;
        ensure!(status.state == StateName::Ready, "not connected: {:?}", status.last_error);
        Ok(Connected { manager, slug: status.slug, tools: status.tool_count, enabled: OnceCell::new() })
    }
}

pub(super) struct Connected {
    manager: ConnectorManager,
    slug: Slug,
    tools: usize,
    /// The tool that is called, once the user has enabled it.
    enabled: OnceCell<String>,
}

impl Connected {
    async fn enable(&self) -> Result<String> {
        let tool = self.manager.tools(&self.slug)?.first().context("no tools")?.name.clone();
        self.manager.enable_tools(&self.slug, std::slice::from_ref(&tool)).await?;
        Ok(tool)
    }
}

impl Connection for Connected {
    fn tools(&self) -> usize {
        self.tools
    }

    async fn call(&self, arguments: Value) -> Result<usize> {
        let tool = self.enabled.get_or_try_init(|| self.enable()).await?;
        let request = CallRequest::new(self.slug.clone(), tool.as_str(), arguments);
        let result = self.manager.call_tool(request).await?;
        Ok(result.outcome.raw().get().len())
    }

    async fn close(self) -> Result<()> {
        self.manager.remove(&self.slug).await?;
        Ok(())
    }
}
