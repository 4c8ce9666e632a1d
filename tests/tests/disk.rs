//! Disks that are full, and folders that cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use connectors_tests::{Daemon, TempHome};

/// A small file system in memory over a folder; gone when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason printed, where that is not possible.
    pub(crate) fn over(folder: PathBuf) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(&folder)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                skipped(&format!("nothing can be mounted: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                skipped(&format!("nothing can be mounted: {error}"));
                None
            }
        }
    }

    /// Leaves room for nothing.
    pub(crate) fn fill(&self) -> Ballast {
        let ballast = self.0.join("ballast");
        // As much as there is room for.
        let error = fs::write(&ballast, vec![b'x'; 1 << 20]).expect_err("the disk is small");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        Ballast(ballast)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while a daemon still has a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What a disk is full of; there is room again once it is dropped.
pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("the ballast is there");
    }
}

/// A folder that nobody may create, rename or delete anything in, until this is dropped.
pub(crate) struct ReadOnly(PathBuf);

impl ReadOnly {
    pub(crate) fn folder(folder: PathBuf) -> Self {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).expect("a mode");
        Self(folder)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).expect("a mode");
    }
}

/// A daemon that folder modes hold for, though the tests may run as a user for whom they do not; `None`, with the reason printed,
/// where there is no way.
pub(crate) fn unprivileged(home: &TempHome) -> Option<Daemon> {
    let without_rights = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all --";
    let folder = home.user().join("probe");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("a mode");
    for prefix in ["", without_rights] {
        let probe = format!("{prefix} sh -c ': > \"$0/file\"' '{}'", folder.display());
        let tried = Command::new("sh").args(["-c", &probe]).output().expect("a shell");
        let is_denied = String::from_utf8_lossy(&tried.stderr).contains("denied");
        let _ = fs::remove_file(folder.join("file"));
        if !tried.status.success() && is_denied {
            return Some(through(home, &format!("exec {prefix} \"$DAEMON\" \"$@\"")));
        }
    }
    skipped("this user may write to every folder, and there is no `setpriv` to give that up");
    None
}

/// A daemon that is started by a script, which ends with this line; `$DAEMON` is the daemon, `"$@"` are its arguments.
pub(crate) fn through(home: &TempHome, script: &str) -> Daemon {
    let path = home.user().join("start");
    let program = env!("CARGO_BIN_EXE_daemon-under-test");
    fs::write(&path, format!("#!/bin/sh\nDAEMON='{program}'\n{script}\n")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    Daemon::new(path)
}

/// Fails if there is a temporary file in a folder, or in one within it.
pub(crate) fn assert_nothing_temporary(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_nothing_temporary(&path);
        }
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        assert!(!is_temporary, "{} is left", path.display());
    }
}

#[allow(clippy::print_stderr, reason = "what was not tested has to be seen")]
fn skipped(why: &str) {
    eprintln!("NOT TESTED: {}", why.trim());
}
