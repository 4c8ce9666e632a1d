//! Changing connectors.

use std::sync::Arc;

use super::add::{check_headers, checked_name, refuse_any};
use super::cell::Cell;
use super::choice::{self, Move};
use super::environment;
use super::request::ConnectorUpdate;
use super::secrets::SecretChange;
use super::shared::Shared;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;

impl Shared {
    /// Changes a connector and dials it again where that makes a difference. After an error it is as it was, but for tokens
    /// that were given back because it was to move away.
    pub(super) async fn change(
        self: Arc<Self>,
        cell: Arc<Cell>,
        update: ConnectorUpdate,
    ) -> Result<(), ConnectorError> {
        let present = cell.definition.load_full();
        // Found out before anything is done.
        self.updated(&present, &update)?;
        let moved = update.address().map_or(Move::None, |url| Move::between(&present.url, url.trim()));
        let concerns_sign_in = moved != Move::None || update.sign_in.is_some();
        if concerns_sign_in {
            // What they would bring is for how it was.
            self.pending.forget(&cell);
        }
        if moved == Move::Away {
            self.revoke(&cell).await;
        }
        let _exclusive = match concerns_sign_in {
            true => Some(self.credentials.exclusive(&cell.slug).await?),
            false => None,
        };
        let before = cell.definition.load_full();
        let (after, secrets) = self.updated(&before, &update)?;
        let is_redialled = |other: &ConnectorDefinition| {
            (&before.url, &before.stdio, before.engine, before.disabled, &before.network)
                != (&other.url, &other.stdio, other.engine, other.disabled, &other.network)
                || (concerns_sign_in && before.oauth != other.oauth)
                || before.secret_headers != other.secret_headers
        };
        let redial = is_redialled(&after) || secrets.puts();
        // Before the definition leads elsewhere: no dial may find what was for the old address.
        let replaced = self.change_secrets(&cell.slug, &secrets).await?;
        let gone = before.secret_headers.iter().filter(|name| !after.secret_headers.contains(name));
        let gone: Vec<String> = gone.cloned().chain(environment::dropped(&before, &after)).collect();
        let edited = self
            .edit(&cell, move |definition| {
                // The rest may have changed meanwhile, here or elsewhere; only what was asked for is set.
                set(&mut definition.name, &before.name, &after.name);
                set(&mut definition.url, &before.url, &after.url);
                set(&mut definition.stdio, &before.stdio, &after.stdio);
                set(&mut definition.engine, &before.engine, &after.engine);
                set(&mut definition.disabled, &before.disabled, &after.disabled);
                set(&mut definition.secret_headers, &before.secret_headers, &after.secret_headers);
                set(&mut definition.output_check, &before.output_check, &after.output_check);
                set(&mut definition.network, &before.network, &after.network);
                set(&mut definition.proposal, &before.proposal, &after.proposal);
                if concerns_sign_in {
                    definition.oauth.clone_from(&after.oauth);
                }
            })
            .await;
        if let Err(error) = edited {
            self.undo(replaced, &error).await;
            return Err(error);
        }
        self.drop_secrets(&cell.slug, gone.iter().map(String::as_str)).await;
        if redial {
            // The next dial opens another, and so does whoever signs in before.
            cell.sign_in.store(None);
            cell.redial().await?;
        }
        Ok(())
    }

    /// A definition as it is to be, and what becomes of its secrets.
    fn updated(
        &self,
        before: &ConnectorDefinition,
        update: &ConnectorUpdate,
    ) -> Result<(ConnectorDefinition, SecretChange), ConnectorError> {
        if let Some(proposal) = &update.proposal {
            return self.succeeded(before, proposal);
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
            after.secret_headers = headers.iter().map(|header| header.name.clone()).collect();
            headers.iter().for_each(|header| secrets.put(&header.name, header.value.clone()));
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
        Ok((after, secrets))
    }
}

/// Makes a field what it is to be, if that differs from what it was.
fn set<T: Clone + PartialEq>(field: &mut T, before: &T, after: &T) {
    if before != after {
        field.clone_from(after);
    }
}
