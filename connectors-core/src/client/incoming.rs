//! What the server sends on its own: notifications, its own requests, and the streams that carry them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Inner;
use super::failure::Failure;
use super::options::ClientSignal;
use super::subscription::Subscription;
use crate::connector::Progress;
use crate::error::{ConnectorError, TransportError};
use crate::host::InputRequest;
use crate::protocol::{Era, Incoming, RequestId, RpcError, code};
use crate::transport::{Mirror, OutgoingNotification};

/// Longest log message that is passed on, in bytes.
const MAX_LOG: usize = 2_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressParams {
    progress_token: RequestId,
    #[serde(flatten)]
    progress: Progress,
}

#[derive(Deserialize)]
struct UpdatedParams {
    uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VisitedParams {
    elicitation_id: String,
}

#[derive(Deserialize)]
struct LogParams {
    #[serde(default)]
    level: String,
    #[serde(default)]
    data: Value,
}

impl Inner {
    /// Reads what the server sends outside any exchange, until the conversation is over.
    pub(super) async fn listen(self: Arc<Self>) {
        let lost = loop {
            let epoch = self.epoch();
            let mut incoming = self.transport.incoming();
            let mut subscription = Subscription::new(&self);
            let error = loop {
                let message = tokio::select! {
                    message = incoming.next() => message,
                    message = subscription.next() => Some(Ok(message)),
                };
                match message {
                    Some(Ok(message)) => self.received(message),
                    Some(Err(error)) => break error,
                    None => {
                        break TransportError::Closed {
                            reason: "the server closed the connection".to_owned(),
                        };
                    }
                }
            };
            match error {
                TransportError::SessionExpired => match self.reopen(epoch).await {
                    Ok(()) => {}
                    Err(Failure::Transport(error)) => break error,
                    Err(failure) => {
                        break TransportError::Authorizer(Box::new(failure.into_error(&self.options.slug)));
                    }
                },
                error => break error,
            }
        };
        let sign_in = match &lost {
            TransportError::Unauthorized { forbidden, .. } => !forbidden,
            TransportError::Authorizer(error) => matches!(**error, ConnectorError::SignInRequired { .. }),
            _ => false,
        };
        // The owner may have gone first; then nobody needs to know.
        let _ = self.signals.send(ClientSignal::Lost { reason: lost.to_string(), sign_in }).await;
    }

    fn received(&self, message: Incoming) {
        match message {
            Incoming::Notification { method, params } => {
                self.notified(&method, params.as_deref(), None);
            }
            Incoming::Request { id, method, params } => self.requested(id, method, params),
            Incoming::Response { id, .. } => {
                tracing::debug!(slug = %self.options.slug, ?id, "ignored a response that nobody waits for");
            }
        }
    }

    /// Acts on a notification. Progress of the request `own` is returned, that of others passed to them.
    pub(super) fn notified(
        &self,
        method: &str,
        params: Option<&RawValue>,
        own: Option<i64>,
    ) -> Option<Progress> {
        match method {
            "notifications/progress" => {
                let ProgressParams { progress_token: RequestId::Number(token), mut progress } = read(params)?
                else {
                    return None;
                };
                progress.message = progress.message.map(|message| crate::text::display(&message, MAX_LOG));
                if own == Some(token) {
                    return Some(progress);
                }
                if let Some(call) = self.progress().get(&token) {
                    // A call that is slow to take its progress loses some, never its answer.
                    let _ = call.try_send(progress);
                }
            }
            "notifications/tools/list_changed" => self.signal(ClientSignal::ToolsChanged),
            "notifications/prompts/list_changed" => self.signal(ClientSignal::PromptsChanged),
            "notifications/resources/list_changed" => self.signal(ClientSignal::ResourcesChanged),
            "notifications/resources/updated" => {
                let UpdatedParams { uri } = read(params)?;
                self.signal(ClientSignal::ResourceUpdated { uri });
            }
            "notifications/subscriptions/acknowledged" => {
                let read_early = self.agreement.acknowledge(params);
                self.signal_lists(|feature| read_early.contains(feature) && self.announces(feature));
            }
            "notifications/elicitation/complete" => {
                let VisitedParams { elicitation_id } = read(params)?;
                self.pages.complete(&elicitation_id);
            }
            "notifications/message" => {
                let LogParams { level, data } = read(params)?;
                let text = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
                self.signal(ClientSignal::Log {
                    level: crate::text::display(&level, 20),
                    message: crate::text::display(&text, MAX_LOG),
                });
            }
            other => tracing::trace!(slug = %self.options.slug, method = other, "notification ignored"),
        }
        None
    }

    /// Answers a request of the server's own. Only legacy versions have them.
    pub(super) fn requested(&self, id: RequestId, method: String, params: Option<Box<RawValue>>) {
        let version = self.session.load().version;
        if version.era() == Era::Modern {
            tracing::debug!(slug = %self.options.slug, method, "ignored a request that this version does not allow");
            return;
        }
        let (transport, input, slug) =
            (Arc::clone(&self.transport), Arc::clone(&self.options.input), self.options.slug.clone());
        let pending = self.asking();
        let mut answering = self.answering();
        while answering.try_join_next().is_some() {}
        answering.spawn(async move {
            let _pending = pending;
            let answer = match method.as_str() {
                "ping" => Ok(Value::Object(serde_json::Map::new())),
                "elicitation/create" | "sampling/createMessage" | "roots/list" => {
                    input.answer(&slug, InputRequest { method, params }).await
                }
                _ => Err(RpcError::new(code::METHOD_NOT_FOUND, "this client does not know the method")),
            };
            let body = match answer {
                Ok(result) => serde_json::json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Err(error) => serde_json::json!({"jsonrpc": "2.0", "id": id, "error": error}),
            };
            let note = OutgoingNotification {
                method: None,
                body: Bytes::from(body.to_string()),
                mirror: Mirror::version(version),
            };
            if let Err(error) = transport.notify(note).await {
                tracing::debug!(%slug, %error, "could not answer a request of the server");
            }
        });
    }

    /// Counts a request of the server's as unanswered until the guard is dropped.
    fn asking(&self) -> Asking {
        self.asking.fetch_add(1, Ordering::AcqRel);
        Asking(Arc::clone(&self.asking))
    }

    /// Tells the owner of everything that may have changed while nothing was announced.
    pub(super) fn signal_gap(&self) {
        self.signal_lists(|feature| feature == "tools" || self.announces(feature));
        for uri in self.watched.uris() {
            self.signal(ClientSignal::ResourceUpdated { uri });
        }
    }

    /// True if the server says that it announces changes of this feature's list.
    fn announces(&self, feature: &str) -> bool {
        self.session.load().capabilities[feature]["listChanged"] == true
    }

    /// Tells the owner that the lists of these features may have changed.
    fn signal_lists(&self, may_have_changed: impl Fn(&str) -> bool) {
        for (feature, changed) in [
            ("tools", ClientSignal::ToolsChanged),
            ("prompts", ClientSignal::PromptsChanged),
            ("resources", ClientSignal::ResourcesChanged),
        ] {
            if may_have_changed(feature) {
                self.signal(changed);
            }
        }
    }

    /// Tells the owner, unless it is too far behind: every signal but the last says only "look again".
    pub(super) fn signal(&self, signal: ClientSignal) {
        let _ = self.signals.try_send(signal);
    }
}

struct Asking(Arc<AtomicUsize>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn read<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(params?.get()).ok()
}
