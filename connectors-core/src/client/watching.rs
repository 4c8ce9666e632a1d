//! Subscriptions to resources: which are wanted, and asking the server for them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use super::Inner;
use super::failure::Failure;
use super::features::UriParams;
use super::request::{Deadline, Request};
use crate::error::ConnectorError;
use crate::protocol::{Era, RpcError, code};

/// The resources whose changes are wanted.
#[derive(Debug, Default)]
pub(super) struct Watched(watch::Sender<BTreeMap<String, Interest>>);

/// Why a resource is wanted.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// The server has agreed, and nobody has unsubscribed since.
    agreed: bool,
    /// How many wait for the server's agreement.
    asking: usize,
}

impl Watched {
    /// Tells when other resources are wanted than before.
    pub(super) fn changes(&self) -> watch::Receiver<BTreeMap<String, Interest>> {
        self.0.subscribe()
    }

    /// All of them.
    pub(super) fn uris(&self) -> BTreeSet<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Changes why a resource is wanted; true if it is wanted no more.
    fn change(&self, uri: &str, change: impl FnOnce(&mut Interest)) -> bool {
        let mut is_over = false;
        self.0.send_if_modified(|watched| {
            if let Some(interest) = watched.get_mut(uri) {
                change(interest);
                is_over = !interest.agreed && interest.asking == 0;
            }
            if is_over {
                watched.remove(uri);
            }
            is_over
        });
        is_over
    }
}

/// One who wants a resource and waits for the server's agreement. Dropping it without [`agreed`](Self::agreed) takes the
/// wish back, unless somebody else has it too.
struct Asking<'a> {
    inner: &'a Inner,
    uri: &'a str,
    agreed: bool,
}

impl<'a> Asking<'a> {
    fn for_resource(inner: &'a Inner, uri: &'a str) -> Self {
        inner.watched.0.send_if_modified(|watched| {
            let is_new = !watched.contains_key(uri);
            watched.entry(uri.to_owned()).or_default().asking += 1;
            is_new
        });
        Self { inner, uri, agreed: false }
    }

    fn agreed(mut self) {
        self.agreed = true;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let agreed = self.agreed;
        self.inner.no_longer(self.uri, |interest| {
            interest.asking -= 1;
            interest.agreed |= agreed;
        });
    }
}

impl Inner {
    /// Wants to be told of a resource's changes. The modern era says so in the filter of its subscription, which is opened
    /// anew, and acknowledged. Dropping the future takes it back.
    pub(super) async fn watch_resource(&self, uri: &str) -> Result<(), ConnectorError> {
        if self.session.load().era() == Era::Legacy {
            self.plain("resources/subscribe", &UriParams { uri }).await?;
            Asking::for_resource(self, uri).agreed();
            return Ok(());
        }
        let asking = Asking::for_resource(self, uri);
        let limit = self.options.limits.handshake;
        let failure = match tokio::time::timeout(limit, self.agreement.covers(uri)).await {
            Ok(true) => {
                asking.agreed();
                return Ok(());
            }
            Ok(false) => Failure::Rpc(RpcError::new(
                code::METHOD_NOT_FOUND,
                "the server announces no changes of this resource",
            )),
            Err(_) => Failure::TimedOut { what: "the subscription to the resource".to_owned(), limit },
        };
        Err(failure.into_error(&self.options.slug))
    }

    /// No longer wants to be told of a resource's changes.
    pub(super) async fn unwatch_resource(&self, uri: &str) -> Result<(), ConnectorError> {
        if self.session.load().era() == Era::Legacy {
            self.plain("resources/unsubscribe", &UriParams { uri }).await?;
        }
        self.no_longer(uri, |interest| interest.agreed = false);
        Ok(())
    }

    /// Subscribes in a new session of the legacy era to what was subscribed to in the one before.
    pub(super) async fn subscribe_again(&self) {
        let watched = self.watched.uris();
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

    fn no_longer(&self, uri: &str, change: impl FnOnce(&mut Interest)) {
        if self.watched.change(uri, change) {
            self.agreement.forget(uri);
        }
    }
}
