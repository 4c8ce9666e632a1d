//! One attempt to connect: from a definition to a catalogue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::cell::{Cell, Refusal};
use super::reload::Connection;
use super::secrets::is_of_sign_in;
use super::shared::Shared;
use super::{environment, explain};
use crate::authorizer::{Authorizer, Combined, SecretHeader, StaticHeaders};
use crate::client::{ClientOptions, ClientSignal, ConnectFailure, EraChoice, McpClient};
use crate::connector::Connector;
use crate::definition::{ConnectorDefinition, SecretVariable};
use crate::error::ConnectorError;
use crate::protocol::Era;
use crate::store::CredentialKey;
use crate::tool::ToolCatalog;
use crate::trace::{Chapter, Step};
use crate::transport::{DialTarget, Dialer, InvalidDefinition};

/// How long a first catalogue waits for the server's word that it announces changes of it.
const ANNOUNCEMENT: Duration = Duration::from_millis(250);

/// How often secrets are read anew because their connector leads elsewhere by then.
const ROUNDS: usize = 8;

/// How long the settings may take to be read once more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that has proved itself by listing its tools.
pub(super) struct Connected {
    pub(super) client: Arc<McpClient>,
    pub(super) signals: mpsc::Receiver<ClientSignal>,
    pub(super) catalog: ToolCatalog,
}

/// What the user has entered for a connection, out of the secret store.
struct Credentials {
    authorizer: Arc<dyn Authorizer>,
    environment: Vec<SecretVariable>,
}

