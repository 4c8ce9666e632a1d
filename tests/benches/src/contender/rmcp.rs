//! rmcp with its own reqwest transport.

use anyhow::{Context, Result};
use rmcp::model::{CallToolRequestParams, ProtocolVersion, Tool};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::Value;

use super::{Connection, Contender};
use crate::Era;

/// More than any row has in flight.
const IN_FLIGHT: usize = 256;

pub(super) struct Rmcp {
    lifecycle: ClientLifecycleMode,
    /// `None` for the defaults: a client of its own for every connection, without a pool, and 16 requests at a time.
    shared: Option<reqwest::Client>,
}

impl Rmcp {
    pub(super) fn new(era: Era, shared: Option<reqwest::Client>) -> Self {
        let lifecycle = match era {
            Era::Modern => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
            }
            Era::Legacy => ClientLifecycleMode::Initialize,
        };
        Self { lifecycle, shared }
    }
}

impl Contender for Rmcp {
    type Connection = Connected;

    async fn connect(&self, url: &str) -> Result<Connected> {
        let transport = match &self.shared {
            None => StreamableHttpClientTransport::from_uri(url),
            Some(client) => {
                let mut config =
                    StreamableHttpClientTransportConfig::with_uri(url).max_concurrent_requests(IN_FLIGHT);
                config.channel_buffer_capacity = IN_FLIGHT;
                StreamableHttpClientTransport::with_client(client.clone(), config)
            }
        };
        let service = ().serve_with_lifecycle(transport, self.lifecycle.clone()).await?;
        let tools = service.list_all_tools().await?;
        Ok(Connected { service, tools })
    }
}

pub(super) struct Connected {
    service: RunningService<RoleClient, ()>,
    tools: Vec<Tool>,
}

impl Connection for Connected {
    fn tools(&self) -> usize {
        self.tools.len()
    }

    async fn call(&self, arguments: Value) -> Result<usize> {
        let name = self.tools.first().context("no tools")?.name.clone();
        let mut call = CallToolRequestParams::new(name);
        call.arguments = if let Value::Object(arguments) = arguments { Some(arguments) } else { None };
        let result = self.service.call_tool(call).await?;
        let text = result.content.first().and_then(|block| block.as_text()).context("no text")?;
        Ok(text.text.len())
    }

    async fn close(self) -> Result<()> {
        self.service.cancel().await?;
        Ok(())
    }
}
