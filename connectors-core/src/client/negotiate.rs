//! Finding the version that both sides speak.
//!
//! Modern first; `initialize` where the server cleanly does not support it (2026-07-28, versioning, backward
//! compatibility). An error that says anything else (a refusal of the credentials, TLS, a redirect, an answer that is not
//! MCP) is never taken for "not supported": that is how a downgrade attack looks.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Inner;
use super::failure::{ConnectFailure, Failure};
use super::options::EraChoice;
use super::request::{Deadline, Request};
use crate::connector::SessionInfo;
use crate::error::{ConnectorError, TransportError};
use crate::protocol::{Era, Implementation, ProtocolVersion, code, key};

/// How long a process may take to answer the probe before `initialize` is tried beside it.
const PROCESS_PROBE: Duration = Duration::from_secs(3);

/// HTTP statuses that a server which does not know the modern era answers with.
const NOT_SUPPORTED: [u16; 5] = [400, 404, 405, 406, 415];

#[derive(Serialize)]
struct NoParams {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult {
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default, rename = "_meta")]
    meta: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeParams<'a> {
    protocol_version: &'static str,
    capabilities: &'a Value,
    client_info: &'a Implementation,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    server_info: Option<Implementation>,
    #[serde(default)]
    instructions: Option<String>,
}

/// What the probe has shown.
enum Probe {
    Modern(SessionInfo),
    Legacy,
}

/// The session of a client that has none yet.
pub(super) fn not_yet() -> SessionInfo {
    SessionInfo {
        version: ProtocolVersion::LATEST,
        server: None,
        capabilities: Value::Null,
        instructions: None,
        limitations: &[],
    }
}

impl Inner {
    pub(super) async fn negotiate(&self) -> Result<(), ConnectFailure> {
        let session = match self.options.era {
            EraChoice::Legacy => self.initialize().await.map_err(|failure| self.failed(failure))?,
            EraChoice::Probe if self.traits.is_process => self.probe_process().await?,
            EraChoice::Probe => match self.probe().await.map_err(|failure| self.failed(failure))? {
                Probe::Modern(session) => session,
                Probe::Legacy => self.initialize().await.map_err(|failure| self.failed(failure))?,
            },
        };
        self.opened(session);
        Ok(())
    }

    fn opened(&self, mut session: SessionInfo) {
        session.limitations = self.transport.limitations();
        tracing::debug!(slug = %self.options.slug, version = %session.version, "session opened");
        self.session.store(Arc::new(session));
        self.opened.fetch_add(1, Ordering::Release);
    }

