//! Storing what a sign-in has brought: secrets, and the definition that refers to them.

use std::sync::Arc;

use super::cell::Cell;
use super::pending::Newcomer;
use super::secrets::SecretChange;
use super::shared::Shared;
use crate::definition::{ConnectorDefinition, OAuthSettings};
use crate::error::ConnectorError;
use crate::sign_in::Grant;
use crate::store::{CredentialKey, CredentialStore};
use crate::transport::InvalidDefinition;

impl Shared {
    /// Stores a grant for the connector at `url`. After an error everything is as it was.
    pub(super) async fn store_grant(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        url: String,
        grant: Grant,
    ) -> Result<(), ConnectorError> {
        let Grant { settings, secrets, obsolete } = grant;
        let mut change = SecretChange::default();
        obsolete.iter().for_each(|name| change.delete(*name));
        secrets.into_iter().for_each(|(name, value)| change.put(name, value));
        let _exclusive = self.hold_secrets(&cell.slug).await?;
        if !self.is_current(cell) {
            return Err(ConnectorError::NotFound(cell.slug.clone()));
        }
        let edit = move |definition: &mut ConnectorDefinition| {
            if definition.url != url {
                // The tokens are for another server than the one that it leads to by now.
                return Err(InvalidDefinition {
                    field: "state",
                    problem: "the connector's URL was changed after this sign-in was begun; begin again"
                        .to_owned(),
                });
            }
            definition.oauth = Some(merged(settings.clone(), definition.oauth.take()));
            Ok(())
        };
        Ok(self.edit_with_secrets(cell, change, edit).await??)
    }

    /// Creates the connector that a sign-in was for. After an error nothing of it is left.
    pub(super) async fn bring_into_being(
        self: &Arc<Self>,
        newcomer: Newcomer,
        grant: Option<Grant>,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let Newcomer { mut prepared, staged, trace } = newcomer;
        // What the sign-in itself has written, and then what it hands over.
        for name in CredentialKey::SIGN_IN_NAMES {
            let key = CredentialKey::of_sign_in(&prepared.definition.slug, name);
            match staged.get(&key).await? {
                Some(value) => prepared.secrets.put(name, value),
                None => prepared.secrets.forget(name),
            }
        }
        let Some(grant) = grant else { return self.insert(prepared, trace).await };
        for name in grant.obsolete {
            prepared.secrets.forget(name);
        }
        for (name, value) in grant.secrets {
            prepared.secrets.put(name, value);
        }
        let settings = merged(grant.settings, prepared.definition.oauth.take());
        if let Some(cell) = self.same_connector(&prepared.definition) {
            // It was added meanwhile.
            let grant = Grant { settings, secrets: prepared.secrets.of_sign_in(), obsolete: Vec::new() };
            self.store_grant(&cell, prepared.definition.url, grant).await?;
            self.signed_in(&cell).await?;
            return Ok(cell);
        }
        prepared.definition.oauth = Some(settings);
        self.insert(prepared, trace).await
    }
}

/// What a sign-in has found, with what the user has chosen: that stays.
fn merged(mut found: OAuthSettings, before: Option<OAuthSettings>) -> OAuthSettings {
    if let Some(before) = before {
        found.grant = before.grant.or(found.grant);
        found.exceptions = before.exceptions;
    }
    found
}
