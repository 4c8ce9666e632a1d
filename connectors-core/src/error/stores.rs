//! Failures of what keeps definitions and secrets.

use std::time::Duration;

use super::Source;
use crate::names::Slug;

/// A manifest that could not be read or written. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file does not parse; it is left as it is.
    #[error(
        "{file} is not valid (line {line}, column {column}: {problem}). Nothing is written to it until it is repaired"
    )]
    Unparsable {
        /// The file.
        file: String,
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A newer version of this program has written it; it is left as it is.
    #[error(
        "{file} is from a newer version (line {line}, column {column}: {problem}). Nothing is written to it by this one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Line of what this version does not know, from 1.
        line: usize,
        /// Column of it.
        column: usize,
        /// What it is.
        problem: String,
    },
    /// There is a connector with this slug already.
    #[error("the manifest already holds a connector `{0}`")]
    SlugTaken(Slug),
    /// Reading or writing failed.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// `read`, `write`, `lock`.
        action: &'static str,
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A secret that could not be read or written. No variant carries one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The store is locked: the user has to unlock it.
    #[error("the {store} is locked; unlock it and try again")]
    Locked {
        /// Which store.
        store: &'static str,
    },
    /// There is no such store on this machine.
    #[error("the {store} is not available: {reason}")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// One sentence.
        reason: String,
    },
    /// The store did not answer in time; it may be showing a prompt.
    #[error("the {store} did not answer within {limit:?}; it may be waiting for you to unlock it")]
    TimedOut {
        /// Which store.
        store: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// A file of the store's could not be written: the disk is full, or the folder cannot be written. Nothing was changed.
    #[error("the {store} cannot {action} {file}: {source}")]
    Storage {
        /// Which store.
        store: &'static str,
        /// `write`, `lock`, `remove`.
        action: &'static str,
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The store holds something that is not one of our values.
    #[error("the {store} holds a damaged value under `{account}`: {problem}")]
    Damaged {
        /// Which store.
        store: &'static str,
        /// The account.
        account: String,
        /// What is wrong, without the value.
        problem: String,
    },
    /// Anything else, as the platform says it.
    #[error("the {store} failed: {source}")]
    Failed {
        /// Which store.
        store: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },
}
