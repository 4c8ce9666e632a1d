//! Claude Code: servers of the user and of each project in its state file, and what is switched off where.

use std::collections::HashSet;
use std::path::Path;

use connectors_core::import::{FileProblem, FoundFile};
use serde_json::Value;

use super::expand::Scope;
use super::{Opened, decode, json, read_file};
use crate::import::locations::Locations;

const SERVERS: &str = "mcpServers";

/// The user's servers, then those of each project.
pub(super) fn read(opened: &Opened<'_>) -> Vec<FoundFile> {
    let document = match decode::jsonc(opened.bytes) {
        Ok(document) => document,
        Err(problem) => return vec![opened.failed(problem)],
    };
    let mut own = opened.file();
    own.connectors = json::servers(&document, SERVERS, opened.scope());
    own.problem = json::problem(&document, SERVERS).map(|problem| FileProblem { problem, position: None });
    let here = opened.locations.working_dir().and_then(|folder| of_project(&document, folder));
    switch_off(&mut own, &names(here, "disabledMcpServers"));
    let mut files = vec![own];
    let projects = document.get("projects").and_then(Value::as_object);
    for (folder, project) in projects.into_iter().flatten() {
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
        switch_off(&mut file, &names(Some(project), "disabledMcpServers"));
        files.push(file);
    }
    files
}

/// Switches off what Claude Code has switched off of a project's `.mcp.json`.
pub(super) fn switch_off_shared(file: &mut FoundFile, folder: &Path, locations: &Locations) {
    const MEMBER: &str = "disabledMcpjsonServers";
    let document = |path: &Path| decode::jsonc(&read_file(path).ok()??).ok();
    let mut off = HashSet::new();
    if let Some(state) = locations.claude_state().and_then(|path| document(&path)) {
        off.extend(names(of_project(&state, folder), MEMBER));
    }
    let project = folder.join(".claude");
    let settings = [
        locations.claude_settings().map(|folder| folder.join("settings.json")),
        Some(project.join("settings.json")),
        Some(project.join("settings.local.json")),
    ];
    for settings in settings.into_iter().flatten().filter_map(|path| document(&path)) {
        off.extend(names(Some(&settings), MEMBER));
    }
    switch_off(file, &off);
}

fn of_project<'a>(document: &'a Value, folder: &Path) -> Option<&'a Value> {
    document.get("projects")?.get(folder.to_str()?)
}

fn names(value: Option<&Value>, member: &str) -> HashSet<String> {
    let names = value.and_then(|value| value.get(member)).and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn switch_off(file: &mut FoundFile, off: &HashSet<String>) {
    for connector in file.connectors.iter_mut().filter(|connector| off.contains(&connector.name)) {
        connector.disabled = true;
    }
}
