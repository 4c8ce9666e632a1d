//! The borders to what outlives the process: definitions and secrets.

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use secrecy::SecretString;

use crate::definition::ConnectorDefinition;
use crate::error::{CredentialError, StorageError};
use crate::names::Slug;

/// Where connector definitions are kept.
///
/// Changes are made one connector at a time, so that two processes which change different connectors do not undo each
/// other. Implemented by `connectors-store` on `connectors.json`.
///
/// *Durability.* When a method has returned `Ok`, the change survives a crash; when it has returned an error or the
/// process died, either the old or the new state is there, never a mixture.
///
/// *Concurrency.* Methods may be called at once, from several processes too. *Cancellation.* A dropped future may leave
/// the change made or not made. *Errors.* After an error nothing has changed.
#[async_trait]
pub trait ConfigStore: Send + Sync + 'static {
    /// Every definition, in the order in which they were created.
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError>;

    /// Adds a definition. [`StorageError::SlugTaken`] if there is one with this slug, whoever wrote it.
    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError>;

    /// Replaces the definition with this slug, or adds it if it is gone. Fields of it that this version does not know
    /// are kept.
    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError>;

    /// Replaces the definition that has `new`'s slug if it still says what `expected` does, as [`replace`](Self::replace) would,
    /// and returns whether it did. Atomic among all processes that share the store.
    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError>;

    /// Removes the definition with this slug; not an error if there is none.
    async fn remove(&self, slug: &Slug) -> Result<(), StorageError>;

    /// An item whenever [`load`](Self::load) may give something else than at the item before, or than when this was called:
    /// somebody else has written, or what could not be read can be again. `None`, as without an implementation, for a store that
    /// nobody else writes to.
    ///
    /// Changes shortly after one another may count as one, and one may be announced that is none, such as a write through this
    /// very store. Dropping the stream ends the watching.
    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        None
    }
}

#[cfg(feature = "mock")]
mockall::mock! {
    /// A [`ConfigStore`] that does as it is told, and announces no changes.
    pub ConfigStore {}

    #[async_trait]
    impl ConfigStore for ConfigStore {
        async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError>;
        async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError>;
        async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError>;
        async fn compare_and_swap(
            &self,
            expected: &ConnectorDefinition,
            new: &ConnectorDefinition,
        ) -> Result<bool, StorageError>;
        async fn remove(&self, slug: &Slug) -> Result<(), StorageError>;
    }
}

/// Where secrets are kept: the OS keychain, an encrypted file, or memory.
///
/// *Durability and concurrency* as for [`ConfigStore`]: per key, the last completed write wins.
/// [`compare_and_swap`](Self::compare_and_swap) is atomic among all processes that share the store.
///
/// *Latency.* A keychain may ask the user to unlock it. Implementations bound every call in time
/// ([`CredentialError::TimedOut`]) and never block the async threads.
///
/// *Secrecy.* Values are never logged, and never part of an error.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CredentialStore: Send + Sync + 'static {
    /// Which kind of store this is, for the user: `keychain`, `vault` or `memory`.
    fn kind(&self) -> &'static str;

    /// The value under `key`; `None` if there is none.
    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError>;

    /// Writes a value, replacing any other.
    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError>;

    /// Deletes a value; not an error if there is none.
    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError>;

    /// The keys of one connector that have a value, in no particular order.
    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError>;

    /// Writes `new` if the present value is `expected` (`None`: no value), and says whether it did.
    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError>;

    /// Waits until nobody else, in any process that shares the store, holds this connector's secrets, and holds them: for
    /// changes that need more than [`compare_and_swap`](Self::compare_and_swap), such as a token refresh.
    ///
    /// A courtesy among those who ask: it keeps nobody from the other methods. The system releases it when the holder's process
    /// dies. Waits no longer than the store's own patience ([`CredentialError::TimedOut`]), which is longer than a token
    /// request may take.
    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError>;
}

/// Holds the secrets of one connector until it is dropped.
pub struct Exclusive {
    _guard: Box<dyn Send + Sync>,
}

