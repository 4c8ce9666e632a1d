//! The repository that a folder is in.

use std::fs;
use std::path::Path;

/// The root of the git repository that `folder` is in, by its name: the nearest folder from there upwards with a `.git`, which may
/// be a folder, a file (a worktree, a submodule) or a link, wherever it leads. Blocks.
///
/// `None` where that `.git` is another user's: in a folder like `/tmp` anybody can put one above everybody's.
pub(crate) fn root(folder: &Path) -> Option<&Path> {
    let (root, git) =
        folder.ancestors().find_map(|root| Some((root, fs::symlink_metadata(root.join(".git")).ok()?)))?;
    is_trusted(&git, folder).then_some(root)
}

/// True for what belongs to whom `folder` belongs to, or to the administrator.
#[cfg(unix)]
fn is_trusted(git: &fs::Metadata, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    git.uid() == 0 || fs::metadata(folder).is_ok_and(|folder| folder.uid() == git.uid())
}

/// Folders that all can write to are rare here.
#[cfg(not(unix))]
fn is_trusted(_git: &fs::Metadata, _folder: &Path) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::lchown;

    use super::*;

    #[test]
    fn a_repository_that_another_user_has_put_above_a_folder_is_none() {
        let above = tempfile::tempdir().unwrap();
        let (git, folder) = (above.path().join(".git"), above.path().join("mine"));
        fs::create_dir(&folder).unwrap();
        assert_eq!(root(&folder), None);
        fs::create_dir(&git).unwrap();
        assert_eq!(root(&folder), Some(above.path()));
        match lchown(&git, Some(12_345), None) {
            Ok(()) => assert_eq!(root(&folder), None),
            // Only the administrator can give things away.
            Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied),
        }
    }
}
