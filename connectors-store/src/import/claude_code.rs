//! Claude Code: servers of the user and of each project in its state file, and what is switched off where.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use connectors_core::import::{FileProblem, FoundFile};
use serde_json::Value;

use super::expand::Scope;
use super::{Opened, Read, decode, json, read_file};

const SERVERS: &str = "mcpServers";
/// What is switched off of a project's `.mcp.json`.
const OFF: &str = "disabledMcpjsonServers";
/// What is switched off in a project, whether the user, the project or its `.mcp.json` defines it.
const OFF_BY_NAME: &str = "disabledMcpServers";

/// The user's servers, then those of each project, and what is switched off of the projects' own files.
pub(super) fn read(opened: &Opened<'_>) -> Read {
    let document = match decode::jsonc(opened.bytes) {
        Ok(document) => document,
        Err(problem) => return Read::of(vec![opened.failed(problem)]),
    };
    let mut own = opened.file();
    own.connectors = json::servers(&document, SERVERS, opened.scope());
    own.problem = json::problem(&document, SERVERS).map(|problem| FileProblem { problem, position: None });
    let projects = document.get("projects").and_then(Value::as_object);
    let projects = || projects.into_iter().flatten();
    let key = |folder: &str| opened.locations.folder_key(folder);
    let here = opened.locations.working_dir().and_then(Path::to_str).map(key);
    for (_, project) in projects().filter(|(folder, _)| Some(key(folder)) == here) {
        switch_off(&mut own, &names(Some(project), OFF_BY_NAME));
    }
    let mut files = vec![own];
    for (folder, project) in projects() {
        let scope =
            Scope { folder: Some(Path::new(folder)).filter(|folder| folder.is_absolute()), ..opened.scope() };
        let connectors = json::servers(project, SERVERS, scope);
        if connectors.is_empty() {
            continue;
        }
        let mut file = opened.file();
        file.source = format!("{}#{folder}", file.source);
        file.project = Some(folder.clone());
        file.connectors = connectors;
        switch_off(&mut file, &names(Some(project), OFF_BY_NAME));
        files.push(file);
    }
    let mut off: HashMap<String, HashSet<String>> = HashMap::new();
    for (folder, project) in projects() {
        let of_folder = off.entry(key(folder)).or_default();
        // What is switched off while it runs is listed by name alone, wherever it is defined.
        of_folder.extend(names(Some(project), OFF));
        of_folder.extend(names(Some(project), OFF_BY_NAME));
    }
    Read { files, off }
}

/// What this file of settings switches off of a project's `.mcp.json`; nothing if it cannot be read.
pub(super) fn switched_off_by(settings: &Path) -> HashSet<String> {
    let document = || decode::jsonc(&read_file(settings).ok()??).ok();
    names(document().as_ref(), OFF)
}

fn names(value: Option<&Value>, member: &str) -> HashSet<String> {
    let names = value.and_then(|value| value.get(member)).and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// Switches off those of these names.
pub(super) fn switch_off(file: &mut FoundFile, off: &HashSet<String>) {
    for connector in file.connectors.iter_mut().filter(|connector| off.contains(&connector.name)) {
        connector.disabled = true;
    }
}
