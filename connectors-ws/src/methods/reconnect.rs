//! `connectors.reconnect`

use connectors_core::ConnectorStatus;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Reconnect;

impl Method for Reconnect {
    const NAME: &'static str = "connectors.reconnect";
    const SUMMARY: &'static str =
        "Drops the connection and connects anew, without waiting for the next attempt.";
    const ERRORS: &'static [&'static str] = &["connector_not_found"];
    type Params = OneConnector;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<ConnectorStatus, ErrorObject> {
        context.change(|manager| async move { manager.reconnect(&params.slug).await }).await
    }
}
