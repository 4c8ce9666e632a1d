//! `connectors.accept`

use connectors_core::{ConnectorStatus, Slug};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct Accept;

/// A proposal, as it was shown.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// What is proposed, or the connector that a change is proposed for.
    slug: Slug,
    /// `proposal.hash`, or `proposal_changed.hash`, of the status that the user has seen: if the file says something else by
    /// now, nothing is accepted. Without it, what `connectors.list` gave to this connection last is meant; where that was nothing,
    /// nothing is accepted.
    #[serde(default)]
    hash: Option<String>,
}

impl Method for Accept {
    const NAME: &'static str = "connectors.accept";
    const SUMMARY: &'static str =
        "Accepts what a project's team file proposes: it becomes a connector of the user's, and is dialled.";
    const ERRORS: &'static [&'static str] = &["storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = ConnectorStatus;

    async fn run(context: Context<'_>, params: Params) -> Result<ConnectorStatus, ErrorObject> {
        let Params { slug, hash } = params;
        let hash = hash.or_else(|| context.session.shown(&slug));
        context.change(|manager| async move { manager.accept(&slug, hash.as_deref()).await }).await
    }
}
