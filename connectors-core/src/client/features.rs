//! Resources, prompts, completions and skills.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Inner;
use super::failure::Failure;
use super::interactive::Interactive;
use super::paging::PageParams;
use super::request::{Deadline, Request};
use crate::error::ConnectorError;
use crate::feature::{CompletionRequest, ListItem, ServerResult};
use crate::protocol::{Era, ProtocolVersion};

#[derive(Serialize)]
pub(super) struct UriParams<'a> {
    pub(super) uri: &'a str,
}

#[derive(Serialize)]
struct PromptParams<'a> {
    name: &'a str,
    arguments: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct NoParams {}

impl Inner {
    /// Reads a list, every page of it. An element that cannot be read is left out.
    pub(super) async fn list<T: ListItem>(&self) -> Result<Vec<T>, ConnectorError> {
        let limits = &self.options.limits;
        let slug = &self.options.slug;
        self.agreement.reading(T::METHOD.split('/').next().unwrap_or_default());
        let (mut items, mut cursors, mut cursor) = (Vec::new(), HashSet::new(), None::<String>);
        for _ in 0..limits.catalogue_pages {
            let page = self.plain(T::METHOD, &PageParams { cursor: cursor.as_deref() }).await?;
            let mut page: std::collections::HashMap<String, Box<RawValue>> = page.parse(slug)?;
            let listed = page.remove(T::MEMBER).ok_or_else(|| ConnectorError::Protocol {
                slug: slug.clone(),
                problem: format!("the answer to {} has no {}", T::METHOD, T::MEMBER),
            })?;
            let listed: Vec<Box<RawValue>> = ServerResult::new(listed).parse(slug)?;
            if items.len() + listed.len() > limits.catalogue_tools {
                let max = format!("{} entries", limits.catalogue_tools);
                return Err(ConnectorError::LimitExceeded { slug: slug.clone(), limit: "the list", max });
            }
            for raw in listed {
                match serde_json::from_str(raw.get()) {
                    Ok(item) => items.push(item),
                    Err(_) => {
                        tracing::warn!(%slug, method = T::METHOD, "left out an element that cannot be read");
                    }
                }
            }
            cursor = page.remove("nextCursor").and_then(|next| serde_json::from_str(next.get()).ok());
            match &cursor {
                Some(next) if cursors.insert(next.clone()) => {}
                _ => return Ok(items),
            }
        }
        let max = format!("{} pages", limits.catalogue_pages);
        Err(ConnectorError::LimitExceeded { slug: slug.clone(), limit: "the list", max })
    }

    /// A request that is answered in one round.
    pub(super) async fn plain<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
    ) -> Result<ServerResult, ConnectorError> {
        let limits = &self.options.limits;
        let with_pages = Deadline::starting_now(limits.call_idle, limits.call_total);
        self.in_session_or_after_pages(with_pages, |version| self.once(method, params, version))
            .await
            .map(ServerResult::new)
    }

    async fn once<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
        version: ProtocolVersion,
    ) -> Result<Box<RawValue>, Failure> {
        let limit = self.options.limits.call_idle;
        self.request(Request::new(method, params, Some(version), Deadline::starting_now(limit, limit))).await
    }

    async fn rounds<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
        name: &str,
    ) -> Result<ServerResult, ConnectorError> {
        let interactive = Interactive {
            method,
            params,
            name,
            header_params: Vec::new(),
            idle: self.options.limits.call_idle,
            total: self.options.limits.call_total,
            progress: None,
        };
        Ok(ServerResult::new(self.interact(&interactive).await?.raw))
    }

    pub(super) async fn read_resource(&self, uri: &str) -> Result<ServerResult, ConnectorError> {
        self.rounds("resources/read", &UriParams { uri }, uri).await
    }

    pub(super) async fn get_prompt(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<ServerResult, ConnectorError> {
        self.rounds("prompts/get", &PromptParams { name, arguments }, name).await
    }

    pub(super) async fn complete(&self, request: &CompletionRequest) -> Result<ServerResult, ConnectorError> {
        self.plain("completion/complete", request).await
    }

    /// A round trip that asks for nothing: `ping`, or `server/discover` in the modern era, which has no `ping`.
    pub(super) async fn ping(&self) -> Result<(), ConnectorError> {
        let method = match self.session.load().era() {
            Era::Legacy => "ping",
            Era::Modern => "server/discover",
        };
        // Not worth the user's attention, whatever the server says.
        self.in_session(|version| self.once(method, &NoParams {}, version)).await.map(drop)
    }
}
