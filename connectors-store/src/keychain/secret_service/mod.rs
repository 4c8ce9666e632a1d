//! The Secret Service of Linux and the BSDs, over D-Bus.
//!
//! Entries are found by the attributes `service` and `username`, which keyring writes in every version, and written
//! with `target` = `default` too, by which keyring 3 searches.

mod failure;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors_core::CredentialError;
use secrecy::{ExposeSecret, SecretString};
use secret_service::{EncryptionType, Error, Item, SearchItemsResult, SecretService};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use zbus::zvariant::OwnedObjectPath;
use zeroize::Zeroize;

use super::STORE;
use super::backend::{Backend, Condition, Deadline};
use failure::Failure;

/// The collection that a Secret Service keeps in memory only.
const SESSION_COLLECTION: &str = "/session";

/// How long the user may leave a prompt unanswered.
const PROMPT: Duration = Duration::from_secs(120);

/// How long the user is left alone after a prompt was dismissed.
const COOL_DOWN: Duration = Duration::from_secs(30);

type Session = SecretService<'static>;
pub(super) type Connect =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Session, Error>> + Send>> + Send + Sync>;

/// A [`Backend`] on whatever offers the Secret Service: GNOME Keyring, KWallet, KeePassXC.
pub(super) struct SecretServiceBackend {
    service: String,
    runtime: Handle,
    connect: Connect,
    /// The connection, made when it is first needed, and again when it has failed.
    session: Mutex<Option<Arc<Session>>>,
    /// Held while the user is asked to unlock; holds when they last refused.
    prompt: Arc<Mutex<Option<Instant>>>,
}

impl SecretServiceBackend {
    /// Entries of `service` in the user's Secret Service; its connection lives on `runtime`.
    pub(super) fn new(service: &str, runtime: Handle) -> Self {
        // Encrypted on the bus, as keyring does it: other users of the bus may listen.
        Self::connecting(service, runtime, Box::new(|| Box::pin(SecretService::connect(EncryptionType::Dh))))
    }

    pub(super) fn connecting(service: &str, runtime: Handle, connect: Connect) -> Self {
        Self {
            service: service.to_owned(),
            runtime,
            connect,
            session: Mutex::default(),
            prompt: Arc::default(),
        }
    }

    /// Runs `operation`, and once more on a new connection if the service did not carry it out: it may have been
    /// restarted, or an item may have gone between two steps. So operations have to be such that twice does no harm.
    fn run<T>(
        &self,
        deadline: Deadline,
        operation: impl AsyncFn(&Arc<Session>) -> Result<T, Failure>,
    ) -> Result<T, CredentialError> {
        let work = async {
            let session = self.session().await?;
            match operation(&session).await {
                Err(failure) if failure.may_pass() => {
                    self.forget(&session).await;
                    operation(&self.session().await?).await
                }
                result => result,
            }
        };
        match self.runtime.block_on(async { tokio::time::timeout(deadline.remaining(), work).await }) {
            Ok(result) => result.map_err(Failure::into_error),
            Err(_) => Err(deadline.missed()),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut session = self.session.lock().await;
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let new = Arc::new((self.connect)().await?);
        *session = Some(Arc::clone(&new));
        Ok(new)
    }

    async fn forget(&self, failed: &Arc<Session>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, failed)) {
            *session = None;
        }
    }

    /// The entry's items: one, unless another program has made more, or none. Without an account those of all entries, in every
    /// collection: what is missing from that list would be taken for deleted.
    async fn find<'s>(
        &self,
        session: &'s Arc<Session>,
        account: Option<&str>,
    ) -> Result<Vec<Item<'s>>, Failure> {
        let search = || {
            let mut attributes = HashMap::from([("service", self.service.as_str())]);
            attributes.extend(account.map(|account| ("username", account)));
            session.search_items(attributes)
        };
        let is_enough = |found: &SearchItemsResult<Item<'_>>| {
            found.locked.is_empty() || (account.is_some() && !found.unlocked.is_empty())
        };
        let found = search().await?;
        if !found.unlocked.is_empty() && is_enough(&found) {
            return Ok(in_order(found.unlocked));
        }
        // A locked collection shows its items as locked, or does not show them at all.
        let mut locked = found.locked.iter().map(collection_of).collect::<Result<Vec<_>, _>>()?;
        locked.dedup();
        if locked.is_empty() {
            locked.extend(locked_default(session).await?);
        }
        if locked.is_empty() {
            return Ok(Vec::new());
        }
        for collection in locked {
            self.unlock(session, collection).await?;
        }
        let found = search().await?;
        if !is_enough(&found) {
            return Err(Error::Locked.into());
        }
        Ok(in_order(found.unlocked))
    }

    /// Asks the user to unlock a collection, one prompt at a time. The prompt outlives the caller's patience, so that
    /// the next call finds the collection unlocked.
    async fn unlock(&self, session: &Arc<Session>, collection: OwnedObjectPath) -> Result<(), Failure> {
        let mut refused = Arc::clone(&self.prompt).lock_owned().await;
        if refused.is_some_and(|at| at.elapsed() < COOL_DOWN) {
            return Err(Error::Locked.into());
        }
        let session = Arc::clone(session);
        let asking = tokio::spawn(async move {
            let collection = session.get_collection_by_path(collection).await?;
            if !collection.is_locked().await? {
                return Ok(());
            }
            let answer =
                tokio::time::timeout(PROMPT, collection.unlock()).await.unwrap_or(Err(Error::Prompt));
            *refused = matches!(answer, Err(Error::Prompt)).then(Instant::now);
            answer
        });
        Ok(asking.await.map_err(|_| Error::Locked)??)
    }
}

