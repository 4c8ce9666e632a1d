//! Adding connectors.
//!
//! A connector touches two stores. Its definition comes first, and says that it is unfinished until its secrets are there: whatever
//! becomes of this process, a connector is all there, or is cleared away.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use secrecy::ExposeSecret;

use super::cell::Cell;
use super::request::{NewConnector, NewEndpoint};
use super::secrets::{Replaced, SecretChange, is_of_sign_in};
use super::shared::Shared;
use super::{choice, environment};
use crate::authorizer::SecretHeader;
use crate::definition::ConnectorDefinition;
use crate::error::{ConnectorError, StorageError};
use crate::names::Slug;
use crate::trace::Trace;
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

/// What a user has entered, found to be in order. Its slug is not yet its own.
pub(super) struct Prepared {
    pub(super) definition: ConnectorDefinition,
    pub(super) secrets: SecretChange,
}

impl Shared {
    /// Stores a new connector and starts it.
    pub(super) async fn create(self: Arc<Self>, new: NewConnector) -> Result<Arc<Cell>, ConnectorError> {
        let prepared = self.prepare(new)?;
        self.insert(prepared, Trace::default()).await
    }

    /// Checks what a user has entered.
    pub(super) fn prepare(&self, new: NewConnector) -> Result<Prepared, ConnectorError> {
        let name = checked_name(&new.name)?;
        let mut secrets = SecretChange::default();
        let mut definition = match new.endpoint {
            NewEndpoint::Http { url, headers } => {
                refuse_any([("env", !new.secret_env.is_empty())], "HTTP")?;
                check_headers(&headers)?;
                let mut definition = ConnectorDefinition::http(Slug::from_name(&name), name, url.trim());
                definition.secret_headers = headers.iter().map(|header| header.name.clone()).collect();
                headers.into_iter().for_each(|header| secrets.put(header.name, header.value));
                definition
            }
            NewEndpoint::Stdio(mut command) => {
                let of_http = [("oauth", new.sign_in.is_some()), ("network", new.network.is_some())];
                refuse_any(of_http, "stdio")?;
                environment::sorted(&mut command, &new.secret_env, &mut secrets)?;
                ConnectorDefinition::stdio(Slug::from_name(&name), name, command)
            }
        };
        if let Some(choice) = new.sign_in {
            choice::apply(choice, &mut definition, &mut secrets)?;
        }
        definition.network = new.network.unwrap_or_default();
        definition.disabled = new.disabled;
        definition.engine = new.engine && definition.stdio.is_some();
        self.dialer(&definition)?.check(&definition)?;
        Ok(Prepared { definition, secrets })
    }

    /// Stores a new connector under a slug that is free now, and starts it. After an error nothing of it is left.
    pub(super) async fn insert(
        self: &Arc<Self>,
        prepared: Prepared,
        trace: Trace,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let Prepared { mut definition, secrets } = prepared;
        loop {
            // The file may hold connectors of another process; their secrets must not be overwritten.
            let on_disk = self.config.load().await;
            self.note_storage(&on_disk);
            let reservation = self.reserve(&definition.name, &on_disk?);
            definition.slug = reservation.slug.clone();
            let _exclusive = match secrets.is_empty() {
                false => Some(self.credentials.exclusive(&definition.slug).await?),
                true => None,
            };
            // Whoever held the secrets of this slug may have been adding a connector, too.
            if !secrets.is_empty() && self.is_in_manifest(&definition.slug).await? {
                continue;
            }
            let secrets = self.without_idle(&definition.slug, secrets.clone()).await?;
            let inserted = self.insert_with_secrets(definition.clone(), &secrets, trace.clone()).await;
            match inserted {
                Err(ConnectorError::Storage(StorageError::SlugTaken(_))) => {}
                inserted => return inserted,
            }
        }
    }

