//! Connectors that are not all there: whoever was adding or removing them may have died over it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::names::Slug;

impl Shared {
    /// True where secrets are still there when this process is not, and so have to be cleared away by others.
    pub(super) fn secrets_outlive_us(&self) -> bool {
        self.credentials.kind() != "memory"
    }

    /// Leaves out the definitions of connectors that somebody else is adding or removing. Those of whom nobody is any more are cleared
    /// away with their secrets, in tasks of their own.
    pub(super) fn without_unfinished(
        self: &Arc<Self>,
        mut definitions: Vec<ConnectorDefinition>,
    ) -> Vec<ConnectorDefinition> {
        let cells = self.cells.load();
        let is_ours =
            |slug: &Slug| cells.iter().any(|cell| cell.slug == *slug && cell.definition.load().unfinished);
        definitions.retain(|definition| {
            let is_left_out = definition.unfinished && !is_ours(&definition.slug);
            if is_left_out && self.secrets_outlive_us() {
                let (shared, slug) = (Arc::clone(self), definition.slug.clone());
                tokio::spawn(async move {
                    if let Err(error) = shared.clear_away(&slug).await {
                        tracing::warn!(%slug, %error, "what is left of a connector cannot be cleared away yet");
                        shared.has_unfinished.store(true, Ordering::SeqCst);
                    }
                });
            }
            !is_left_out
        });
        definitions
    }

    async fn clear_away(self: &Arc<Self>, slug: &Slug) -> Result<(), ConnectorError> {
        // Whoever has it reserved is adding it, or at this already.
        let Some(_reservation) = self.reserve_exactly(slug) else { return Ok(()) };
        // Whoever adds or removes it holds them until it is all there, or all gone.
        let _exclusive = self.credentials.exclusive(slug).await?;
        let on_disk = self.config.load().await?;
        let Some(definition) = on_disk.into_iter().find(|other| other.slug == *slug && other.unfinished)
        else {
            return Ok(());
        };
        self.delete_secrets(&definition).await?;
        let shared = Arc::clone(self);
        let removing = async move {
            let on_disk = shared.config.load().await?;
            // Unless somebody without the lock has changed that.
            match on_disk.iter().any(|other| other.slug == definition.slug && other.unfinished) {
                true => shared.config.remove(&definition.slug).await,
                false => Ok(()),
            }
        };
        self.serial.run(removing).await?;
        tracing::info!(%slug, "cleared away what was left of a connector that was being added or removed");
        Ok(())
    }

    /// Clears away, in tasks of their own, what has waited for the secret store.
    pub(super) fn clear_away_again(self: &Arc<Self>) {
        if self.has_unfinished.swap(false, Ordering::SeqCst) {
            let shared = Arc::clone(self);
            // What cannot be read is noted.
            tokio::spawn(async move { shared.reload().await });
        }
    }
}
