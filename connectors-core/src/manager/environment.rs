//! Environment variables of local servers whose values are secrets: which they are, and where they go.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::cell::Cell;
use super::request::ConnectorUpdate;
use super::secrets::SecretChange;
use super::shared::Shared;
use crate::definition::{ConnectorDefinition, SecretVariable, StdioCommand};
use crate::error::ConnectorError;
use crate::events::EventKind;
use crate::names::Slug;
use crate::secret_like::looks_secret;
use crate::store::CredentialKey;
use crate::transport::InvalidDefinition;

/// What is to become of an environment: variables in the definition, and names of those in the secret store.
#[derive(Default)]
struct Environment {
    plain: BTreeMap<String, String>,
    secret: Vec<String>,
}

impl Environment {
    /// A variable with its value: what looks like a secret goes to the secret store, and so does what is called one.
    fn set(&mut self, name: &str, value: &SecretString, is_secret: bool, secrets: &mut SecretChange) {
        let text = value.expose_secret();
        self.remove(name);
        // What is empty keeps no secret, and not every store can hold it.
        if !text.is_empty() && (is_secret || looks_secret(name, text)) {
            self.secret.push(name.to_owned());
            secrets.put(CredentialKey::env_name(name), value.clone());
        } else {
            self.plain.insert(name.to_owned(), text.to_owned());
        }
    }

    fn remove(&mut self, name: &str) {
        self.plain.remove(name);
        self.secret.retain(|other| other != name);
    }

    /// Checks what a transport cannot see, and puts it into the command.
    fn finish(self, command: &mut StdioCommand) -> Result<(), InvalidDefinition> {
        let mut seen = HashSet::new();
        if let Some(name) = self.secret.iter().find(|name| !seen.insert(name.to_ascii_lowercase())) {
            return Err(invalid(
                name,
                "differs from another one in capitals only, which not every secret store tells apart",
            ));
        }
        command.env = self.plain;
        command.secret_env = self.secret;
        Ok(())
    }
}

/// Sorts the environment of a new connector: `given` are secrets, and of the command's own those that look like it.
pub(super) fn sorted(
    command: &mut StdioCommand,
    given: &[SecretVariable],
    secrets: &mut SecretChange,
) -> Result<(), InvalidDefinition> {
    let mut environment = Environment::default();
    for (name, value) in &command.env {
        let value = SecretString::from(value.as_str());
        check(name, &value)?;
        environment.set(name, &value, false, secrets);
    }
    for SecretVariable { name, value } in given {
        check(name, value)?;
        if command.env.contains_key(name) || environment.secret.contains(name) {
            return Err(invalid(name, "is there twice"));
        }
        environment.set(name, value, true, secrets);
    }
    environment.finish(command)
}

/// A command as it is to be after an update.
pub(super) fn updated(
    before: &StdioCommand,
    update: &ConnectorUpdate,
    secrets: &mut SecretChange,
) -> Result<StdioCommand, InvalidDefinition> {
    let mut after = before.clone();
    if let Some(command) = &update.command {
        after.command.clone_from(command);
    }
    if let Some(args) = &update.args {
        after.args.clone_from(args);
    }
    if update.env.is_none() && update.secret_env.is_none() {
        return Ok(after);
    }
    let (empty_env, empty_secret) = (BTreeMap::new(), BTreeMap::new());
    let env = update.env.as_ref().unwrap_or(&empty_env);
    let secret_env = update.secret_env.as_ref().unwrap_or(&empty_secret);
    if let Some(name) = secret_env.keys().find(|name| env.contains_key(*name)) {
        return Err(invalid(name, "is there twice"));
    }
    // Without a new `env`, what is not mentioned stays.
    let is_kept = |name: &String| {
        update.env.is_none() || [env, secret_env].iter().any(|given| matches!(given.get(name), Some(None)))
    };
    let mut environment = Environment {
        plain: before
            .env
            .iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        secret: before.secret_env.iter().filter(|name| is_kept(name)).cloned().collect(),
    };
    for (given, is_secret) in [(env, false), (secret_env, true)] {
        for (name, value) in given {
            match value {
                Some(value) => {
                    check(name, value)?;
                    environment.set(name, value, is_secret, secrets);
                }
                None if before.secret_env.contains(name) => {}
                None => {
                    let Some(value) = before.env.get(name) else {
                        return Err(invalid(name, "has no value that could be kept"));
                    };
                    if is_secret {
                        environment.set(name, &SecretString::from(value.as_str()), true, secrets);
                    }
                }
            }
        }
    }
    environment.finish(&mut after)?;
    Ok(after)
}

/// The accounts of variables that a definition no longer keeps in the secret store.
pub(super) fn dropped(before: &ConnectorDefinition, after: &ConnectorDefinition) -> Vec<String> {
    // Where they are the same variable, they may be the same secret.
    let is_same = |one: &str, other: &str| one == other || (cfg!(windows) && one.eq_ignore_ascii_case(other));
    let is_gone = |name: &&String| !secret_names(after).iter().any(|other| is_same(name, other));
    secret_names(before).iter().filter(is_gone).map(|name| CredentialKey::env_name(name)).collect()
}

/// The variables of a definition whose values are in the secret store.
pub(super) fn secret_names(definition: &ConnectorDefinition) -> &[String] {
    definition.stdio.as_ref().map(|stdio| stdio.secret_env.as_slice()).unwrap_or_default()
}

/// True where a definition says that there is something in the secret store.
pub(super) fn has_secrets(definition: &ConnectorDefinition) -> bool {
    !definition.secret_headers.is_empty()
        || definition.oauth.is_some()
        || !secret_names(definition).is_empty()
}

