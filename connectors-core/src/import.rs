//! The border to what other MCP clients have configured on this machine: found, shown, and taken over.
//!
//! An [`ImportSource`] reads the files; what a value needs before it can be used, and where secrets go, is decided here, once
//! for all formats. Nothing is dialled or started to find out what there is.

mod draft;
mod fingerprint;
mod plan;
mod template;
mod view;

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::Serialize;

pub(crate) use self::fingerprint::fingerprint;
pub(crate) use self::plan::{Destination, Refusal, plan};
pub use self::template::{Part, Placeholder, Template};
pub use self::view::{ImportableConnector, ImportableFile, WantedValue};
pub use crate::manager::is_set_by_connection;
use crate::view::ConnectorStatus;

/// Finds the configuration files of other MCP clients.
///
/// Implemented by `connectors-store`; used by [`ConnectorManager`](crate::ConnectorManager).
///
/// *Errors.* A file that cannot be read or understood is part of the answer, with what is wrong with it, and spoils no other;
/// the same holds for an entry of a file. *Concurrency.* Any number of calls at once. *Cancellation.* Nothing is ever written.
/// *Latency.* Bounded by the files' sizes; async threads are not blocked.
#[async_trait]
pub trait ImportSource: Send + Sync + 'static {
    /// What there is now: files that define servers, and files that should but cannot be understood.
    async fn find(&self) -> Vec<FoundFile>;

    /// The one that [`FoundFile::source`] names, as it is now, or why it cannot be read; `None` if there is none. Provided by way of
    /// [`find`](Self::find): a source that has to wait for its files should read this one alone.
    async fn find_one(&self, source: &str) -> Option<FoundFile> {
        self.find().await.into_iter().find(|file| file.source == source)
    }
}

// Not made of the trait as it is: what is provided is to work without an expectation.
#[cfg(feature = "mock")]
mockall::mock! {
    /// A scripted [`ImportSource`]: `find` alone is expected to be called.
    #[derive(Debug)]
    pub ImportSource {}

    #[async_trait]
    impl ImportSource for ImportSource {
        async fn find(&self) -> Vec<FoundFile>;
    }
}

/// One file, or one part of a file, with the servers that it defines.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundFile {
    /// Names it, as long as it lies where it lies.
    pub source: String,
    /// Whose file it is: `claude_code`, `codex`, ...
    pub client: &'static str,
    /// Where it is.
    pub path: String,
    /// The project that this part of the file is for.
    pub project: Option<String>,
    /// What is wrong with the whole file.
    pub problem: Option<FileProblem>,
    /// Its servers, in the order of the file.
    pub connectors: Vec<FoundConnector>,
}

impl FoundFile {
    /// A file without servers.
    pub fn new(source: impl Into<String>, client: &'static str, path: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            client,
            path: path.into(),
            project: None,
            problem: None,
            connectors: Vec::new(),
        }
    }
}

/// Why a file cannot be used, or not all of it. Repeats nothing of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// One sentence.
    pub problem: String,
    /// The line and the column, from 1, where they are known.
    pub position: Option<(usize, usize)>,
}

/// One server, as a file defines it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FoundConnector {
    /// Its name in the file.
    pub name: String,
    /// Where it leads; `None` where the file does not say it in a way that can be used.
    pub endpoint: Option<FoundEndpoint>,
    /// True if the client has it switched off.
    pub disabled: bool,
    /// Why it cannot be taken over. Repeats no value.
    pub problem: Option<String>,
    /// What the user should know when it is taken over. Repeats no value.
    pub notes: Vec<String>,
}

impl FoundConnector {
    /// A server that leads to `endpoint`.
    pub fn new(name: impl Into<String>, endpoint: FoundEndpoint) -> Self {
        Self {
            name: name.into(),
            endpoint: Some(endpoint),
            disabled: false,
            problem: None,
            notes: Vec::new(),
        }
    }

    /// An entry that cannot be taken over.
    pub fn unusable(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint: None,
            disabled: false,
            problem: Some(problem.into()),
            notes: Vec::new(),
        }
    }
}

/// The two ways to reach a server, with values as the file gives them.
#[derive(Debug, Clone)]
pub enum FoundEndpoint {
    /// A remote server.
    Http {
        /// The MCP endpoint.
        url: Template,
        /// Headers; every value is taken for a secret.
        headers: Vec<(String, Template)>,
    },
    /// A local process.
    Stdio {
        /// The executable.
        command: Template,
        /// Its arguments.
        args: Vec<Template>,
        /// Its variables; which of them are secrets is decided by their values.
        env: Vec<(String, Template)>,
        /// The folder that it is started in, where the file or the place of the file says so.
        cwd: Option<Template>,
    },
}

/// What the user takes over from one source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportRequest {
    /// [`FoundFile::source`].
    pub source: String,
    /// The names of the entries; all if `None`.
    pub names: Option<Vec<String>>,
    /// [`ImportableConnector::hash`] of the entries that the user has seen, by name. An entry that is another, or that is not
    /// among them, is left out. Nothing is compared if `None`.
    pub hashes: Option<BTreeMap<String, String>>,
    /// Values for what the entries want, by name. Secrets.
    pub values: BTreeMap<String, SecretString>,
    /// True to add a connector although there is one that leads to the same place.
    pub again: bool,
    /// True to keep what looks like a secret in a URL or an argument where it is, so that it is in the settings in the clear.
    pub allow_plain_secrets: bool,
}

impl ImportRequest {
    /// Everything in `source` that is not there yet.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            names: None,
            hashes: None,
            values: BTreeMap::new(),
            again: false,
            allow_plain_secrets: false,
        }
    }
}

/// What became of an import, entry by entry.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportOutcome {
    /// The new connectors.
    pub imported: Vec<ConnectorStatus>,
    /// The entries that were left out.
    pub skipped: Vec<SkippedImport>,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SkippedImport {
    /// Its name in the file.
    pub name: String,
    /// Why, and what can be done about it.
    pub reason: String,
}

/// Longest name that is shown, in bytes.
const MAX_NAME: usize = 200;
/// Longest other text that is shown, in bytes.
const MAX_TEXT: usize = 2 << 10;

/// A name out of a file, fit for display. Entries are chosen by it.
pub(crate) fn shown_name(name: &str) -> String {
    crate::text::display(name, MAX_NAME)
}

#[cfg(test)]
mod tests;
