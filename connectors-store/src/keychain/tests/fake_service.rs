//! A Secret Service at the other end of a socket pair, in the state that a test wants.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use secret_service::{EncryptionType, Error, SecretService};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Type, Value};
use zbus::{Connection, Guid, fdo};

use super::super::secret_service::Connect;

const SERVICE: &str = "/org/freedesktop/secrets";
pub(super) const LOGIN: &str = "/org/freedesktop/secrets/collection/login";
pub(super) const SESSION: &str = "/org/freedesktop/secrets/collection/session";
const MAX_ITEMS: usize = 40;
const PROMPT: &str = "/org/freedesktop/secrets/prompt/p1";

/// What the user does when asked to unlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answer {
    #[default]
    Unlocks,
    Dismisses,
    Waits,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) default_collection: Option<&'static str>,
    pub(super) locked: bool,
    /// A collection that is locked though the rest is not.
    pub(super) locked_too: Option<&'static str>,
    pub(super) answer: Answer,
    pub(super) prompts: usize,
    pub(super) connections: usize,
    items: BTreeMap<String, ItemState>,
    created: usize,
    open: Vec<Connection>,
}

#[derive(Clone)]
struct ItemState {
    attributes: HashMap<String, String>,
    secret: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct FakeService(Arc<Mutex<State>>);

#[derive(Serialize, Deserialize, Type)]
struct Secret {
    session: OwnedObjectPath,
    parameters: Vec<u8>,
    value: Vec<u8>,
    content_type: String,
}

impl FakeService {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { default_collection: Some(LOGIN), ..State::default() })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Breaks every connection, as a restart does.
    pub(super) fn restart(&self) {
        let open = std::mem::take(&mut self.state().open);
        drop(open);
    }

    /// Puts an item there as another program would.
    pub(super) fn plant(&self, attributes: &[(&str, &str)], secret: &[u8]) {
        let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.state().add(ItemState { attributes, secret: secret.to_vec() });
    }

    /// The attributes and secrets of all items.
    pub(super) fn items(&self) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
        let state = self.state();
        let items = state.items.values();
        items.map(|item| (item.attributes.clone().into_iter().collect(), item.secret.clone())).collect()
    }

    pub(super) fn connect(&self) -> Connect {
        let fake = self.clone();
        Box::new(move || {
            let fake = fake.clone();
            Box::pin(async move {
                let (ours, theirs) = UnixStream::pair().map_err(|error| Error::Zbus(error.into()))?;
                let mut server = Builder::unix_stream(ours)
                    .server(Guid::generate())?
                    .p2p()
                    .serve_at(SERVICE, Service(fake.clone()))?
                    .serve_at(LOGIN, Collection(fake.clone(), LOGIN))?
                    .serve_at(SESSION, Collection(fake.clone(), SESSION))?
                    .serve_at(PROMPT, Prompt(fake.clone()))?;
                // All the items that there will ever be, since adding one while others are in use can deadlock zbus.
                for item in
                    [LOGIN, SESSION].iter().flat_map(|it| (1..=MAX_ITEMS).map(move |n| format!("{it}/{n}")))
                {
                    server = server.serve_at(item.clone(), Item(fake.clone(), item))?;
                }
                let server = server.build();
                let client = Builder::unix_stream(theirs).p2p().build();
                let (server, client) = tokio::try_join!(server, client)?;
                {
                    let mut state = fake.state();
                    state.connections += 1;
                    state.open.push(server);
                }
                SecretService::connect_with_existing(EncryptionType::Plain, client).await
            })
        })
    }
}

impl State {
    /// True if the collection or item at `path` is locked.
    fn is_locked(&self, path: &str) -> bool {
        self.locked || self.locked_too.is_some_and(|collection| path.starts_with(collection))
    }

    fn add(&mut self, item: ItemState) -> String {
        self.created += 1;
        assert!(self.created <= MAX_ITEMS, "the fake has no room for another item");
        let path = format!("{}/{}", self.default_collection.unwrap_or(LOGIN), self.created);
        self.items.insert(path.clone(), item);
        path
    }
}

fn path(path: &str) -> OwnedObjectPath {
    path.to_owned().try_into().unwrap()
}

struct Service(FakeService);