impl Exclusive {
    /// Released by dropping `guard`.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive").finish_non_exhaustive()
    }
}

/// Names one secret of one connector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey {
    slug: Slug,
    name: String,
}

impl CredentialKey {
    /// What every account of a connector's secret begins with.
    pub const ACCOUNT_PREFIX: &'static str = "connector:";

    /// The value of a static header.
    pub fn header(slug: &Slug, header: &str) -> Self {
        Self { slug: slug.clone(), name: header.to_owned() }
    }

    /// The value of a stdio connector's environment variable. No header is called so: its name holds no colon.
    pub fn env(slug: &Slug, variable: &str) -> Self {
        Self { slug: slug.clone(), name: Self::env_name(variable) }
    }

    /// What the value of an environment variable is called among its connector's secrets.
    pub(crate) fn env_name(variable: &str) -> String {
        format!("{}{variable}", Self::ENV_PREFIX)
    }

    /// What is to become of a connector's secrets while they are being changed, as JSON.
    pub(crate) fn staged(slug: &Slug) -> Self {
        Self { slug: slug.clone(), name: Self::STAGED.to_owned() }
    }

    /// What that is called among them. No header is called so, and no variable.
    pub(crate) const STAGED: &'static str = "staged:change";

    /// What the names of environment variables begin with.
    pub(crate) const ENV_PREFIX: &'static str = "env:";

    /// The OAuth tokens, as JSON.
    pub fn tokens(slug: &Slug) -> Self {
        Self { slug: slug.clone(), name: "tokens".to_owned() }
    }

    /// The OAuth client's secret.
    pub fn client_secret(slug: &Slug) -> Self {
        Self { slug: slug.clone(), name: "client_secret".to_owned() }
    }

    /// A secret of a sign-in by its name, one of [`SIGN_IN_NAMES`](Self::SIGN_IN_NAMES).
    pub fn of_sign_in(slug: &Slug, name: &'static str) -> Self {
        Self { slug: slug.clone(), name: name.to_owned() }
    }

    /// The names of a sign-in's secrets. No header may be called so.
    pub const SIGN_IN_NAMES: [&'static str; 6] =
        ["tokens", "client_secret", "dpop_key", "private_key", "assertion", "id_token"];

    /// Reads an account name; `None` if it is not a connector's.
    pub fn from_account(account: &str) -> Option<Self> {
        let (slug, name) = account.strip_prefix(Self::ACCOUNT_PREFIX)?.split_once(':')?;
        (!slug.is_empty() && !name.is_empty())
            .then(|| Self { slug: Slug::verbatim(slug), name: name.to_owned() })
    }

    /// The account name in a keychain: `connector:<slug>:<name>`.
    pub fn account(&self) -> String {
        self.to_string()
    }

    /// Which of its connector's secrets it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The connector that the secret belongs to.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", Self::ACCOUNT_PREFIX, self.slug, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_those_that_car_secrets_writes() {
        let slug = Slug::from_name("GitHub");
        assert_eq!(CredentialKey::header(&slug, "X-Api-Key").account(), "connector:github:X-Api-Key");
        assert_eq!(CredentialKey::tokens(&slug).account(), "connector:github:tokens");
        assert_eq!(CredentialKey::client_secret(&slug).account(), "connector:github:client_secret");
        assert_eq!(CredentialKey::env(&slug, "GITHUB_TOKEN").account(), "connector:github:env:GITHUB_TOKEN");
    }

    #[test]
    fn an_account_is_read_back_and_a_foreign_one_is_not() {
        let key = CredentialKey::header(&Slug::verbatim("a_b"), "X:Odd");
        assert_eq!(CredentialKey::from_account(&key.account()), Some(key));
        let key = CredentialKey::env(&Slug::verbatim("a_b"), "A_TOKEN");
        assert_eq!(CredentialKey::from_account(&key.account()), Some(key));
        assert_eq!(CredentialKey::from_account("PARSLEE_TOKEN"), None);
        assert_eq!(CredentialKey::from_account("connector:x"), None);
    }
}
