//! What other MCP clients have configured on this machine: an [`ImportSource`] on their files.
//!
//! One module a format (`json` for the many that share one, `claude_code`, `vscode`, `codex`, `goose`), which read into one
//! [`entry`]; `locations` knows where they lie, `decode` the three notations, `expand` the places that are filled in.

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
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use async_trait::async_trait;
use connectors_core::ImportSource;
use connectors_core::import::{FileProblem, FoundFile, Placeholder};

use self::expand::{Scope, Syntax};
use self::locations::Candidate;
pub use self::locations::{Client, Locations, Platform};

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// Most entries that are read of one file.
pub const MAX_ENTRIES: usize = 1000;

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
        let locations = self.locations.clone();
        match tokio::task::spawn_blocking(move || find(&locations)).await {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(%error, "the files of other clients could not be looked at");
                Vec::new()
            }
        }
    }
}

fn find(locations: &Locations) -> Vec<FoundFile> {
    locations.candidates().iter().flat_map(|candidate| look_at(candidate, locations)).collect()
}

fn look_at(candidate: &Candidate, locations: &Locations) -> Vec<FoundFile> {
    let Candidate { client, path, folder } = candidate;
    let opened = |bytes| Opened { client: *client, path, folder: folder.as_deref(), locations, bytes };
    match read_file(path) {
        Ok(Some(bytes)) => opened(&bytes).read(),
        Ok(None) => Vec::new(),
        Err(problem) => vec![opened(&[]).failed(FileProblem { problem, position: None })],
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
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(format!("it cannot be read: {error}")),
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(error),
    };
    // A pipe would keep us waiting.
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content)) {
        Ok(_) if content.len() as u64 > MAX_FILE => Err(format!("it is larger than {} MiB", MAX_FILE >> 20)),
        Ok(_) => Ok(Some(content)),
        Err(error) => unreadable(error),
    }
}

#[cfg(test)]
mod tests;
