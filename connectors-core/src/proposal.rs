//! The border to files that come with a project and propose connectors.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::Serialize;

use crate::definition::ConnectorDefinition;
use crate::error::StorageError;

/// Where connectors are proposed, and where it is remembered which of them the user does not want.
///
/// Whoever can write to a project can propose what they like: nothing in a proposal is trusted, followed or started before
/// the user has seen and accepted it. Implemented by `connectors-store` on `.car/connectors.toml`.
///
/// *Concurrency.* Methods may be called at once, from several processes too. *Cancellation.* A dropped future of
/// [`remember`](Self::remember) may leave the change made or not made; the others leave nothing behind.
#[async_trait]
pub trait ProposalSource: Send + Sync + 'static {
    /// What is proposed now. What cannot be read or is not in order is among the mistakes, and proposes nothing.
    async fn read(&self) -> Proposals;

    /// An item whenever [`read`](Self::read) or [`rejected`](Self::rejected) may give something else than at the item before, or
    /// than when this was called. `None`, as without an implementation, for a source that does not change.
    ///
    /// Changes shortly after one another may count as one, and one may be announced that is none. Dropping the stream ends the
    /// watching.
    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        None
    }

    /// The hashes of the proposals that the user has rejected.
    async fn rejected(&self) -> Result<HashSet<String>, StorageError>;

    /// Remembers, across restarts, that the user has rejected this proposal, or (`rejected` false) no longer does. After an
    /// error nothing has changed.
    async fn remember(&self, proposal: &Proposal, rejected: bool) -> Result<(), StorageError>;
}

/// What a file proposes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposals {
    /// What is in order, in the order of the file. No two have the same slug.
    pub entries: Vec<Proposal>,
    /// What is not.
    pub mistakes: Vec<Mistake>,
}

/// A connector that is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What would be connected to. It holds no secret, selects no tool, and its `proposal` names this proposal.
    pub definition: ConnectorDefinition,
    /// SHA-256, in hexadecimal, of everything that decides what is run and where it leads, in a canonical form and with
    /// variables expanded: what differs in any of this is another proposal.
    pub hash: String,
    /// The file, for the user.
    pub file: String,
    /// The line that it begins at, from 1.
    pub line: usize,
}

/// Something in a file that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column, in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong and what comes of it, in one sentence. It quotes no value.
    pub problem: String,
}
