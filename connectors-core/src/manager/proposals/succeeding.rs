//! Putting what is proposed now in the place of what the user accepted earlier.

use std::sync::Arc;

use super::super::add::checked_name;
use super::super::cell::Cell;
use super::super::choice::Move;
use super::super::environment;
use super::super::request::ConnectorUpdate;
use super::super::secrets::SecretChange;
use super::super::shared::Shared;
use crate::definition::{ConnectorDefinition, NetworkSettings, StdioCommand};
use crate::error::ConnectorError;
use crate::proposal::Proposal;
use crate::store::CredentialKey;

impl Shared {
    /// Changes an accepted connector into what is proposed for it now. The selection stays.
    pub(super) async fn succeed(
        self: Arc<Self>,
        cell: Arc<Cell>,
        proposal: Arc<Proposal>,
    ) -> Result<(), ConnectorError> {
        let update = ConnectorUpdate { proposal: Some(proposal), ..ConnectorUpdate::default() };
        self.change(cell, update).await
    }

    /// An accepted definition as it is to be, and what becomes of its secrets.
    ///
    /// Nothing that was entered for one server reaches another: at another origin, or with another command line or other plain
    /// variables, nothing is kept, and a name that the user was not asked for has no value, whatever the store holds under it.
    pub(in super::super) fn succeeded(
        &self,
        before: &ConnectorDefinition,
        proposal: &Proposal,
    ) -> Result<(ConnectorDefinition, SecretChange), ConnectorError> {
        let new = &proposal.definition;
        let (mut after, mut secrets) = (before.clone(), SecretChange::default());
        after.name = checked_name(&new.name)?;
        after.url = new.url.clone();
        after.stdio = new.stdio.clone();
        after.secret_headers = new.secret_headers.clone();
        after.proposal = new.proposal.clone();
        if before.stdio.is_some() != after.stdio.is_some() {
            after.network = NetworkSettings::default();
            after.engine = false;
        }
        let moved = Move::between(&before.url, &after.url);
        moved.apply(&mut after, &mut secrets);
        let is_kept = |name: &String| moved != Move::Away && before.secret_headers.contains(name);
        after.secret_headers.iter().filter(|name| !is_kept(name)).for_each(|name| secrets.delete(name));
        let had = environment::secret_names(before);
        let runs_the_same = what_runs(before) == what_runs(&after);
        let is_kept = |name: &String| runs_the_same && had.contains(name);
        for name in environment::secret_names(&after).iter().filter(|name| !is_kept(name)) {
            secrets.delete(CredentialKey::env_name(name));
        }
        self.dialer(&after)?.check(&after)?;
        Ok((after, secrets))
    }
}

/// What decides to whom a local server's secret variables are given: also its plain ones, which may name addresses and programs.
fn what_runs(definition: &ConnectorDefinition) -> Option<StdioCommand> {
    definition.stdio.clone().map(|stdio| StdioCommand { secret_env: Vec::new(), ..stdio })
}
