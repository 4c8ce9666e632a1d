//! `McpClient` over `HttpTransport`.

use std::sync::Arc;

use anyhow::{Context, Result};
use connectors_core::client::{ClientOptions, EraChoice};
use connectors_core::transport::DialTarget;
use connectors_core::{
    Connector, ConnectorDefinition, Dialer, Limits, McpClient, Slug, StaticHeaders, ToolCall, ToolCatalog,
};
use connectors_http::HttpDialer;
use serde_json::Value;

use super::{Connection, Contender};
use crate::Era;

pub(super) struct Connectors {
    /// As the manager does for a server that it knows.
    era: EraChoice,
    dialer: HttpDialer,
    limits: Arc<Limits>,
}

impl Connectors {
    pub(super) fn new(era: Era) -> Self {
        let era = match era {
            Era::Modern => EraChoice::Probe,
            Era::Legacy => EraChoice::Legacy,
        };
        Self { era, dialer: HttpDialer::new(), limits: Arc::default() }
    }
}

impl Contender for Connectors {
    type Connection = Connected;

    async fn connect(&self, url: &str) -> Result<Connected> {
        let slug = Slug::verbatim("bench");
        let target = DialTarget::new(
            Arc::new(ConnectorDefinition::http(slug.clone(), "Bench", url)),
            Arc::new(StaticHeaders::default()),
            Arc::clone(&self.limits),
            connectors_core::Trace::default(),
        );
        let transport = self.dialer.dial(target).await?;
        let options = ClientOptions::new(slug).with_limits(Arc::clone(&self.limits)).with_era(self.era);
        let (client, _signals) = McpClient::connect(transport, options).await?;
        let catalog = client.list_tools().await?;
        Ok(Connected { client, catalog })
    }
}

pub(super) struct Connected {
    client: McpClient,
    catalog: ToolCatalog,
}

impl Connection for Connected {
    fn tools(&self) -> usize {
        self.catalog.tools.len()
    }

    async fn call(&self, arguments: Value) -> Result<usize> {
        let tool = Arc::clone(self.catalog.tools.first().context("no tools")?);
        let outcome = self.client.call_tool(ToolCall::new(tool, arguments)).await?;
        Ok(outcome.raw().get().len())
    }

    async fn close(self) -> Result<()> {
        self.client.close().await;
        Ok(())
    }
}