impl Shared {
    /// The dialer of a definition's wire.
    pub(super) fn dialer(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<&Arc<dyn Dialer>, ConnectorError> {
        self.dialers.iter().find(|dialer| dialer.serves(definition)).ok_or_else(|| {
            let (field, wire) =
                if definition.stdio.is_some() { ("command", "stdio") } else { ("url", "HTTP") };
            let problem = format!("this host was built without {wire} connectors");
            InvalidDefinition { field, problem }.into()
        })
    }

    /// Connects and lists the tools. `era` is what is known of the server, and is brought up to date.
    ///
    /// Bounded by the limits for connecting and for the handshake; dropping the future leaves nothing behind.
    pub(super) async fn connect(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        era: &mut EraChoice,
    ) -> Result<Connected, ConnectorError> {
        // The semaphore is never closed.
        let _permit = self.dials.acquire().await;
        cell.trace.begin(Chapter::Connection);
        let mut step = Step::Handshake;
        let outcome = self.connect_in_time(cell, era, &mut step).await;
        cell.trace.note(match &outcome {
            Ok(connected) => explain::listed(&connected.catalog),
            Err(error) => explain::failed(step, error),
        });
        outcome
    }

    /// `step` is the one that is under way, or has failed.
    async fn connect_in_time(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        era: &mut EraChoice,
        step: &mut Step,
    ) -> Result<Connected, ConnectorError> {
        let (definition, credentials) = self.furnished(cell).await?;
        let limit = self.limits.connect + self.limits.handshake;
        let opening = self.open_connection(cell, &definition, credentials, era, step);
        match tokio::time::timeout(limit, opening).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let what = "connecting and listing the tools".to_owned();
                Err(ConnectorError::TimedOut { slug: cell.slug.clone(), what, limit })
            }
        }
    }

    async fn open_connection(
        &self,
        cell: &Cell,
        definition: &Arc<ConnectorDefinition>,
        credentials: Credentials,
        era: &mut EraChoice,
        step: &mut Step,
    ) -> Result<Connected, ConnectorError> {
        let mut attempt = self.negotiate(cell, definition, &credentials, *era, step).await;
        let again = match attempt {
            Err(failure) => {
                let died_of_probe = failure.died_of_probe();
                let error = failure.into_error();
                // A refusal says nothing about the era.
                let was_upgraded = *era == EraChoice::Legacy && Refusal::of(&error).is_none();
                attempt = Err(error.into());
                match (died_of_probe, was_upgraded) {
                    (true, _) => Some(EraChoice::Legacy),
                    // What is remembered no longer holds.
                    (false, true) => Some(EraChoice::Probe),
                    (false, false) => None,
                }
            }
            Ok(_) => None,
        };
        if let Some(other) = again {
            let failed_in = *step;
            let second = self.negotiate(cell, definition, &credentials, other, step).await;
            // Of two failures the first is the one about the server as it usually is.
            if second.is_ok() || other == EraChoice::Legacy {
                attempt = second;
            } else {
                *step = failed_in;
            }
        }
        let (client, signals) = attempt.map_err(ConnectFailure::into_error)?;
        cell.trace.note(explain::agreed(&client.session()));
        *step = Step::Catalogue;
        *era = match client.session().era() {
            Era::Legacy => EraChoice::Legacy,
            Era::Modern => EraChoice::Probe,
        };
        client.tools_announced(ANNOUNCEMENT).await;
        match client.list_tools().await {
            Ok(catalog) => Ok(Connected { client: Arc::new(client), signals, catalog }),
            Err(error) => {
                client.close().await;
                Err(error)
            }
        }
    }

    async fn negotiate(
        &self,
        cell: &Cell,
        definition: &Arc<ConnectorDefinition>,
        credentials: &Credentials,
        era: EraChoice,
        step: &mut Step,
    ) -> Result<(McpClient, mpsc::Receiver<ClientSignal>), ConnectFailure> {
        let Credentials { authorizer, environment } = credentials;
        let (target_definition, authorizer) = (Arc::clone(definition), Arc::clone(authorizer));
        let target =
            DialTarget::new(target_definition, authorizer, Arc::clone(&self.limits), cell.trace.clone())
                .with_environment(environment.clone());
        if definition.stdio.is_some() {
            *step = Step::Connection;
        }
        let transport = self
            .dialer(definition)?
            .dial(target)
            .await
            .map_err(|error| ConnectorError::from_transport(&definition.slug, error))?;
        if let Some(stdio) = &definition.stdio {
            cell.trace.note(explain::process_started(&stdio.command));
        }
        *step = Step::Handshake;
        let options = ClientOptions::new(definition.slug.clone())
            .with_info(self.client_info.clone())
            .with_limits(Arc::clone(&self.limits))
            .with_input(Arc::clone(&self.input))
            .with_era(era);
        let outcome = McpClient::connect(Arc::clone(&transport), options).await;
        if outcome.is_err() {
            transport.close().await;
        }
        outcome
    }

    /// Where a connector leads, and what is to be shown to whoever is there.
    async fn furnished(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
    ) -> Result<(Arc<ConnectorDefinition>, Credentials), ConnectorError> {
        for _ in 0..ROUNDS {
            let definition = cell.definition.load_full();
            self.settle_secrets(&definition).await?;
            let authorizer = self.authorizer(cell, &definition).await?;
            let environment = self.secret_environment(&definition).await?;
            // What was read may be for where it leads by now: secrets are replaced after their definition.
            if !environment::has_secrets(&definition) || self.still_leads_there(cell, &definition).await? {
                return Ok((definition, Credentials { authorizer, environment }));
            }
        }
        let reason = Some("others change where it leads all the time".to_owned());
        Err(ConnectorError::NotConnected { slug: cell.slug.clone(), reason, retry_at: None })
    }

    /// True where the connector still leads where `definition` does, for this process and for those that share its settings.
    async fn still_leads_there(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        definition: &ConnectorDefinition,
    ) -> Result<bool, ConnectorError> {
        let connection = Connection::of(definition);
        if connection != Connection::of(&cell.definition.load()) {
            return Ok(false);
        }
        // Settings that cannot be read, or not in time, are as they were.
        let Ok(Ok(on_disk)) = tokio::time::timeout(PATIENCE, self.config.load()).await else {
            return Ok(true);
        };
        let is_changed = |other: &ConnectorDefinition| connection != Connection::of(other);
        if !on_disk.iter().any(|other| other.slug == cell.slug && is_changed(other)) {
            return Ok(true);
        }
        // Nobody has told us yet.
        match tokio::time::timeout(PATIENCE, self.reload()).await {
            Ok(reloaded) => reloaded.map(|()| false),
            Err(_) => {
                let what = "reading the settings".to_owned();
                Err(ConnectorError::TimedOut { slug: cell.slug.clone(), what, limit: PATIENCE })
            }
        }
    }

    /// What supplies the credentials of a connection: the fixed headers, and the sign-in where there is one.
    async fn authorizer(
        &self,
        cell: &Cell,
        definition: &Arc<ConnectorDefinition>,
    ) -> Result<Arc<dyn Authorizer>, ConnectorError> {
        let fixed = StaticHeaders::new(self.fixed_headers(definition).await?);
        Ok(match self.open_sign_in(cell, definition) {
            Some(sign_in) => Arc::new(Combined::new(fixed, sign_in)),
            None => Arc::new(fixed),
        })
    }

    async fn fixed_headers(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<Vec<SecretHeader>, ConnectorError> {
        let mut headers = Vec::with_capacity(definition.secret_headers.len());
        // Whatever a manifest says, a sign-in's secret, a variable's value or what is staged is never sent as a header.
        let is_header = |name: &&String| !is_of_sign_in(name) && !name.contains(':');
        for name in definition.secret_headers.iter().filter(is_header) {
            let key = CredentialKey::header(&definition.slug, name);
            let value = self.credentials.get(&key).await?.ok_or_else(|| ConnectorError::SignInRequired {
                slug: definition.slug.clone(),
                reason: Some(format!(
                    "the value of its header {name} is not in the {}; enter it again",
                    self.credentials.kind()
                )),
            })?;
            headers.push(SecretHeader { name: name.clone(), value });
        }
        Ok(headers)
    }
}
