//! A look at what is on the machine now.

use std::collections::HashSet;
use std::path::Path;

use connectors_core::import::FoundFile;
use futures_util::future::join;
use futures_util::{StreamExt, stream};
use tokio::sync::OnceCell;

use super::claude_code;
use super::jobs::Jobs;
use super::locations::{Candidate, Client, Locations, Place};
use super::{Read, look_at};

/// How many places are looked at at once.
const AT_ONCE: usize = 16;

/// One look. What concerns several files is read once for all of them.
pub(super) struct Look<'a> {
    locations: &'a Locations,
    jobs: &'a Jobs,
    /// The state file of Claude Code; `None` if it did not come in time.
    claude_state: OnceCell<Option<Read>>,
    /// What the user's settings of Claude Code switch off; `None` likewise.
    claude_settings: OnceCell<Option<HashSet<String>>>,
}

/// What a place comes to.
enum Listed {
    File(Candidate),
    Failed(FoundFile),
}

impl<'a> Look<'a> {
    pub(super) fn new(locations: &'a Locations, jobs: &'a Jobs) -> Self {
        Self { locations, jobs, claude_state: OnceCell::new(), claude_settings: OnceCell::new() }
    }

    /// Every file, each once. What one keeps from being read spoils no other.
    pub(super) async fn all(&self) -> Vec<FoundFile> {
        let list = |place: Place| async move { self.list(&place).await };
        let listed = stream::iter(self.locations.places()).map(list).buffered(AT_ONCE);
        let mut listed: Vec<Listed> = listed.concat().await;
        let mut seen = HashSet::new();
        listed.retain(|listed| match listed {
            Listed::File(candidate) => seen.insert(candidate.path.clone()),
            Listed::Failed(_) => true,
        });
        let read = |listed: Listed| async move {
            match listed {
                Listed::File(candidate) => self.read(&candidate).await,
                Listed::Failed(file) => vec![file],
            }
        };
        stream::iter(listed).map(read).buffered(AT_ONCE).concat().await
    }

    /// The one that `source` names. No other client's files are read for it.
    pub(super) async fn one(&self, source: &str) -> Option<FoundFile> {
        let places = self.locations.places();
        // Most are known without a look at any folder.
        for candidate in places.iter().flat_map(Place::sure_candidates) {
            if let Some(file) = self.read_if(&candidate, source).await {
                return Some(file);
            }
        }
        let may_hold = |place: &&Place| match place {
            Place::File(_) => false,
            Place::Profiles(folder) | Place::Packages(folder) => source.contains(&*folder.to_string_lossy()),
            Place::Project(_) => true,
        };
        for place in places.iter().filter(may_hold) {
            for listed in self.list(place).await {
                if let Listed::File(candidate) = listed
                    && let Some(file) = self.read_if(&candidate, source).await
                {
                    return Some(file);
                }
            }
        }
        None
    }

    /// What `source` names, if that is in this file.
    async fn read_if(&self, candidate: &Candidate, source: &str) -> Option<FoundFile> {
        let whole = candidate.opened(&[], self.locations).file().source;
        let part = source.strip_prefix(&whole)?;
        if !part.is_empty() && !part.starts_with('#') {
            return None;
        }
        let mut files = self.read(candidate).await;
        let is_failed = |file: &FoundFile| file.problem.is_some() && file.connectors.is_empty();
        // What cannot be read has no parts.
        let at = files.iter().position(|file| file.source == source);
        let at = at.or_else(|| files.iter().position(is_failed))?;
        Some(files.swap_remove(at))
    }

    async fn list(&self, place: &Place) -> Vec<Listed> {
        let (client, folder) = match place {
            Place::File(candidate) => return vec![Listed::File(candidate.clone())],
            Place::Profiles(folder) => (Client::VsCode, folder),
            Place::Packages(folder) => (Client::ClaudeDesktop, folder),
            Place::Project(folder) => (Client::McpJson, folder),
        };
        let to_list = place.clone();
        let (candidates, failed) = match self.jobs.run(folder, move || to_list.candidates()).await {
            Some(candidates) => (candidates, None),
            None => {
                let of_place = Candidate { client, path: folder.clone(), folder: None };
                let problem = self.jobs.problem("what is in it, or around it,");
                (place.sure_candidates(), Some(of_place.opened(&[], self.locations).failed(problem)))
            }
        };
        let files = candidates.into_iter().map(Listed::File);
        failed.map(Listed::Failed).into_iter().chain(files).collect()
    }

    async fn read(&self, candidate: &Candidate) -> Vec<FoundFile> {
        let files = match candidate.client {
            Client::ClaudeCode => self.claude_state().await.map(|read| read.files.clone()),
            _ => self.read_now(candidate).await.map(|read| read.files),
        };
        let Some(mut files) = files else {
            return vec![candidate.opened(&[], self.locations).failed(self.jobs.problem("it"))];
        };
        if let (Client::McpJson, Some(folder)) = (candidate.client, &candidate.folder) {
            for file in files.iter_mut().filter(|file| !file.connectors.is_empty()) {
                self.switch_off(file, folder).await;
            }
        }
        files
    }

    async fn read_now(&self, candidate: &Candidate) -> Option<Read> {
        let (to_read, locations) = (candidate.clone(), self.locations.clone());
        self.jobs.run(&candidate.path, move || look_at(&to_read, &locations)).await
    }

    async fn claude_state(&self) -> Option<&Read> {
        let read = async || {
            let Some(path) = self.locations.claude_state() else { return Some(Read::default()) };
            self.read_now(&Candidate { client: Client::ClaudeCode, path, folder: None }).await
        };
        self.claude_state.get_or_init(read).await.as_ref()
    }

    async fn claude_settings(&self) -> Option<&HashSet<String>> {
        let read = async || {
            let Some(folder) = self.locations.claude_settings() else { return Some(HashSet::new()) };
            self.settings(&folder.join("settings.json")).await
        };
        self.claude_settings.get_or_init(read).await.as_ref()
    }

    /// What one file of settings of Claude Code switches off.
    async fn settings(&self, path: &Path) -> Option<HashSet<String>> {
        let to_read = path.to_owned();
        self.jobs.run(path, move || claude_code::switched_off_by(&to_read)).await
    }

    /// Switches off what Claude Code has switched off of a project's `.mcp.json`. What of that cannot be had in time is said.
    async fn switch_off(&self, file: &mut FoundFile, folder: &Path) {
        let own = folder.join(".claude");
        let (shared, local) = (own.join("settings.json"), own.join("settings.local.json"));
        let of_project = join(self.settings(&shared), self.settings(&local));
        let of_user = join(self.claude_state(), self.claude_settings());
        let ((shared, local), (state, settings)) = join(of_project, of_user).await;
        let nothing = HashSet::new();
        let key = folder.to_str().map(|folder| self.locations.folder_key(folder));
        let state = state.map(|read| key.as_ref().and_then(|key| read.off.get(key)).unwrap_or(&nothing));
        for off in [state, settings, shared.as_ref(), local.as_ref()] {
            match off {
                Some(off) => claude_code::switch_off(file, off),
                None => {
                    let problem = || self.jobs.problem("what Claude Code has switched off of it");
                    file.problem.get_or_insert_with(problem);
                }
            }
        }
    }
}