/// The variables of a definition that look like secrets, and stand in it.
pub(super) fn plaintext_secrets(definition: &ConnectorDefinition) -> Vec<String> {
    let variables = definition.stdio.iter().flat_map(|stdio| &stdio.env);
    variables.filter(|(name, value)| looks_secret(name, value)).map(|(name, _)| name.clone()).collect()
}

fn check(name: &str, value: &SecretString) -> Result<(), InvalidDefinition> {
    match value.expose_secret().contains('\0') {
        true => Err(invalid(name, "has a value with a NUL character")),
        false => Ok(()),
    }
}

fn invalid(name: &str, problem: &str) -> InvalidDefinition {
    let name = crate::text::display(name, 60);
    InvalidDefinition { field: "env", problem: format!("the variable {name:?} {problem}") }
}

impl Shared {
    /// The variables of a local server whose values are in the secret store.
    pub(super) async fn secret_environment(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<Vec<SecretVariable>, ConnectorError> {
        let names = secret_names(definition);
        let mut variables = Vec::with_capacity(names.len());
        for name in names {
            let key = CredentialKey::env(&definition.slug, name);
            let value = self
                .credentials
                .get(&key)
                .await?
                .ok_or_else(|| missing(&definition.slug, name, self.credentials.kind()))?;
            variables.push(SecretVariable { name: name.clone(), value });
        }
        Ok(variables)
    }

    /// Moves variables of a local server from its definition to the secret store: those named, or all that look like secrets.
    /// After an error everything is as it was.
    pub(super) async fn protect(
        self: Arc<Self>,
        cell: Arc<Cell>,
        names: Option<Vec<String>>,
    ) -> Result<(), ConnectorError> {
        if to_be_moved(&cell.definition.load(), names.as_deref())?.is_empty() {
            return Ok(());
        }
        let _exclusive = self.hold_secrets(&cell.slug).await?;
        if !self.is_current(&cell) {
            return Err(ConnectorError::NotFound(cell.slug.clone()));
        }
        // It may have changed while somebody else held the secrets.
        let definition = cell.definition.load_full();
        let moved = to_be_moved(&definition, names.as_deref())?;
        if moved.is_empty() {
            return Ok(());
        }
        let (mut after, mut secrets) = (definition.as_ref().clone(), SecretChange::default());
        if let Err(Changed) = move_out(&mut after, &moved) {
            return Ok(());
        }
        for (name, value) in &moved {
            secrets.put(CredentialKey::env_name(name), SecretString::from(value.as_str()));
        }
        self.dialer(&after)?.check(&after)?;
        let replaces_stored = moved.keys().any(|name| secret_names(&definition).contains(name));
        let moving = move |definition: &mut ConnectorDefinition| move_out(definition, &moved);
        match self.edit_with_secrets(&cell, secrets, moving).await? {
            Ok(()) if replaces_stored => cell.redial().await,
            // The process has what it would be given now.
            Ok(()) => Ok(()),
            Err(Changed) => {
                let problem = "its variables have changed meanwhile; look at them again".to_owned();
                Err(InvalidDefinition { field: "slug", problem }.into())
            }
        }
    }

    /// Tells the world, once, that a definition that has just been written holds secrets in plain text. Where nobody listens, that is
    /// left for a later write.
    pub(super) fn want_protection(&self, cell: &Cell) {
        let variables = plaintext_secrets(&cell.definition.load());
        if !variables.is_empty() && !self.events.is_unwatched() && cell.is_first_to_ask() {
            self.tell(cell, EventKind::ProtectionWanted { variables });
        }
    }
}

/// The variables in plain text that are meant, with their values: those named, or all that look like secrets.
fn to_be_moved(
    definition: &ConnectorDefinition,
    names: Option<&[String]>,
) -> Result<BTreeMap<String, String>, InvalidDefinition> {
    let Some(stdio) = &definition.stdio else {
        let problem = "this is an HTTP connector: it has no environment".to_owned();
        return Err(InvalidDefinition { field: "slug", problem });
    };
    let names = names.map_or_else(|| plaintext_secrets(definition), <[String]>::to_vec);
    let mut moved = BTreeMap::new();
    for name in names {
        match stdio.env.get(&name) {
            Some(value) => drop(moved.insert(name, value.clone())),
            None if stdio.secret_env.contains(&name) => {}
            None => {
                let problem = format!("there is no variable {:?}", crate::text::display(&name, 60));
                return Err(InvalidDefinition { field: "names", problem });
            }
        }
    }
    Ok(moved)
}

/// The variables are not as they were.
#[derive(Debug)]
struct Changed;

/// Takes variables out of a definition's plain ones, unless one has another value by now.
fn move_out(definition: &mut ConnectorDefinition, moved: &BTreeMap<String, String>) -> Result<(), Changed> {
    let stdio = definition.stdio.as_mut().ok_or(Changed)?;
    if moved.iter().any(|(name, value)| stdio.env.get(name) != Some(value)) {
        return Err(Changed);
    }
    for name in moved.keys() {
        stdio.env.remove(name);
        if !stdio.secret_env.contains(name) {
            stdio.secret_env.push(name.clone());
        }
    }
    Ok(())
}

fn missing(slug: &Slug, name: &str, store: &str) -> ConnectorError {
    ConnectorError::Authorization {
        slug: slug.clone(),
        detail: "secret_missing",
        problem: format!(
            "the value of its variable {} is not in the {store}",
            crate::text::display(name, 60)
        ),
        remedy: "enter the variable's value again".into(),
    }
}
