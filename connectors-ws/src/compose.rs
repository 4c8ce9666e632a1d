//! Which siblings make up a manager: the only place that knows them.

use std::sync::Arc;

use connectors_core::ConnectorManager;
use connectors_core::gate::DenyConnectors;
use connectors_core::manager::ManagerBuilder;
use connectors_core::protocol::Implementation;
use connectors_store::{
    ClientFiles, Locations, ManifestStore, Paths, SecretsChoice, TeamFile, open_credentials,
};

use crate::dispatch::Dispatcher;

/// A start that cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state folder is not known.
    #[error(transparent)]
    Paths(#[from] connectors_store::PathsError),
    /// The place for secrets that was asked for cannot be used.
    #[error(transparent)]
    Credentials(#[from] connectors_core::CredentialError),
}

/// Starts a manager on the files of this user, with every wire that this build has, and returns its methods. Returns
/// before connectors are ready. With the feature `car-engine`, calls go through a runtime of their own.
///
/// A manifest that cannot be read does not fail the start: the manager is empty, says so, and refuses to write.
pub async fn start(secrets: SecretsChoice) -> Result<Dispatcher, StartError> {
    let dispatcher = ungoverned(secrets).await?;
    #[cfg(feature = "car-engine")]
    let dispatcher = {
        let governance = crate::car::Governance::start(dispatcher.manager().clone()).await;
        dispatcher.with_governance(governance)
    };
    Ok(dispatcher)
}

/// As [`start`], without a runtime: for hosts that have calls go through theirs
/// (`Dispatcher::with_governance`), or through none.
pub async fn ungoverned(secrets: SecretsChoice) -> Result<Dispatcher, StartError> {
    let paths = Paths::from_env()?;
    let credentials = open_credentials(secrets, &paths).await?;
    if credentials.warning {
        tracing::warn!("{}", credentials.notice);
    } else {
        tracing::info!("{}", credentials.notice);
    }
    let policy = Arc::new(DenyConnectors::default());
    let builder = ConnectorManager::builder()
        .with_config(Arc::new(ManifestStore::new(paths.manifest())))
        .with_credentials(credentials.store)
        .with_gate(Arc::<DenyConnectors>::clone(&policy))
        .with_input_by_event()
        .with_proposals(Arc::new(TeamFile::new(".", &paths)))
        .with_imports(Arc::new(ClientFiles::new(Locations::from_env())))
        .with_client_info(Implementation {
            name: "connectors".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: Some("Connectors".to_owned()),
        });
    let manager = with_wires(builder).start().await;
    Ok(Dispatcher::new(manager, policy).with_secrets(credentials.secrets))
}

/// Adds a dialer for every wire that is compiled in, and the sign-in that goes with it.
fn with_wires(builder: ManagerBuilder) -> ManagerBuilder {
    // First, because it serves only what asks for it.
    #[cfg(all(feature = "stdio", feature = "car-engine", target_os = "linux"))]
    let builder = builder.with_dialer(Arc::new(connectors_stdio::EngineDialer::new()));
    #[cfg(feature = "stdio")]
    let builder = builder.with_dialer(Arc::new(connectors_stdio::StdioDialer::new()));
    #[cfg(feature = "http")]
    let http = connectors_http::HttpStack::new();
    #[cfg(feature = "http")]
    let builder = builder.with_dialer(Arc::new(connectors_http::HttpDialer::on(&http)));
    #[cfg(all(feature = "http", feature = "oauth"))]
    let builder = builder.with_sign_in(Arc::new(connectors_oauth::OAuthProvider::new(http.client())));
    builder
}
