//! One attempt to connect: from a definition to a catalogue.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::cell::Cell;
use super::shared::Shared;
use crate::authorizer::{Authorizer, SecretHeader, StaticHeaders};
use crate::client::{ClientOptions, ClientSignal, ConnectFailure, EraChoice, McpClient};
use crate::connector::Connector;
use crate::definition::ConnectorDefinition;
use crate::error::ConnectorError;
use crate::protocol::Era;
use crate::store::CredentialKey;
use crate::tool::ToolCatalog;
use crate::transport::{DialTarget, Dialer, InvalidDefinition};

/// A connection that has proved itself by listing its tools.
pub(super) struct Connected {
    pub(super) client: Arc<McpClient>,
    pub(super) signals: mpsc::Receiver<ClientSignal>,
    pub(super) catalog: ToolCatalog,
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
        &self,
        cell: &Cell,
        era: &mut EraChoice,
    ) -> Result<Connected, ConnectorError> {
        // The semaphore is never closed.
        let _permit = self.dials.acquire().await;
        let definition = cell.definition.load_full();
        let authorizer = self.authorizer(&definition).await?;
        let limit = self.limits.connect + self.limits.handshake;
        match tokio::time::timeout(limit, self.open(&definition, authorizer, era)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let what = "connecting and listing the tools".to_owned();
                Err(ConnectorError::TimedOut { slug: cell.slug.clone(), what, limit })
            }
        }
    }

    async fn open(
        &self,
        definition: &Arc<ConnectorDefinition>,
        authorizer: Arc<dyn Authorizer>,
        era: &mut EraChoice,
    ) -> Result<Connected, ConnectorError> {
        let mut attempt = self.negotiate(definition, &authorizer, *era).await;
        let again = match &attempt {
            Err(failure) if failure.died_of_probe() => Some(EraChoice::Legacy),
            // What is remembered no longer holds: the server may have been upgraded.
            Err(_) if *era == EraChoice::Legacy => Some(EraChoice::Probe),
            _ => None,
        };
        if let Some(other) = again {
            let second = self.negotiate(definition, &authorizer, other).await;
            // Of two failures the first is the one about the server as it usually is.
            if second.is_ok() || other == EraChoice::Legacy {
                attempt = second;
            }
        }
        let (client, signals) = attempt.map_err(ConnectFailure::into_error)?;
        *era = match client.session().era() {
            Era::Legacy => EraChoice::Legacy,
            Era::Modern => EraChoice::Probe,
        };
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
        definition: &Arc<ConnectorDefinition>,
        authorizer: &Arc<dyn Authorizer>,
        era: EraChoice,
    ) -> Result<(McpClient, mpsc::Receiver<ClientSignal>), ConnectFailure> {
        let target = DialTarget {
            definition: Arc::clone(definition),
            authorizer: Arc::clone(authorizer),
            limits: Arc::clone(&self.limits),
        };
        let transport = self
            .dialer(definition)?
            .dial(target)
            .await
            .map_err(|error| ConnectorError::from_transport(&definition.slug, error))?;
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

    async fn authorizer(
        &self,
        definition: &ConnectorDefinition,
    ) -> Result<Arc<dyn Authorizer>, ConnectorError> {
        let mut headers = Vec::with_capacity(definition.secret_headers.len());
        for name in &definition.secret_headers {
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
        Ok(Arc::new(StaticHeaders::new(headers)))
    }
}
