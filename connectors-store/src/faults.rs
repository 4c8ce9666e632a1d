//! Where the writing of a file can be cut short, and the reading be held up, for tests: nothing happens here otherwise.

/// A step of replacing a file that has been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is an empty temporary file.
    Created,
    /// It holds everything.
    Written,
    /// That is on the disk.
    Synced,
    /// The file so far has a second name, which is temporary.
    Linked,
    /// That has taken the place of the version before.
    BackedUp,
    /// The temporary file has taken the place of the file.
    Renamed,
    /// That is on the disk.
    Durable,
}

#[cfg(not(test))]
pub(crate) fn reached(_: &std::path::Path, _: Step) -> std::io::Result<()> {
    Ok(())
}

/// To be called before a file is read.
#[cfg(not(test))]
pub(crate) fn reading(_: &std::path::Path) {}

#[cfg(test)]
pub(crate) use injected::{reached, reading};

#[cfg(test)]
#[path = "faults_tests.rs"]
pub(crate) mod injected;
