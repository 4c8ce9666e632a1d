//! Changing connectors.

use std::sync::Arc;

use super::add::{check_headers, checked_name, refuse_any};
use super::cell::Cell;
use super::choice::{self, Move};
use super::environment;
use super::reload::Connection;
use super::request::ConnectorUpdate;
use super::secrets::SecretChange;
use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::transport::InvalidDefinition;

/// How often an update is begun anew because what it builds on has changed.
const ATTEMPTS: usize = 8;

impl Shared {
    /// Changes a connector and dials it again where that makes a difference. After an error it is as it was, but for tokens
    /// that were given back because it was to move away.
    pub(super) async fn change(
        self: Arc<Self>,
        cell: Arc<Cell>,
        update: ConnectorUpdate,
    ) -> Result<(), ConnectorError> {
        let mut exclusive = None;
        let mut is_revoked = false;
        for _ in 0..ATTEMPTS {
            let before = cell.definition.load_full();
            // Found out before anything is done.
            let change = self.updated(&before, &update)?;
            let moved = update.address().map_or(Move::None, |url| Move::between(&before.url, url.trim()));
            let concerns_sign_in = moved != Move::None || update.sign_in.is_some();
            if concerns_sign_in {
                // What they would bring is for how it was.
                self.pending.forget(&cell);
            }
            if moved == Move::Away && !is_revoked {
                // Whoever gives tokens back needs them for itself.
                exclusive = None;
                self.revoke(&cell).await;
                is_revoked = true;
                continue;
            }
            let touches_secrets = !change.secrets.is_empty() || !change.gone(&before).is_empty();
            if (concerns_sign_in || touches_secrets) && exclusive.is_none() {
                exclusive = Some(self.hold_secrets(&cell.slug).await?);
                // It may have become another one meanwhile.
                continue;
            }
            if !self.is_current(&cell) {
                return Err(ConnectorError::NotFound(cell.slug.clone()));
            }
            if let Some(redial) = self.attempt(&cell, before, change, concerns_sign_in).await? {
                drop(exclusive);
                if redial {
                    // The next dial opens another, and so does whoever signs in before.
                    cell.sign_in.store(None);
                    cell.redial().await?;
                }
                return Ok(());
            }
        }
        let problem = "others change this connector all the time; look at it again".to_owned();
        Err(InvalidDefinition { field: "slug", problem }.into())
    }

    /// Puts a change into force, and says whether the connector is to be dialled again for it. `None`, with nothing done, if what
    /// the change builds on is not as it was in `before`.
    async fn attempt(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        before: Arc<ConnectorDefinition>,
        change: Change,
        concerns_sign_in: bool,
    ) -> Result<Option<bool>, ConnectorError> {
        let gone = change.gone(&before);
        let Change { after, mut secrets } = change;
        let is_redialled = secrets.puts()
            || Connection::of(&before) != Connection::of(&after)
            || (concerns_sign_in && before.oauth != after.oauth);
        // Without any other they are no reason for it to fail.
        let left = match secrets.is_empty() {
            true => gone,
            false => {
                gone.into_iter().for_each(|name| secrets.delete(name));
                Vec::new()
            }
        };
        let builds_on = basis(&before);
        let change = move |definition: &mut ConnectorDefinition| {
            if basis(definition) != builds_on {
                return Err(Outdated);
            }
            // The selection may have changed meanwhile.
            let enabled_tools = std::mem::take(&mut definition.enabled_tools);
            let tool_pins = std::mem::take(&mut definition.tool_pins);
            *definition = ConnectorDefinition { enabled_tools, tool_pins, ..after.clone() };
            Ok(())
        };
        if let Err(Outdated) = self.edit_with_secrets(cell, secrets, change).await? {
            return Ok(None);
        }
        self.drop_secrets(&cell.slug, left.iter().map(String::as_str)).await;
        Ok(Some(is_redialled))
    }

    /// A definition as it is to be, and what becomes of its secrets.
    fn updated(
        &self,
        before: &ConnectorDefinition,
        update: &ConnectorUpdate,
    ) -> Result<Change, ConnectorError> {
        if let Some(proposal) = &update.proposal {
            let (after, secrets) = self.succeeded(before, proposal)?;
            return Ok(Change { after, secrets });
        }
        if before.stdio.is_some() {
            let of_http = [
                ("url", update.url.is_some()),
                ("headers", update.headers.is_some()),
                ("oauth", update.sign_in.is_some()),
                ("network", update.network.is_some()),
            ];
            refuse_any(of_http, "stdio")?;
        } else {
            let of_stdio = [
                ("command", update.command.is_some()),
                ("args", update.args.is_some()),
                ("env", update.env.is_some()),
                ("secret_env", update.secret_env.is_some()),
                ("engine", update.engine.is_some()),
            ];
            refuse_any(of_stdio, "HTTP")?;
        }
        let (mut after, mut secrets) = (before.clone(), SecretChange::default());
        if let Some(name) = &update.name {
            after.name = checked_name(name)?;
        }
        if let Some(url) = &update.url {
            after.url = url.trim().to_owned();
            Move::between(&before.url, &after.url).apply(&mut after, &mut secrets);
        }
        if let Some(headers) = &update.headers {
            check_headers(headers)?;
            // One that differs only in capitals is the same header, and in some stores the same secret.
            let spelled = |name: &String| {
                let same = before.secret_headers.iter().find(|known| known.eq_ignore_ascii_case(name));
                same.unwrap_or(name).clone()
            };
            after.secret_headers = headers.iter().map(|header| spelled(&header.name)).collect();
            headers.iter().for_each(|header| secrets.put(spelled(&header.name), header.value.clone()));
        }
        if let Some(stdio) = &before.stdio {
            after.stdio = Some(environment::updated(stdio, update, &mut secrets)?);
        }
        if let Some(engine) = update.engine {
            after.engine = engine;
        }
        if let Some(disabled) = update.disabled {
            after.disabled = disabled;
        }
        if let Some(output_check) = update.output_check {
            after.output_check = output_check;
        }
        if let Some(choice) = &update.sign_in {
            choice::apply(choice.clone(), &mut after, &mut secrets)?;
        }
        if let Some(network) = &update.network {
            after.network = network.clone();
        }
        self.dialer(&after)?.check(&after)?;
        Ok(Change { after, secrets })
    }
}

/// What is to become of a connector.
struct Change {
    after: ConnectorDefinition,
    secrets: SecretChange,
}

impl Change {
    /// The names of the secrets that the definition refers to no more.
    fn gone(&self, before: &ConnectorDefinition) -> Vec<String> {
        let is_gone = |name: &&String| !self.after.secret_headers.contains(name);
        let headers = before.secret_headers.iter().filter(is_gone).cloned();
        headers.chain(environment::dropped(before, &self.after)).collect()
    }
}

/// The connector is not what an update builds on.
struct Outdated;

/// What of a definition an update builds on: all but the selection, and which secrets it goes with.
pub(super) fn basis(definition: &ConnectorDefinition) -> ConnectorDefinition {
    ConnectorDefinition {
        enabled_tools: Vec::new(),
        tool_pins: Default::default(),
        secrets_revision: 0,
        ..definition.clone()
    }
}