#[zbus::interface(name = "org.freedesktop.Secret.Service")]
impl Service {
    fn open_session(&self, algorithm: &str, _input: Value<'_>) -> (OwnedValue, OwnedObjectPath) {
        assert_eq!(algorithm, "plain");
        (OwnedValue::try_from(Value::from("")).unwrap(), path("/org/freedesktop/secrets/session/s1"))
    }

    fn read_alias(&self, name: &str) -> OwnedObjectPath {
        assert_eq!(name, "default");
        path(self.0.state().default_collection.unwrap_or("/"))
    }

    fn search_items(
        &self,
        attributes: HashMap<String, String>,
    ) -> (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) {
        let state = self.0.state();
        let matches = |item: &ItemState| {
            attributes.iter().all(|(name, value)| item.attributes.get(name) == Some(value))
        };
        let found = state.items.iter().filter(|(_, item)| matches(item)).map(|(item, _)| path(item));
        found.partition(|item| !state.is_locked(item.as_str()))
    }

    fn unlock(&self, objects: Vec<OwnedObjectPath>) -> (Vec<OwnedObjectPath>, OwnedObjectPath) {
        let state = self.0.state();
        match objects.iter().any(|object| state.is_locked(object.as_str())) {
            true => (Vec::new(), path(PROMPT)),
            false => (objects, path("/")),
        }
    }
}

struct Collection(FakeService, &'static str);

#[zbus::interface(name = "org.freedesktop.Secret.Collection")]
impl Collection {
    #[zbus(property)]
    fn locked(&self) -> bool {
        self.0.state().is_locked(self.1)
    }

    fn create_item(
        &self,
        properties: HashMap<String, OwnedValue>,
        secret: Secret,
        _replace: bool,
    ) -> (OwnedObjectPath, OwnedObjectPath) {
        let attributes = properties["org.freedesktop.Secret.Item.Attributes"].try_clone().unwrap();
        let attributes: HashMap<String, String> = attributes.try_into().unwrap();
        let created = self.0.state().add(ItemState { attributes, secret: secret.value });
        (path(&created), path("/"))
    }
}

struct Item(FakeService, String);

impl Item {
    fn with<T>(&self, work: impl FnOnce(&mut ItemState) -> T) -> fdo::Result<T> {
        let mut state = self.0.state();
        state.items.get_mut(&self.1).map(work).ok_or_else(|| fdo::Error::UnknownObject(self.1.clone()))
    }
}

#[zbus::interface(name = "org.freedesktop.Secret.Item")]
impl Item {
    #[zbus(property)]
    fn locked(&self) -> bool {
        self.0.state().is_locked(&self.1)
    }

    #[zbus(property)]
    fn attributes(&self) -> fdo::Result<HashMap<String, String>> {
        self.with(|item| item.attributes.clone())
    }

    fn get_secret(&self, session: OwnedObjectPath) -> fdo::Result<(Secret,)> {
        let value = self.with(|item| item.secret.clone())?;
        Ok((Secret { session, parameters: Vec::new(), value, content_type: "text/plain".into() },))
    }

    fn set_secret(&self, secret: Secret) -> fdo::Result<()> {
        self.with(|item| item.secret = secret.value)
    }

    fn delete(&self) -> fdo::Result<OwnedObjectPath> {
        self.with(|_| ())?;
        self.0.state().items.remove(&self.1);
        Ok(path("/"))
    }
}

struct Prompt(FakeService);

#[zbus::interface(name = "org.freedesktop.Secret.Prompt")]
impl Prompt {
    async fn prompt(&self, _window: &str, #[zbus(signal_emitter)] emitter: SignalEmitter<'_>) {
        let dismissed = {
            let mut state = self.0.state();
            state.prompts += 1;
            match state.answer {
                Answer::Waits => return,
                Answer::Dismisses => true,
                Answer::Unlocks => {
                    (state.locked, state.locked_too) = (false, None);
                    false
                }
            }
        };
        Self::completed(&emitter, dismissed, Value::from("")).await.unwrap();
    }

    #[zbus(signal)]
    async fn completed(emitter: &SignalEmitter<'_>, dismissed: bool, result: Value<'_>) -> zbus::Result<()>;
}