impl Backend for SecretServiceBackend {
    fn name(&self) -> &'static str {
        "Secret Service"
    }

    fn condition(&self, deadline: Deadline) -> Result<Condition, CredentialError> {
        self.run(deadline, async |session| {
            let collection = session.get_default_collection().await?;
            if collection.is_locked().await? {
                return Err(Error::Locked.into());
            }
            let volatile = collection.collection_path.ends_with(SESSION_COLLECTION);
            Ok(if volatile { Condition::Volatile } else { Condition::Persistent })
        })
    }

    fn prepare_write(&self, deadline: Deadline) -> Result<(), CredentialError> {
        self.run(deadline, async |session| match locked_default(session).await? {
            Some(locked) => self.unlock(session, locked).await,
            None => Ok(()),
        })
    }

    fn read(&self, account: &str, deadline: Deadline) -> Result<Option<SecretString>, CredentialError> {
        self.run(deadline, async |session| {
            let items = self.find(session, Some(account)).await?;
            let Some(item) = items.first() else { return Ok(None) };
            match String::from_utf8(item.get_secret().await?) {
                Ok(value) => Ok(Some(SecretString::from(value))),
                Err(error) => {
                    error.into_bytes().zeroize();
                    Err(Failure::Ours(CredentialError::Damaged {
                        store: STORE,
                        account: account.to_owned(),
                        problem: "it is not text".to_owned(),
                    }))
                }
            }
        })
    }

    fn write(&self, account: &str, value: &SecretString, deadline: Deadline) -> Result<(), CredentialError> {
        let secret = value.expose_secret().as_bytes();
        self.run(deadline, async |session| {
            let items = self.find(session, Some(account)).await?;
            for item in &items {
                item.set_secret(secret, CONTENT_TYPE).await?;
            }
            if items.is_empty() {
                let attributes = HashMap::from([
                    ("service", self.service.as_str()),
                    ("username", account),
                    ("target", "default"),
                    ("application", "connectors"),
                ]);
                let collection = session.get_default_collection().await?;
                let label = format!("{account} ({})", self.service);
                collection.create_item(&label, attributes, secret, true, CONTENT_TYPE).await?;
            }
            Ok(())
        })
    }

    fn delete(&self, account: &str, deadline: Deadline) -> Result<(), CredentialError> {
        self.run(deadline, async |session| {
            for item in self.find(session, Some(account)).await? {
                item.delete().await?;
            }
            Ok(())
        })
    }

    fn accounts(&self, deadline: Deadline) -> Result<Vec<String>, CredentialError> {
        self.run(deadline, async |session| {
            let mut accounts = Vec::new();
            for item in self.find(session, None).await? {
                accounts.extend(item.get_attributes().await?.remove("username"));
            }
            Ok(accounts)
        })
    }
}

const CONTENT_TYPE: &str = "text/plain";

/// The same item first for every reader.
fn in_order(mut items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    items.sort_by(|a, b| a.item_path.as_str().cmp(b.item_path.as_str()));
    items
}

/// The default collection, if there is one and it is locked.
async fn locked_default(session: &Session) -> Result<Option<OwnedObjectPath>, Failure> {
    let collection = match session.get_default_collection().await {
        Err(Error::NoResult) => return Ok(None),
        collection => collection?,
    };
    Ok(collection.is_locked().await?.then(|| collection.collection_path.clone()))
}

/// The collection that an item is in: its path without the last part.
fn collection_of(item: &Item<'_>) -> Result<OwnedObjectPath, Failure> {
    let path = item.item_path.as_str();
    let collection = path.rsplit_once('/').map_or(path, |(collection, _)| collection).to_owned();
    OwnedObjectPath::try_from(collection).map_err(|error| Error::from(error).into())
}
