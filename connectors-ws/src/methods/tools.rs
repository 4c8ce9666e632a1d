//! `connectors.tools`

use connectors_core::ToolView;

use super::{Context, Method, OneConnector};
use crate::error::ErrorObject;

pub(crate) struct Tools;

impl Method for Tools {
    const NAME: &'static str = "connectors.tools";
    const SUMMARY: &'static str = "Lists the tools of the last catalogue that was read.";
    const ERRORS: &'static [&'static str] = &["connector_not_found"];
    type Params = OneConnector;
    type Output = Vec<ToolView>;

    async fn run(context: Context<'_>, params: OneConnector) -> Result<Vec<ToolView>, ErrorObject> {
        Ok(context.manager().tools(&params.slug)?)
    }
}
