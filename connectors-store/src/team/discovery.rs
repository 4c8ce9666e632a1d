//! Finding the team file of a working directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::repository;

/// Where it is in a folder.
const FOLDER: &str = ".car";
const NAME: &str = "connectors.toml";

/// What was found from a working directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The nearest team file.
    pub(super) file: Option<Candidate>,
    /// Where a nearest one may come to be, nearest first.
    pub(super) places: Vec<PathBuf>,
}

/// A file that is there under the name of a team file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its path, as the user knows it.
    pub(super) path: PathBuf,
    /// The folder that holds `.car`.
    pub(super) project: PathBuf,
    /// Where its bytes are, or why they are not looked at.
    pub(super) target: Result<PathBuf, String>,
}

/// Looks from `start` upwards to the root of the git repository that it is in; outside any repository, in `start` alone: a
/// file in a folder above is nothing that this folder's owner has put there. What lies in one of `state_roots` belongs to the
/// user and to no project.
pub(super) fn find(start: &Path, state_roots: &[PathBuf]) -> io::Result<Found> {
    let start = real(start)?;
    let state_roots: Vec<PathBuf> =
        state_roots.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
    let root = repository::root(&start).unwrap_or(&start);
    let mut found = Found::default();
    for folder in start.ancestors() {
        let own = folder.join(FOLDER);
        if !is_one_of(&own, &state_roots) {
            found.places.push(own.join(NAME));
            if found.file.is_none() {
                found.file = candidate(folder, &own.join(NAME), root, &state_roots);
            }
        }
        if folder == root {
            break;
        }
    }
    Ok(found)
}

fn candidate(folder: &Path, path: &Path, root: &Path, state_roots: &[PathBuf]) -> Option<Candidate> {
    let found = |target| Some(Candidate { path: path.to_owned(), project: folder.to_owned(), target });
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return None;
        }
        Err(error) => return found(Err(format!("it cannot be looked at: {error}"))),
    }
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) => return found(Err(format!("it cannot be followed: {error}"))),
    };
    if target.parent().is_some_and(|parent| is_one_of(parent, state_roots)) {
        return None;
    }
    let is_inside = fs::canonicalize(root).is_ok_and(|root| target.starts_with(root));
    if !is_inside {
        return found(Err("it is a link that leads out of the project".to_owned()));
    }
    found(Ok(target))
}

fn is_one_of(folder: &Path, roots: &[PathBuf]) -> bool {
    fs::canonicalize(folder).is_ok_and(|folder| roots.contains(&folder))
}

/// The folders above are those of the real one. On Windows, where canonical paths have a form that many programs do not take,
/// and links to folders are rare, those of the name.
fn real(folder: &Path) -> io::Result<PathBuf> {
    if cfg!(windows) { std::path::absolute(folder) } else { fs::canonicalize(folder) }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
