//! `connectors.sign_out`

use connectors_core::ConnectorStatus;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct SignOut;

impl Method for SignOut {
    const NAME: &'static str = "connectors.sign_out";
    const SUMMARY: &'static str = "Gives a connector's tokens back to the server that issued them, and forgets them. The selection stays.";
    const ERRORS: &'static [&'static str] = &["connector_not_found", "storage", "secret_store_unavailable"];
    type Params = OneConnector;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<ConnectorStatus, ErrorObject> {
        context.change(|manager| async move { manager.sign_out(&params.slug).await }).await
    }
}
