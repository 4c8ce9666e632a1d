//! Reading a catalogue, every page of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Inner;
use super::request::{Deadline, Request};
use crate::error::ConnectorError;
use crate::tool::{QuarantinedTool, ToolCatalog, ToolDefinition};

#[derive(Serialize)]
pub(super) struct PageParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolsPage<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    ttl_ms: Option<f64>,
}

impl Inner {
    /// `tools/list`, page by page (2026-07-28, server, utilities, pagination).
    ///
    /// A cursor that comes a second time ends the catalogue: what was read until then is complete as far as this server
    /// can tell. One unusable definition costs its tool only.
    ///
    /// A server that does not declare the `tools` capability and does not answer with tools has none.
    pub(super) async fn list_tools(&self) -> Result<ToolCatalog, ConnectorError> {
        let declared = self.session.load().capabilities.get("tools").is_some();
        match self.every_page().await {
            Err(ConnectorError::Upstream { .. } | ConnectorError::Protocol { .. }) if !declared => {
                Ok(ToolCatalog {
                    tools: Vec::new(),
                    quarantined: Vec::new(),
                    fetched_at: SystemTime::now(),
                    ttl: None,
                })
            }
            outcome => outcome,
        }
    }

    async fn every_page(&self) -> Result<ToolCatalog, ConnectorError> {
        self.agreement.reading("tools");
        let slug = &self.options.slug;
        let limits = &self.options.limits;
        let mut tools: Vec<Arc<ToolDefinition>> = Vec::new();
        let mut quarantined = Vec::new();
        let mut names = HashSet::new();
        let mut cursors = HashSet::new();
        let mut cursor: Option<String> = None;
        let mut ttl: Option<Duration> = None;
        for _ in 0..limits.catalogue_pages {
            let page = self.tools_page(cursor.as_deref()).await?;
            let page: ToolsPage<'_> =
                serde_json::from_str(page.get()).map_err(|_| ConnectorError::Protocol {
                    slug: slug.clone(),
                    problem: "the answer to tools/list has no array of tools".to_owned(),
                })?;
            if tools.len() + page.tools.len() > limits.catalogue_tools {
                let max = format!("{} tools", limits.catalogue_tools);
                return Err(ConnectorError::LimitExceeded {
                    slug: slug.clone(),
                    limit: "the catalogue",
                    max,
                });
            }
            for raw in page.tools {
                match ToolDefinition::read(raw, limits, self.mirrors_headers()) {
                    Ok(tool) if names.insert(tool.name.clone()) => tools.push(Arc::new(tool)),
                    Ok(tool) => quarantined.push(QuarantinedTool {
                        name: tool.name,
                        reason: "the server lists another tool with the same name".to_owned(),
                    }),
                    Err(left_out) => quarantined.push(left_out),
                }
            }
            ttl = shortest(ttl, page.ttl_ms);
            cursor = page.next_cursor;
            match &cursor {
                Some(next) if cursors.insert(next.clone()) => {}
                repeated => {
                    if repeated.is_some() {
                        tracing::warn!(%slug, "tools/list repeats a cursor; the catalogue ends there");
                    }
                    for left_out in &quarantined {
                        tracing::debug!(%slug, tool = left_out.name, reason = left_out.reason, "tool left out");
                    }
                    return Ok(ToolCatalog { tools, quarantined, fetched_at: SystemTime::now(), ttl });
                }
            }
        }
        let max = format!("{} pages", limits.catalogue_pages);
        Err(ConnectorError::LimitExceeded { slug: slug.clone(), limit: "the catalogue", max })
    }

    async fn tools_page(&self, cursor: Option<&str>) -> Result<Box<RawValue>, ConnectorError> {
        let params = PageParams { cursor };
        self.in_session(|version| {
            let deadline =
                Deadline::starting_now(self.options.limits.call_idle, self.options.limits.call_idle);
            self.request(Request::new("tools/list", &params, Some(version), deadline))
        })
        .await
    }

    fn mirrors_headers(&self) -> bool {
        self.traits.mirrors_headers && self.session.load().era() == crate::protocol::Era::Modern
    }
}

/// Pages are cached one by one, so the first that runs out ends the freshness of all.
fn shortest(ttl: Option<Duration>, page: Option<f64>) -> Option<Duration> {
    let page = page.filter(|ms| *ms > 0.0).and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
    match (ttl, page) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
