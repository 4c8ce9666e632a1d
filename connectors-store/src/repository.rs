//! The repository that a folder is in.

use std::fs;
use std::path::Path;

/// The root of the git repository that `folder` is in, by its name: the nearest folder from there upwards with a `.git`, which may
/// be a folder, a file (a worktree, a submodule) or a link, wherever it leads. Blocks.
pub(crate) fn root(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| fs::symlink_metadata(folder.join(".git")).is_ok())
}