    /// Probes a process. A legacy server may answer with any error, not at all, or by dying.
    async fn probe_process(&self) -> Result<SessionInfo, ConnectFailure> {
        let mut probe = pin!(self.probe());
        let probed = match tokio::time::timeout(PROCESS_PROBE, &mut probe).await {
            Ok(probed) => probed,
            Err(_) => {
                // Silent, or slow to start: whichever answers first decides.
                let mut initialize = pin!(self.initialize());
                tokio::select! {
                    biased;
                    probed = &mut probe => match probed {
                        Ok(Probe::Modern(session)) => return Ok(session),
                        Ok(Probe::Legacy) | Err(_) => return self.finish(initialize).await,
                    },
                    initialized = &mut initialize => match initialized {
                        Ok(session) => return Ok(session),
                        // A modern server refuses `initialize`; its answer to the probe is on its way.
                        Err(Failure::Rpc(_)) => probe.await,
                        Err(failure) => return Err(self.failed(failure)),
                    },
                }
            }
        };
        match probed {
            Ok(Probe::Modern(session)) => Ok(session),
            Ok(Probe::Legacy) => self.finish(self.initialize()).await,
            Err(Failure::Transport(error @ TransportError::Closed { .. })) => {
                Err(ConnectFailure::of_probe(ConnectorError::from_transport(&self.options.slug, error)))
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    async fn finish(
        &self,
        initialize: impl Future<Output = Result<SessionInfo, Failure>>,
    ) -> Result<SessionInfo, ConnectFailure> {
        initialize.await.map_err(|failure| self.failed(failure))
    }

    /// `server/discover` in the modern era.
    async fn probe(&self) -> Result<Probe, Failure> {
        let mut version = ProtocolVersion::LATEST;
        let mut retried = false;
        loop {
            match self.handshake_request("server/discover", &NoParams {}, Some(version)).await {
                Ok(result) => return self.discovered(&result),
                Err(Failure::Rpc(error)) if error.code == code::UNSUPPORTED_PROTOCOL_VERSION => {
                    let supported = supported_versions(error.data.as_deref());
                    match newest_modern(&supported) {
                        // Even the version that was refused: a server may refuse the first request whatever it is.
                        Some(offered) if !retried => {
                            retried = true;
                            version = offered;
                        }
                        None if supported.iter().any(|v| ProtocolVersion::parse(v).is_some()) => {
                            return Ok(Probe::Legacy);
                        }
                        _ => return Err(Failure::Rpc(error)),
                    }
                }
                Err(failure) if self.means_legacy(&failure) => return Ok(Probe::Legacy),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn discovered(&self, result: &RawValue) -> Result<Probe, Failure> {
        // Some legacy servers answer every method with an empty result.
        let Ok(discovered) = serde_json::from_str::<DiscoverResult>(result.get()) else {
            return Ok(Probe::Legacy);
        };
        match newest_modern(&discovered.supported_versions) {
            Some(version) => Ok(Probe::Modern(SessionInfo {
                version,
                server: discovered
                    .meta
                    .get(key::SERVER_INFO)
                    .and_then(|info| serde_json::from_value(info.clone()).ok()),
                capabilities: discovered.capabilities,
                instructions: discovered.instructions,
                limitations: &[],
            })),
            None if discovered.supported_versions.iter().any(|v| ProtocolVersion::parse(v).is_some()) => {
                Ok(Probe::Legacy)
            }
            None => Err(malformed("the server speaks no version of MCP that this client speaks")),
        }
    }

    /// True for a clean "I do not know this", and nothing else.
    fn means_legacy(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Rpc(error) => {
                ![code::HEADER_MISMATCH, code::MISSING_CLIENT_CAPABILITY].contains(&error.code)
            }
            Failure::Transport(TransportError::Status { status, .. }) => NOT_SUPPORTED.contains(status),
            Failure::Transport(TransportError::SessionExpired) => true,
            Failure::Transport(_) | Failure::TimedOut { .. } => false,
        }
    }

    /// The handshake of the legacy era (2025-11-25, lifecycle).
    async fn initialize(&self) -> Result<SessionInfo, Failure> {
        let params = InitializeParams {
            protocol_version: ProtocolVersion::LATEST_LEGACY.as_str(),
            capabilities: &self.capabilities,
            client_info: &self.options.info,
        };
        let result = self.handshake_request("initialize", &params, None).await?;
        let result: InitializeResult = serde_json::from_str(result.get())
            .map_err(|_| malformed("the answer to initialize names no protocol version"))?;
        let version = ProtocolVersion::parse(&result.protocol_version)
            .filter(|version| version.era() == Era::Legacy)
            .ok_or_else(|| {
                malformed("the server wants a protocol version that this client does not speak")
            })?;
        self.notify("notifications/initialized", Value::Object(serde_json::Map::new()), version).await?;
        Ok(SessionInfo {
            version,
            server: result.server_info,
            capabilities: result.capabilities,
            instructions: result.instructions,
            limitations: &[],
        })
    }

    async fn handshake_request<P: Serialize + Sync>(
        &self,
        method: &'static str,
        params: &P,
        version: Option<ProtocolVersion>,
    ) -> Result<Box<RawValue>, Failure> {
        let limit = self.options.limits.handshake;
        self.request(Request::new(method, params, version, Deadline::starting_now(limit, limit))).await
    }

    /// The session's number, to tell whether it has been opened again since.
    pub(super) fn epoch(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Opens a new session in place of the one numbered `expired`, once for all who ask.
    pub(super) async fn reopen(&self, expired: u64) -> Result<(), Failure> {
        let _once = self.reopening.lock().await;
        if self.epoch() == expired {
            let session = self.initialize().await?;
            self.opened(session);
            self.subscribe_again().await;
            // What changed between the sessions was announced in neither.
            self.signal_gap();
        }
        Ok(())
    }

    /// Runs `exchange` in the session, and once more in a new one if the server has ended it.
    pub(super) async fn in_session<F>(
        &self,
        exchange: impl Fn(ProtocolVersion) -> F,
    ) -> Result<Box<RawValue>, ConnectorError>
    where
        F: Future<Output = Result<Box<RawValue>, Failure>>,
    {
        let epoch = self.epoch();
        let version = self.session.load().version;
        let outcome = match exchange(version).await {
            Err(Failure::Transport(TransportError::SessionExpired)) if version.era() == Era::Legacy => {
                match self.reopen(epoch).await {
                    Ok(()) => exchange(self.session.load().version).await,
                    Err(failure) => Err(failure),
                }
            }
            outcome => outcome,
        };
        outcome.map_err(|failure| failure.into_error(&self.options.slug))
    }

    fn failed(&self, failure: Failure) -> ConnectFailure {
        failure.into_error(&self.options.slug).into()
    }
}

fn malformed(problem: &str) -> Failure {
    Failure::Transport(TransportError::Malformed(problem.to_owned()))
}

fn supported_versions(data: Option<&RawValue>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Data {
        supported: Vec<String>,
    }
    data.and_then(|data| serde_json::from_str::<Data>(data.get()).ok())
        .map(|data| data.supported)
        .unwrap_or_default()
}

fn newest_modern(versions: &[String]) -> Option<ProtocolVersion> {
    versions.iter().filter_map(|v| ProtocolVersion::parse(v)).filter(|v| v.era() == Era::Modern).max()
}
