//! What other MCP clients have configured on this machine: an [`ImportSource`] on their files.
//!
//! One module a format (`json` for the many that share one, `claude_code`, `vscode`, `codex`, `goose`), which read into one
//! `entry`; `locations` knows where they lie, `decode` the three notations, `expand` the places that are filled in.

mod claude_code;
mod codex;
mod decode;
mod entry;
mod expand;
mod fields;
mod goose;
mod json;
mod locations;
mod mcp_remote;
mod vscode;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use connectors_core::ImportSource;
use connectors_core::import::{FileProblem, FoundFile, Placeholder};
use futures_util::{StreamExt, stream};

use self::expand::{Scope, Syntax};
use self::locations::Candidate;
pub use self::locations::{Client, Locations, Platform};
use crate::regular;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// Most entries that are read of one file.
pub const MAX_ENTRIES: usize = 1000;

/// How long a file is waited for: it may lie on a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many files are read at once.
const AT_ONCE: usize = 8;

/// The configuration files of other clients. They are read anew each time, and never written.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    locations: Locations,
}

impl ClientFiles {
    /// Those at these places.
    pub fn new(locations: Locations) -> Self {
        Self { locations }
    }
}

#[async_trait]
impl ImportSource for ClientFiles {
    async fn find(&self) -> Vec<FoundFile> {
        find(&self.locations, PATIENCE).await
    }
}

/// Waits for each file as long as `patience`; what one keeps from being read spoils no other.
async fn find(locations: &Locations, patience: Duration) -> Vec<FoundFile> {
    let of_places = locations.clone();
    let Some(candidates) = in_time(patience, move || of_places.candidates()).await else {
        tracing::error!("the places of other clients' files could not be looked at");
        return Vec::new();
    };
    let look = |candidate: Candidate| async move {
        let (to_read, of_values) = (candidate.clone(), locations.clone());
        let files = in_time(patience, move || look_at(&to_read, &of_values)).await;
        files.unwrap_or_else(|| {
            let problem = format!("it could not be read within {} s", patience.as_secs());
            vec![candidate.opened(&[], locations).failed(FileProblem { problem, position: None })]
        })
    };
    stream::iter(candidates).map(look).buffered(AT_ONCE).concat().await
}

/// What `work` gives, on a thread of its own; `None` if it takes too long or fails. It is not ended then, only left alone.
async fn in_time<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

fn look_at(candidate: &Candidate, locations: &Locations) -> Vec<FoundFile> {
    match read_file(&candidate.path) {
        Ok(Some(bytes)) => candidate.opened(&bytes, locations).read(),
        Ok(None) => Vec::new(),
        Err(problem) => {
            vec![candidate.opened(&[], locations).failed(FileProblem { problem, position: None })]
        }
    }
}

impl Candidate {
    fn opened<'a>(&'a self, bytes: &'a [u8], locations: &'a Locations) -> Opened<'a> {
        let Self { client, path, folder } = self;
        Opened { client: *client, path, folder: folder.as_deref(), locations, bytes }
    }
}

/// What a file of `client` with this content defines. For those who have the content from elsewhere, and for tests.
///
/// Panics for no content. `path` is where it is said to be, `locations` what its values may refer to.
pub fn read(client: Client, path: &Path, content: &[u8], locations: &Locations) -> Vec<FoundFile> {
    Opened { client, path, folder: None, locations, bytes: content }.read()
}

/// A file that has been read.
struct Opened<'a> {
    client: Client,
    path: &'a Path,
    /// The folder of its project.
    folder: Option<&'a Path>,
    locations: &'a Locations,
    bytes: &'a [u8],
}

impl<'a> Opened<'a> {
    /// Files, and parts of files, that define something or cannot be understood.
    fn read(&self) -> Vec<FoundFile> {
        let mut files = match self.client {
            Client::ClaudeCode => claude_code::read(self),
            Client::VsCode => vscode::read(self),
            Client::VsCodeSettings => vscode::read_settings(self),
            Client::Codex => codex::read(self),
            Client::Goose => goose::read(self),
            Client::McpJson | Client::ClaudeDesktop | Client::Cursor | Client::Windsurf => self.read_shared(),
        };
        let mut left = MAX_ENTRIES;
        for file in &mut files {
            if file.connectors.len() > left {
                file.connectors.truncate(left);
                let problem = format!("it defines very many servers; only the first {MAX_ENTRIES} are read");
                file.problem = Some(FileProblem { problem, position: None });
            }
            left -= file.connectors.len();
        }
        files.retain(|file| file.problem.is_some() || !file.connectors.is_empty());
        files
    }

    /// The format that most clients share.
    fn read_shared(&self) -> Vec<FoundFile> {
        const SERVERS: &str = "mcpServers";
        let document = match decode::jsonc(self.bytes) {
            Ok(document) => document,
            Err(problem) => return vec![self.failed(problem)],
        };
        let mut file = self.file();
        file.connectors = json::servers(&document, SERVERS, self.scope());
        file.problem =
            json::problem(&document, SERVERS).map(|problem| FileProblem { problem, position: None });
        if let (Client::McpJson, Some(folder)) = (self.client, self.folder) {
            claude_code::switch_off_shared(&mut file, folder, self.locations);
        }
        vec![file]
    }

    fn scope(&self) -> Scope<'a> {
        static NONE: BTreeMap<String, Placeholder> = BTreeMap::new();
        let syntax = match self.client {
            Client::McpJson | Client::ClaudeCode => Syntax::Braces,
            Client::ClaudeDesktop | Client::Codex => Syntax::Plain,
            Client::VsCode | Client::VsCodeSettings | Client::Cursor | Client::Windsurf => Syntax::Editor,
            Client::Goose => Syntax::Dollar,
        };
        Scope { syntax, locations: self.locations, folder: self.folder, inputs: &NONE, own: &[] }
    }

    fn file(&self) -> FoundFile {
        let path = self.path.to_string_lossy();
        let mut file =
            FoundFile::new(format!("{}:{path}", self.client.name()), self.client.name(), path.clone());
        file.project = self.folder.map(|folder| folder.to_string_lossy().into_owned());
        file
    }

    fn failed(&self, problem: FileProblem) -> FoundFile {
        let mut file = self.file();
        file.problem = Some(problem);
        file
    }
}

/// The content of a file, whatever links lead to it; `None` if there is none. The problem otherwise.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match regular::read(path, MAX_FILE) {
        Ok(Some(content)) => Ok(Some(content)),
        Ok(None) => Err(format!("it is larger than {} MiB", MAX_FILE >> 20)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            io::ErrorKind::InvalidInput => Err("it is not a file".to_owned()),
            // Windows does not open folders.
            _ if path.is_dir() => Err("it is not a file".to_owned()),
            _ => Err(format!("it cannot be read: {error}")),
        },
    }
}

#[cfg(test)]
mod tests;
