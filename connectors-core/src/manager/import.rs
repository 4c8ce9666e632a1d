//! What other clients have configured: showing it, and taking it over.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::cell::Cell;
use super::shared::Shared;
use super::{ConnectorManager, to_the_end};
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::import::{
    Destination, FoundConnector, FoundFile, ImportOutcome, ImportRequest, ImportableFile, SkippedImport,
    fingerprint, plan, shown_name,
};
use crate::manager::{NewConnector, NewEndpoint};
use crate::names::Slug;
use crate::transport::InvalidDefinition;

/// The cells that an import has made, and what it has left out.
pub(super) struct Imported {
    pub(super) cells: Vec<Arc<Cell>>,
    pub(super) skipped: Vec<SkippedImport>,
}

/// Headers and variables of an entry. Where they differ, two entries of one file that lead to the same place are meant to be
/// two, as for two accounts.
struct Account(Vec<(String, SecretString)>);

impl Account {
    fn of(new: &NewConnector) -> Self {
        let own: Vec<(String, SecretString)> = match &new.endpoint {
            NewEndpoint::Http { headers, .. } => {
                headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect()
            }
            NewEndpoint::Stdio(stdio) => {
                stdio.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
            }
        };
        let secret = new.secret_env.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
        Self(own.into_iter().chain(secret).collect())
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        let same = |((name, value), (other, others)): (&(String, SecretString), &(String, SecretString))| {
            name == other && value.expose_secret() == others.expose_secret()
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl ConnectorManager {
    /// What other MCP clients have configured on this machine. Reads their files; reaches no server, starts nothing.
    pub async fn importable(&self) -> Vec<ImportableFile> {
        self.shared().importable().await
    }

    /// Takes over what another client has configured: each entry on its own, from the file as it is now. The new connectors are
    /// dialled at once and reported as [`add`](Self::add) does, but for those that are switched off; no tool of theirs is enabled.
    ///
    /// # Errors
    ///
    /// [`ConnectorError::Invalid`] with the field `source` for a file that is not there or cannot be read. What keeps a single
    /// entry from being taken over is part of the outcome.
    pub async fn import(&self, request: ImportRequest) -> Result<ImportOutcome, ConnectorError> {
        let imported = to_the_end(Arc::clone(self.shared()).import(request)).await?;
        let outcomes = imported.cells.iter().map(|cell| self.outcome(cell));
        let statuses = futures_util::future::join_all(outcomes).await;
        Ok(ImportOutcome { imported: statuses, skipped: imported.skipped })
    }
}

impl Shared {
    /// What there is. Reaches no server.
    pub(super) async fn importable(&self) -> Vec<ImportableFile> {
        let files = match &self.imports {
            Some(imports) => imports.find().await,
            None => Vec::new(),
        };
        let existing = |found: &FoundConnector| self.leading_to(&Destination::of(found)?, &[]);
        files.iter().map(|file| ImportableFile::of(file, existing)).collect()
    }

    /// Takes entries over, each on its own; the file is read again.
    pub(super) async fn import(self: Arc<Self>, request: ImportRequest) -> Result<Imported, ConnectorError> {
        let file = self.source(&request.source).await?;
        let mut imported = Imported { cells: Vec::new(), skipped: Vec::new() };
        let mut beside = Vec::new();
        let wanted = |found: &FoundConnector| {
            request.names.as_ref().is_none_or(|names| names.contains(&shown_name(&found.name)))
        };
        for found in file.connectors.iter().filter(|found| wanted(found)) {
            match self.take_over(found, &request, &mut beside).await {
                Ok(cell) => imported.cells.push(cell),
                Err(reason) => imported.skipped.push(SkippedImport { name: shown_name(&found.name), reason }),
            }
        }
        for name in request.names.iter().flatten() {
            if !file.connectors.iter().any(|found| shown_name(&found.name) == *name) {
                let reason = "the file has no entry of this name".to_owned();
                imported.skipped.push(SkippedImport { name: shown_name(name), reason });
            }
        }
        Ok(imported)
    }

    /// One entry, `beside` those that have been taken over with it. What keeps it from being taken over is for the user to read.
    async fn take_over(
        self: &Arc<Self>,
        found: &FoundConnector,
        request: &ImportRequest,
        beside: &mut Vec<(Arc<Cell>, Account)>,
    ) -> Result<Arc<Cell>, String> {
        // As long as nobody has seen it, it is nobody's wish.
        let is_seen = |hashes: &BTreeMap<String, String>| {
            hashes.get(&shown_name(&found.name)).is_some_and(|hash| *hash == fingerprint(found))
        };
        if !request.hashes.as_ref().is_none_or(is_seen) {
            return Err("it is no longer what was shown: look at it again".to_owned());
        }
        let new = plan(found, &request.values, request.allow_plain_secrets)
            .map_err(|refusal| refusal.to_string())?;
        let destination = match &new.endpoint {
            NewEndpoint::Http { url, .. } => Destination::url(url),
            NewEndpoint::Stdio(stdio) => Destination::command(stdio),
        };
        let account = Account::of(&new);
        let others = beside.iter().filter(|(_, other)| *other != account);
        let others: Vec<_> = others.map(|(cell, _)| Arc::clone(cell)).collect();
        if let Some(slug) = self.leading_to(&destination, &others).filter(|_| !request.again) {
            return Err(format!("the connector `{slug}` leads to the same place"));
        }
        let cell = Arc::clone(self).create(new).await.map_err(|error| match error.remedy() {
            Some(remedy) => format!("{error}; {remedy}"),
            None => error.to_string(),
        })?;
        beside.push((Arc::clone(&cell), account));
        Ok(cell)
    }

    async fn source(&self, source: &str) -> Result<FoundFile, ConnectorError> {
        let invalid = |problem: String| InvalidDefinition { field: "source", problem };
        let file = match &self.imports {
            Some(imports) => imports.find_one(source).await,
            None => None,
        };
        let file = file
            .ok_or_else(|| invalid("there is no such file any more, or it defines no servers".to_owned()))?;
        match &file.problem {
            Some(problem) if file.connectors.is_empty() => {
                let at = problem.position.map(|(line, column)| format!(" (line {line}, column {column})"));
                Err(invalid(format!("{}{}", problem.problem, at.unwrap_or_default())).into())
            }
            _ => Ok(file),
        }
    }

    /// The connector that leads to this place, if it is none of `but`.
    fn leading_to(&self, destination: &Destination, but: &[Arc<Cell>]) -> Option<Slug> {
        let leads_there = |definition: &ConnectorDefinition| match &definition.stdio {
            None => Destination::url(&definition.url) == *destination,
            Some(stdio) => Destination::command(stdio) == *destination,
        };
        let cells = self.cells.load();
        let mut others = cells.iter().filter(|cell| !but.iter().any(|own| Arc::ptr_eq(own, cell)));
        others.find(|cell| leads_there(&cell.definition.load())).map(|cell| cell.slug.clone())
    }
}
