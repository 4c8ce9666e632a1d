//! `connectors.move_secrets`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secrets::{Place, refuse};
use super::{Context, Method};
use crate::error::ErrorObject;

pub(crate) struct MoveSecrets;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Params {
    /// Where the secrets are to be.
    to: Place,
}

/// What was moved.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MovedSecrets")]
pub(crate) struct Output {
    /// How many secrets there were.
    moved: usize,
    /// Originals that are still in the old place: those of connectors that are not of this state root, in a keychain, and those that
    /// could not be deleted, which is tried again at the next start.
    left: usize,
    /// Where all of them are now.
    kind: Place,
}

impl Method for MoveSecrets {
    const NAME: &'static str = "connectors.move_secrets";
    const SUMMARY: &'static str = "Moves every secret to another place. Interrupted at any point, it loses none; until it is over, calls that need one wait.";
    const ERRORS: &'static [&'static str] = &["secret_store_unavailable"];
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let secrets = context.secrets("to")?;
        let own = context.manager().list().into_iter().map(|status| status.slug).collect();
        let to = params.to.place();
        let moved = secrets.move_to(to, own).await.map_err(|error| refuse("to", error))?;
        context.manager().secrets_available().await;
        Ok(Output { moved: moved.moved, left: moved.left, kind: params.to })
    }
}
