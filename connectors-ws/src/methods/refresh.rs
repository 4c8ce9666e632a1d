//! `connectors.refresh`

use connectors_core::ToolView;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Refresh;

impl Method for Refresh {
    const NAME: &'static str = "connectors.refresh";
    const SUMMARY: &'static str =
        "Reads the catalogue anew, connecting first if need be. A failure shows in the connector's status.";
    const ERRORS: &'static [&'static str] = &["connector_not_found"];
    type Params = OneConnector;
    type Output = Vec<ToolView>;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<Vec<ToolView>, ErrorObject> {
        context.change(|manager| async move { manager.refresh(&params.slug).await }).await
    }
}
