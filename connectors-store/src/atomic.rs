//! Replacing a file so that a crash at any point leaves the old or the new content, whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::NamedTempFile;

use crate::faults::{Step, reached};
use crate::lock::FileLock;

/// Most links that are followed to a file.
const MAX_LINKS: usize = 40;

/// Writes `contents` to `target` (mode 0600), durably. With `keep_previous` the file that was there stays beside it
/// as `NAME.bak`.
///
/// The caller holds the lock of `target`. After an error `target` is what it was.
pub(crate) fn replace(target: &Path, contents: &[u8], keep_previous: bool) -> io::Result<()> {
    replace_if(target, contents, keep_previous, || true).map(drop)
}

/// The same, unless `is_current` no longer holds when everything is ready, and says whether it was done: for files that some
/// write to without the lock.
pub(crate) fn replace_if(
    target: &Path,
    contents: &[u8],
    keep_previous: bool,
    is_current: impl Fn() -> bool,
) -> io::Result<bool> {
    let opened_folder = open_folder(folder_of(target))?;
    let temporary = write_beside(target, contents)?;
    if !is_current() {
        return Ok(false);
    }
    if keep_previous && let Err(error) = back_up(target) {
        tracing::debug!(%error, file = %target.display(), "the previous version could not be kept");
    }
    if !is_current() {
        return Ok(false);
    }
    temporary.persist(target).map_err(|error| error.error)?;
    // The new content is in place: an error from here would wrongly say that nothing has changed.
    let _ = reached(target, Step::Renamed);
    if let Some(folder) = opened_folder
        && let Err(error) = folder.sync_all()
    {
        tracing::warn!(%error, file = %target.display(), "the folder could not be synchronised to disk");
    }
    let _ = reached(target, Step::Durable);
    Ok(true)
}

/// Writes `contents` to `target` (mode 0600), durably, unless there is such a file: that is left as it is. Its folder has to
/// exist, and the caller holds its lock.
///
/// # Errors
///
/// Also where only the folder could not be synchronised: for what must not be relied on before it is durable.
#[cfg(feature = "vault")]
pub(crate) fn create(target: &Path, contents: &[u8]) -> io::Result<()> {
    let opened_folder = open_folder(folder_of(target))?;
    match write_beside(target, contents)?.persist_noclobber(target) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    reached(target, Step::Renamed)?;
    if let Some(folder) = opened_folder {
        folder.sync_all()?;
    }
    reached(target, Step::Durable)
}

/// A temporary file that holds `contents`, on the disk, by a name that [`leftovers`] finds.
fn write_beside(target: &Path, contents: &[u8]) -> io::Result<NamedTempFile> {
    let mut temporary = tempfile::Builder::new()
        .prefix(&temporary_prefix(target))
        .suffix(TEMPORARY_SUFFIX)
        .tempfile_in(folder_of(target))?;
    reached(target, Step::Created)?;
    temporary.write_all(contents)?;
    reached(target, Step::Written)?;
    temporary.as_file().sync_all()?;
    reached(target, Step::Synced)?;
    Ok(temporary)
}

/// Removes, once, the temporary files of processes that died while they wrote a file.
#[derive(Debug, Default)]
pub(crate) struct Sweep(AtomicBool);

impl Sweep {
    /// For whoever is about to read `target`, whose lock is `lock`: it is taken only if there is something to remove and nobody
    /// writes.
    pub(crate) fn before_reading(&self, target: &Path, lock: &Path) {
        if self.0.load(Ordering::Relaxed) {
            return;
        }
        match leftovers(target) {
            Ok(leftovers) if leftovers.is_empty() => self.0.store(true, Ordering::Relaxed),
            Ok(_) => {
                if let Ok(Some(_lock)) = FileLock::try_acquire(lock) {
                    self.under_lock(target);
                }
            }
            // There is no folder yet, or one that cannot be read.
            Err(error) => tracing::trace!(%error, "leftover temporary files were not looked for"),
        }
    }

    /// For whoever holds the lock of `target`.
    pub(crate) fn under_lock(&self, target: &Path) {
        if !self.0.swap(true, Ordering::Relaxed)
            && let Err(error) = remove_leftovers(target)
        {
            tracing::debug!(%error, file = %target.display(), "leftover temporary files could not be removed");
        }
    }
}

/// Removes the temporary files of processes that died while they wrote `target`. The caller holds its lock.
pub(crate) fn remove_leftovers(target: &Path) -> io::Result<()> {
    leftovers(target)?.iter().try_for_each(|path| remove_if_there(path))
}

