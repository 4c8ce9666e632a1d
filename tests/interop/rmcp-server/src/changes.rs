//! Telling clients of changes, in the way of their era.

use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{RequestContext, RoleServer, SubscriptionContext};

/// What has changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The lists of tools, prompts and resources.
    Lists,
    /// One resource.
    Resource(&'static str),
}

/// Tells a legacy client, outside any subscription.
pub(crate) async fn tell_client(context: &RequestContext<RoleServer>, change: &Change) {
    let peer = &context.peer;
    // Errors only when the client has left.
    match change {
        Change::Lists => {
            let _ = peer.notify_tool_list_changed().await;
            let _ = peer.notify_prompt_list_changed().await;
            let _ = peer.notify_resource_list_changed().await;
        }
        Change::Resource(uri) => {
            let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(*uri)).await;
        }
    }
}

/// Tells a modern client, on its subscription.
pub(crate) async fn tell_subscriber(subscription: &SubscriptionContext, change: &Change) {
    let sink = subscription.sink();
    // Errors for what the client has not asked for.
    match change {
        Change::Lists => {
            let _ = sink.notify_tool_list_changed().await;
            let _ = sink.notify_prompt_list_changed().await;
            let _ = sink.notify_resource_list_changed().await;
        }
        Change::Resource(uri) => {
            let _ = sink.notify_resource_updated(*uri).await;
        }
    }
}
