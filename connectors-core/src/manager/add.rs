//! Adding, changing and removing connectors.
//!
//! Each of these touches two stores. Secrets are written first and taken back if the definition cannot be: a definition
//! never refers to a secret that is not there.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::cell::Cell;
use super::request::{ConnectorUpdate, NewConnector, NewEndpoint};
use super::shared::Shared;
use crate::authorizer::SecretHeader;
use crate::definition::ConnectorDefinition;
use crate::error::{ConnectorError, StorageError};
use crate::names::Slug;
use crate::store::CredentialKey;
use crate::transport::InvalidDefinition;

/// Headers that the transport sets itself, or that would change how a request is read.
const OUR_HEADERS: [&str; 12] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

impl Shared {
    /// Stores a new connector and starts it. The secrets are written before the definition.
    pub(super) async fn create(self: Arc<Self>, new: NewConnector) -> Result<Arc<Cell>, ConnectorError> {
        let name = checked_name(&new.name)?;
        let (mut definition, headers) = match new.endpoint {
            NewEndpoint::Http { url, headers } => {
                (ConnectorDefinition::http(Slug::from_name(&name), name, url.trim()), headers)
            }
            NewEndpoint::Stdio(command) => {
                (ConnectorDefinition::stdio(Slug::from_name(&name), name, command), Vec::new())
            }
        };
        check_headers(&headers)?;
        self.dialer(&definition)?.check(&definition)?;
        definition.secret_headers = headers.iter().map(|header| header.name.clone()).collect();
        loop {
            // The file may hold connectors of another process; their secrets must not be overwritten.
            let on_disk = self.config.load().await;
            self.note_storage(&on_disk);
            let reservation = self.reserve(&definition.name, &on_disk?);
            definition.slug = reservation.slug.clone();
            self.put_headers(&definition.slug, &headers).await?;
            let (shared, created) = (Arc::clone(&self), definition.clone());
            let inserted = self
                .serial
                .run(async move {
                    shared.config.insert(&created).await?;
                    Ok::<_, StorageError>(shared.adopt(created))
                })
                .await;
            match inserted {
                Ok(cell) => return Ok(cell),
                Err(error) => {
                    self.drop_headers(&definition.slug, definition.secret_headers.iter()).await;
                    if !matches!(error, ConnectorError::Storage(StorageError::SlugTaken(_))) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Changes a connector and dials it again where that makes a difference.
    pub(super) async fn change(
        self: Arc<Self>,
        cell: Arc<Cell>,
        update: ConnectorUpdate,
    ) -> Result<(), ConnectorError> {
        let before = cell.definition.load_full();
        let mut after = ConnectorDefinition::clone(&before);
        if let Some(name) = &update.name {
            after.name = checked_name(name)?;
        }
        let wrong_kind = |field, kind| {
            let problem = format!("this is a {kind} connector");
            Err(ConnectorError::from(InvalidDefinition { field, problem }))
        };
        if after.stdio.is_some() && (update.url.is_some() || update.headers.is_some()) {
            return wrong_kind(if update.url.is_some() { "url" } else { "headers" }, "stdio");
        }
        if after.stdio.is_none() && update.stdio.is_some() {
            return wrong_kind("command", "HTTP");
        }
        if let Some(url) = &update.url {
            after.url = url.trim().to_owned();
        }
        if let Some(headers) = &update.headers {
            check_headers(headers)?;
            after.secret_headers = headers.iter().map(|header| header.name.clone()).collect();
        }
        if let Some(stdio) = update.stdio {
            after.stdio = Some(stdio);
        }
        if let Some(disabled) = update.disabled {
            after.disabled = disabled;
        }
        if let Some(output_check) = update.output_check {
            after.output_check = output_check;
        }
        self.dialer(&after)?.check(&after)?;
        let headers = update.headers.unwrap_or_default();
        let replaced = self.present_headers(&before).await?;
        self.put_headers(&cell.slug, &headers).await?;
        let redial = (&before.url, &before.stdio, before.disabled, &before.secret_headers)
            != (&after.url, &after.stdio, after.disabled, &after.secret_headers)
            || !headers.is_empty();
        let wanted = after.clone();
        let edited = self
            .edit(&cell, move |definition| {
                // The selection may have changed meanwhile; only what was asked for is set.
                definition.name = wanted.name;
                definition.url = wanted.url;
                definition.stdio = wanted.stdio;
                definition.disabled = wanted.disabled;
                definition.secret_headers = wanted.secret_headers;
                definition.output_check = wanted.output_check;
            })
            .await;
        if let Err(error) = edited {
            self.put_headers(&cell.slug, &replaced).await?;
            let added = after.secret_headers.iter().filter(|name| !before.secret_headers.contains(name));
            self.drop_headers(&cell.slug, added).await;
            return Err(error);
        }
        let gone = before.secret_headers.iter().filter(|name| !after.secret_headers.contains(name));
        self.drop_headers(&cell.slug, gone).await;
        if redial {
            cell.redial().await?;
        }
        Ok(())
    }

    /// Removes a connector with everything that belongs to it. After an error it is as it was.
    pub(super) async fn delete(self: Arc<Self>, cell: Arc<Cell>) -> Result<(), ConnectorError> {
        let secrets = self.take_secrets(&cell).await?;
        let (shared, removed) = (Arc::clone(&self), Arc::clone(&cell));
        let deleted = self
            .serial
            .run(async move {
                if !shared.is_current(&removed) {
                    return Err(ConnectorError::NotFound(removed.slug.clone()));
                }
                shared.config.remove(&removed.slug).await?;
                shared.forget(&removed);
                Ok(())
            })
            .await;
        if let Err(error) = deleted {
            if !matches!(error, ConnectorError::NotFound(_)) {
                for (key, value) in &secrets {
                    self.credentials.put(key, value).await?;
                }
            }
            return Err(error);
        }
        cell.stop().await;
        Ok(())
    }

    /// Deletes a connector's secrets and returns them.
    async fn take_secrets(&self, cell: &Cell) -> Result<Vec<(CredentialKey, SecretString)>, ConnectorError> {
        let definition = cell.definition.load_full();
        let mut keys = self.credentials.list(&cell.slug).await?;
        // A store that cannot enumerate knows at least what the definition names.
        let named = definition.secret_headers.iter().map(|name| CredentialKey::header(&cell.slug, name));
        for key in named.chain([CredentialKey::tokens(&cell.slug), CredentialKey::client_secret(&cell.slug)])
        {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut taken = Vec::new();
        for key in keys {
            if let Some(value) = self.credentials.get(&key).await? {
                taken.push((key, value));
            }
        }
        for (n, (key, _)) in taken.iter().enumerate() {
            if let Err(error) = self.credentials.delete(key).await {
                for (key, value) in &taken[..n] {
                    self.credentials.put(key, value).await?;
                }
                return Err(error.into());
            }
        }
        Ok(taken)
    }

    async fn present_headers(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<Vec<SecretHeader>, ConnectorError> {
        let mut present = Vec::new();
        for name in &definition.secret_headers {
            if let Some(value) = self.credentials.get(&CredentialKey::header(&definition.slug, name)).await? {
                present.push(SecretHeader { name: name.clone(), value });
            }
        }
        Ok(present)
    }

    async fn put_headers(&self, slug: &Slug, headers: &[SecretHeader]) -> Result<(), ConnectorError> {
        for (n, header) in headers.iter().enumerate() {
            let key = CredentialKey::header(slug, &header.name);
            if let Err(error) = self.credentials.put(&key, &header.value).await {
                self.drop_headers(slug, headers[..n].iter().map(|header| &header.name)).await;
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn drop_headers<'a>(&self, slug: &Slug, names: impl Iterator<Item = &'a String>) {
        for name in names {
            if let Err(error) = self.credentials.delete(&CredentialKey::header(slug, name)).await {
                tracing::warn!(%slug, header = name, %error, "a secret that is no longer used could not be deleted");
            }
        }
    }
}

fn checked_name(name: &str) -> Result<String, ConnectorError> {
    let name = crate::text::display(name.trim(), 200);
    if name.is_empty() {
        let problem = "a connector needs a name".to_owned();
        return Err(InvalidDefinition { field: "name", problem }.into());
    }
    Ok(name)
}

fn check_headers(headers: &[SecretHeader]) -> Result<(), ConnectorError> {
    let invalid = |problem: String| Err(InvalidDefinition { field: "headers", problem }.into());
    let mut seen = std::collections::HashSet::new();
    for SecretHeader { name, value } in headers {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(crate::header_params::is_tchar) {
            return invalid(format!("{:?} is not a header name", crate::text::display(name, 60)));
        }
        if OUR_HEADERS.contains(&lower.as_str()) || lower.starts_with("mcp-") {
            return invalid(format!("the header {name} is set by the connection itself"));
        }
        if value.expose_secret().bytes().any(|byte| !(byte == b'\t' || (32..127).contains(&byte))) {
            return invalid(format!("the value of {name} holds characters that a header cannot carry"));
        }
        if !seen.insert(lower) {
            return invalid(format!("the header {name} is there twice"));
        }
    }
    Ok(())
}