/// The temporary files of those who write `target`, or died of it.
fn leftovers(target: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = temporary_prefix(target);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder_of(target))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(TEMPORARY_SUFFIX.as_bytes()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The file that a chain of symbolic links leads to; it need not exist.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.file_type().is_symlink() => {
                path = folder_of(&path).join(fs::read_link(&path)?);
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Creates the folder of `path`, readable by its owner alone, if it is missing, and durably: a file that is synchronised in it is
/// not lost with it.
pub(crate) fn create_folder_of(path: &Path) -> io::Result<()> {
    let folder = folder_of(path);
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    for created in missing.into_iter().rev() {
        if let Err(error) =
            open_folder(folder_of(created)).and_then(|above| above.map_or(Ok(()), |it| it.sync_all()))
        {
            tracing::debug!(%error, folder = %created.display(), "a new folder could not be synchronised to disk");
        }
    }
    Ok(())
}

/// `path` with `suffix` appended to its file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

const TEMPORARY_SUFFIX: &str = ".tmp";

fn temporary_prefix(target: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(target.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes all that earlier versions of `target` are in: the one that a [`replace`] has kept, and the temporary files of those
/// who died while they wrote, at any time before. The caller holds the lock of `target`.
pub(crate) fn remove_previous(target: &Path) -> io::Result<()> {
    remove_if_there(&beside(target, ".bak"))?;
    remove_leftovers(target)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A second link to the present file, which the rename that follows leaves alone: no copy, and never half written.
fn back_up(target: &Path) -> io::Result<()> {
    let mut link = temporary_prefix(target);
    link.push("bak");
    link.push(TEMPORARY_SUFFIX);
    let link = folder_of(target).join(link);
    remove_if_there(&link)?;
    match fs::hard_link(target, &link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Some file systems have no hard links. What is there is not given up for a copy that is not on the disk.
        Err(_) => {
            fs::copy(target, &link)?;
            File::options().write(true).open(&link)?.sync_all()?;
        }
        Ok(()) => {}
    }
    reached(target, Step::Linked)?;
    fs::rename(&link, beside(target, ".bak"))?;
    reached(target, Step::BackedUp)?;
    // Renaming one link of a file over another one of it does nothing.
    remove_if_there(&link)
}

#[cfg(unix)]
fn open_folder(folder: &Path) -> io::Result<Option<File>> {
    File::open(folder).map(Some)
}

/// Windows has no handle of a folder that could be synchronised; its rename is written through.
#[cfg(not(unix))]
fn open_folder(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_replaced_file_is_private_and_leaves_its_previous_version_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.json");
        for content in ["one", "two", "three"] {
            replace(&target, content.as_bytes(), true).unwrap();
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "three");
        assert_eq!(fs::read_to_string(beside(&target, ".bak")).unwrap(), "two");
        assert_eq!(names(folder.path()), ["x.json", "x.json.bak"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.json");
        fs::create_dir(&target).unwrap();
        replace(&target, b"new", false).unwrap_err();
        assert_eq!(names(folder.path()), ["x.json"]);
    }

    #[test]
    fn a_file_that_is_another_by_the_time_that_all_is_ready_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.json");
        fs::write(&target, "old").unwrap();
        for looks in 0..2_u32 {
            let left = std::cell::Cell::new(looks);
            let is_current = || left.replace(left.get().saturating_sub(1)) > 0;
            assert!(!replace_if(&target, b"new", false, is_current).unwrap());
            assert_eq!(
                (fs::read_to_string(&target).unwrap(), names(folder.path())),
                ("old".to_owned(), vec!["x.json".to_owned()])
            );
        }
        assert!(replace_if(&target, b"new", false, || true).unwrap());
    }

    #[test]
    fn only_temporary_files_of_the_same_target_are_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.json");
        for name in [".x.json.abc.tmp", ".x.json.bak.tmp", ".y.json.abc.tmp", "x.json", ".x.json.lock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_leftovers(&target).unwrap();
        assert_eq!(names(folder.path()), [".x.json.lock", ".y.json.abc.tmp", "x.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_a_file_that_need_not_exist_and_a_circle_is_an_error() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        symlink("b", path("a")).unwrap();
        symlink("c", path("b")).unwrap();
        assert_eq!(resolve(&path("a")).unwrap(), path("c"));
        symlink("d", path("d")).unwrap();
        resolve(&path("d")).unwrap_err();
    }
}
