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
use crate::protocol::{Era, RpcError, code};

#[derive(Serialize)]
struct UriParams<'a> {
    uri: &'a str,
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
    async fn plain<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
    ) -> Result<ServerResult, ConnectorError> {
        let limit = self.options.limits.call_idle;
        self.in_session(|version| {
            self.request(Request::new(method, params, Some(version), Deadline::starting_now(limit, limit)))
        })
        .await
        .map(ServerResult::new)
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
        self.plain(method, &NoParams {}).await.map(drop)
    }

    /// Wants, or no longer wants, to be told of a resource's changes. The modern era says so in the filter of its
    /// subscription, which is opened anew, and acknowledged.
    pub(super) async fn watch_resource(&self, uri: &str, wanted: bool) -> Result<(), ConnectorError> {
        let legacy = self.session.load().era() == Era::Legacy;
        if legacy {
            let method = if wanted { "resources/subscribe" } else { "resources/unsubscribe" };
            self.plain(method, &UriParams { uri }).await?;
        }
        self.agreement.reconsider(uri);
        self.watch(uri, wanted);
        if legacy || !wanted {
            return Ok(());
        }
        let limit = self.options.limits.handshake;
        let failure = match tokio::time::timeout(limit, self.agreement.covers(uri)).await {
            Ok(true) => return Ok(()),
            Ok(false) => Failure::Rpc(RpcError::new(
                code::METHOD_NOT_FOUND,
                "the server announces no changes of this resource",
            )),
            Err(_) => Failure::TimedOut { what: "the subscription to the resource".to_owned(), limit },
        };
        self.watch(uri, false);
        Err(failure.into_error(&self.options.slug))
    }

    /// Subscribes in a new session of the legacy era to what was subscribed to in the one before.
    pub(super) async fn subscribe_again(&self) {
        let watched = self.watched.borrow().clone();
        let (limit, version) = (self.options.limits.handshake, self.session.load().version);
        let subscriptions = watched.iter().map(|uri| async move {
            let params = UriParams { uri };
            let deadline = Deadline::starting_now(limit, limit);
            let request = Request::new("resources/subscribe", &params, Some(version), deadline);
            if self.request(request).await.is_err() {
                tracing::warn!(slug = %self.options.slug, "a subscription to a resource was lost with its session");
            }
        });
        futures_util::future::join_all(subscriptions).await;
    }

    fn watch(&self, uri: &str, wanted: bool) {
        self.watched.send_if_modified(|watched| {
            if wanted { watched.insert(uri.to_owned()) } else { watched.remove(uri) }
        });
    }
}
