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
    const ERRORS: &'static [&'static str] = &["storage", "secret_store_unavailable"];
    type Params = Params;
    type Output = Output;

    async fn run(context: Context<'_>, params: Params) -> Result<Output, ErrorObject> {
        let secrets = context.secrets("to")?;
        let manager = context.manager().clone();
        let own = async move { manager.secret_owners().await };
        let moved = secrets.move_to(params.to.place(), own).await.map_err(|error| refuse("to", error))?;
        context.manager().secrets_available().await;
        Ok(Output { moved: moved.moved, left: moved.left, kind: params.to })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connectors_core::contract::proposals::ScriptedProposals;
    use connectors_core::contract::scripted::ScriptedDialer;
    use connectors_core::contract::watched::{Flaw, WatchedConfigStore};
    use connectors_core::{ConnectorDefinition, ConnectorManager, Slug, TransportError};
    use connectors_store::SecretsError;

    use super::*;

    fn definition(slug: &str) -> ConnectorDefinition {
        let mut definition = ConnectorDefinition::http(Slug::verbatim(slug), slug, format!("http://{slug}"));
        definition.disabled = true;
        definition
    }

    async fn manager(config: &Arc<WatchedConfigStore>) -> ConnectorManager {
        let proposals = ScriptedProposals::of([definition("proposed")]);
        let unreachable = |_: &ConnectorDefinition| {
            Err(TransportError::Unreachable { reason: "nobody is asked".to_owned(), source: None })
        };
        let builder = ConnectorManager::builder().with_config(Arc::<WatchedConfigStore>::clone(config));
        builder.with_dialer(Arc::new(ScriptedDialer(unreachable))).with_proposals(proposals).start().await
    }

    #[tokio::test]
    async fn what_is_only_proposed_is_not_the_users_own() {
        let config = Arc::<WatchedConfigStore>::default();
        config.write_quietly(&[definition("accepted")]).await;
        let manager = manager(&config).await;
        let listed: Vec<_> = manager.list().into_iter().map(|status| status.slug).collect();
        assert_eq!(listed, ["accepted", "proposed"].map(Slug::verbatim));
        assert_eq!(manager.secret_owners().await.unwrap(), [Slug::verbatim("accepted")].into());
    }

    #[tokio::test]
    async fn nothing_is_moved_while_the_settings_cannot_be_read() {
        let config = Arc::<WatchedConfigStore>::default();
        config.set(Flaw::Unparsable);
        let error = manager(&config).await.secret_owners().await.unwrap_err();
        let error = refuse("to", SecretsError::from(error));
        let expected = "nothing is moved while it is not known which secrets are yours: connectors.json is not valid (line 3, \
                        column 7: expected a comma). Nothing is written to it until it is repaired";
        let data = error.data.unwrap();
        let remedy = "repair the file; it is read again as soon as it changes";
        assert_eq!((error.code, error.message.as_str(), data.code), (-32049, expected, "storage"));
        assert_eq!(data.remedy.as_deref(), Some(remedy));
    }
}