    async fn insert_with_secrets(
        self: &Arc<Self>,
        definition: ConnectorDefinition,
        secrets: &SecretChange,
        trace: Trace,
    ) -> Result<Arc<Cell>, ConnectorError> {
        let (shared, slug) = (Arc::clone(self), definition.slug.clone());
        if secrets.is_empty() || !self.secrets_outlive_us() {
            let replaced = self.change_secrets(&slug, secrets).await?;
            let inserting = async move {
                shared.config.insert(&definition).await?;
                Ok::<_, StorageError>(shared.adopt(definition, trace))
            };
            let inserted = self.serial.run(inserting).await;
            if inserted.is_err() {
                self.put_back(replaced).await;
            }
            return inserted;
        }
        self.check_store(&slug).await?;
        let begun = ConnectorDefinition { unfinished: true, ..definition.clone() };
        let inserted = begun.clone();
        self.serial.run(async move { shared.config.insert(&inserted).await }).await?;
        let mut replaced = Replaced::default();
        let finished = match self.change_each(&slug, secrets, &mut replaced).await {
            Ok(()) => {
                let shared = Arc::clone(self);
                let finishing = async move {
                    match shared.config.compare_and_swap(&begun, &definition).await? {
                        true => Ok(shared.adopt(definition, trace)),
                        // Somebody else has put something in its place, or cleared it away.
                        false => Err(ConnectorError::NotFound(definition.slug)),
                    }
                };
                self.serial.run(finishing).await
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &finished {
            let is_undone = self.put_back(replaced).await;
            if !matches!(error, ConnectorError::NotFound(_)) {
                self.take_back(slug, is_undone).await;
            }
        }
        finished
    }

    /// Takes back the unfinished definition of a connector that cannot be added, unless there are still secrets of it.
    async fn take_back(self: &Arc<Self>, slug: Slug, is_undone: bool) {
        let shared = Arc::clone(self);
        let is_gone =
            is_undone && self.serial.run(async move { shared.config.remove(&slug).await }).await.is_ok();
        if !is_gone {
            tracing::warn!("a connector that could not be added is unfinished; it is cleared away later");
            self.has_unfinished.store(true, Ordering::SeqCst);
        }
    }

    /// Whether somebody, in whatever process, has a connector of this slug by now.
    pub(super) async fn is_in_manifest(&self, slug: &Slug) -> Result<bool, StorageError> {
        let on_disk = self.config.load().await;
        self.note_storage(&on_disk);
        Ok(on_disk?.iter().any(|other| other.slug == *slug))
    }
}

/// Refuses the first parameter that was given and does not belong to this `kind` of connector.
pub(super) fn refuse_any(
    parameters: impl IntoIterator<Item = (&'static str, bool)>,
    kind: &str,
) -> Result<(), InvalidDefinition> {
    match parameters.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => Err(InvalidDefinition { field, problem: format!("this is a {kind} connector") }),
        None => Ok(()),
    }
}

pub(super) fn checked_name(name: &str) -> Result<String, ConnectorError> {
    let name = crate::text::display(name.trim(), 200);
    if name.is_empty() {
        let problem = "a connector needs a name".to_owned();
        return Err(InvalidDefinition { field: "name", problem }.into());
    }
    Ok(name)
}

/// True for a header that the connection sets itself, whatever a user or a file says.
pub fn is_set_by_connection(header: &str) -> bool {
    let lower = header.to_ascii_lowercase();
    OUR_HEADERS.contains(&lower.as_str()) || lower.starts_with("mcp-")
}

pub(super) fn check_headers(headers: &[SecretHeader]) -> Result<(), ConnectorError> {
    let invalid = |problem: String| Err(InvalidDefinition { field: "headers", problem }.into());
    let mut seen = std::collections::HashSet::new();
    for SecretHeader { name, value } in headers {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(crate::header_params::is_tchar) {
            return invalid(format!("{:?} is not a header name", crate::text::display(name, 60)));
        }
        if is_set_by_connection(&lower) {
            return invalid(format!("the header {name} is set by the connection itself"));
        }
        if is_of_sign_in(name) {
            return invalid(format!(
                "no header can be called {name}: its value is kept under that name for signing in"
            ));
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
