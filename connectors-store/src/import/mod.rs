//! What other MCP clients have configured on this machine: an [`ImportSource`] on their files.
//!
//! One module a format (`json` for the many that share one, `claude_code`, `vscode`, `codex`, `goose`), which read into one
//! `entry`; `locations` knows where they lie, `decode` the three notations, `expand` the places that are filled in. `look` goes
//! through them all, or to one, with `jobs` that wait for no disk longer than that is worth.

mod claude_code;
mod codex;
mod decode;
mod entry;
mod expand;
mod fields;
mod goose;
mod jobs;
mod json;
mod locations;
mod look;
mod mcp_remote;
mod vscode;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

use async_trait::async_trait;
use connectors_core::ImportSource;
use connectors_core::import::{FileProblem, FoundFile, Placeholder};

use self::expand::{Scope, Syntax};
use self::jobs::Jobs;
use self::locations::Candidate;
pub use self::locations::{Client, Locations, Platform};
use self::look::Look;
use crate::regular;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// Most entries that are read of one file.
pub const MAX_ENTRIES: usize = 1000;

/// The configuration files of other clients. They are read anew each time, and never written.
///
/// Each file is waited for a few seconds, on a thread for blocking work; a clone shares the limit of those with what it was cloned
/// from.
#[derive(Debug, Clone)]
pub struct ClientFiles {
    locations: Locations,
    jobs: Jobs,
}

impl ClientFiles {
    /// Those at these places.
    pub fn new(locations: Locations) -> Self {
        Self { locations, jobs: Jobs::default() }
    }
}

#[async_trait]
impl ImportSource for ClientFiles {
    async fn find(&self) -> Vec<FoundFile> {
        Look::new(&self.locations, &self.jobs).all().await
    }

    async fn find_one(&self, source: &str) -> Option<FoundFile> {
        Look::new(&self.locations, &self.jobs).one(source).await
    }
}

/// What is in a file.
#[derive(Debug, Default)]
struct Read {
    files: Vec<FoundFile>,
    /// What Claude Code has switched off of the `.mcp.json` of each project, by the key of its folder.
    off: HashMap<String, HashSet<String>>,
}

impl Read {
    fn of(files: Vec<FoundFile>) -> Self {
        Self { files, off: HashMap::new() }
    }
}

fn look_at(candidate: &Candidate, locations: &Locations) -> Read {
    match read_file(&candidate.path) {
        Ok(Some(bytes)) => candidate.opened(&bytes, locations).read(),
        Ok(None) => Read::default(),
        Err(problem) => {
            let problem = FileProblem { problem, position: None };
            Read::of(vec![candidate.opened(&[], locations).failed(problem)])
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
    Opened { client, path, folder: None, locations, bytes: content }.read().files
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
    fn read(&self) -> Read {
        let mut read = match self.client {
            Client::ClaudeCode => claude_code::read(self),
            Client::VsCode => Read::of(vscode::read(self)),
            Client::VsCodeSettings => Read::of(vscode::read_settings(self)),
            Client::Codex => Read::of(codex::read(self)),
            Client::Goose => Read::of(goose::read(self)),
            Client::McpJson | Client::ClaudeDesktop | Client::Cursor | Client::Windsurf => {
                Read::of(self.read_shared())
            }
        };
        let mut left = MAX_ENTRIES;
        for file in &mut read.files {
            if file.connectors.len() > left {
                file.connectors.truncate(left);
                let problem = format!("it defines very many servers; only the first {MAX_ENTRIES} are read");
                file.problem = Some(FileProblem { problem, position: None });
            }
            left -= file.connectors.len();
        }
        read.files.retain(|file| file.problem.is_some() || !file.connectors.is_empty());
        read
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
