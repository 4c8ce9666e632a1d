//! Any write of a change that concerns secrets, too, fails, or is the last of its process: there is the old state or the new one,
//! never a mixture, and a server is shown nothing but what was entered for it.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::environment::{changes, command};
use super::*;
use crate::authorizer::{RequestTarget, SecretHeader};
use crate::definition::{ConnectorDefinition, OAuthSettings, StdioCommand};
use crate::error::{ConnectorError, CredentialError, StorageError};
use crate::manager::ConnectorUpdate;
use crate::store::{ConfigStore, Exclusive};
use crate::transport::{DialTarget, InvalidDefinition};

/// What outlives a process.
#[derive(Default)]
struct Disk {
    config: MemoryConfigStore,
    secrets: MemoryCredentialStore,
}

/// What becomes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// It is made, and nothing after it: the process is dead.
    Death,
    /// It fails.
    Failure,
    /// It fails, and so does every other after it.
    End,
    /// It fails, and so does every other of a secret after it.
    Lock,
    /// It is made, and said to have failed. Of settings it is not: they know better.
    Doubt,
}

/// One process's way to the disk.
struct Life {
    disk: Arc<Disk>,
    mishap: Mishap,
    /// How many writes there are until then, it included.
    left: AtomicUsize,
    /// Who holds secrets does so no longer than it lives.
    held: MemoryCredentialStore,
}

impl Life {
    fn is_over(&self) -> bool {
        self.mishap == Mishap::Death && self.has_met_it()
    }

    fn has_met_it(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    async fn reads<T>(&self, read: impl Future<Output = T>) -> T {
        if self.is_over() { pending().await } else { read.await }
    }

    /// Makes a write as far as the mishap lets it, with this as its failure.
    async fn writes<T, E>(
        &self,
        mishap: Mishap,
        write: impl Future<Output = Result<T, E>>,
        failure: E,
    ) -> Result<T, E> {
        let count = |left: usize| Some(left.saturating_sub(1));
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).unwrap_or_default();
        match (mishap, left) {
            (Mishap::Death, 0) => pending().await,
            (Mishap::Death, 1) => {
                write.await?;
                pending().await
            }
            (Mishap::Failure, 1) | (Mishap::End | Mishap::Lock, 0 | 1) => Err(failure),
            (Mishap::Doubt, 1) => {
                write.await?;
                Err(failure)
            }
            _ => write.await,
        }
    }

    async fn writes_settings<T>(
        &self,
        write: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let (file, source) = ("connectors.json".to_owned(), std::io::ErrorKind::StorageFull.into());
        let mishap = match self.mishap {
            Mishap::Doubt | Mishap::Lock => Mishap::Failure,
            mishap => mishap,
        };
        self.writes(mishap, write, StorageError::Io { action: "write", file, source }).await
    }

    async fn writes_secrets<T>(
        &self,
        write: impl Future<Output = Result<T, CredentialError>>,
    ) -> Result<T, CredentialError> {
        let limit = Duration::from_secs(1);
        self.writes(self.mishap, write, CredentialError::TimedOut { store: "vault", limit }).await
    }
}

#[async_trait]
impl ConfigStore for Life {
    async fn load(&self) -> Result<Vec<ConnectorDefinition>, StorageError> {
        self.reads(self.disk.config.load()).await
    }

    async fn insert(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.writes_settings(self.disk.config.insert(definition)).await
    }

    async fn replace(&self, definition: &ConnectorDefinition) -> Result<(), StorageError> {
        self.writes_settings(self.disk.config.replace(definition)).await
    }

    async fn compare_and_swap(
        &self,
        expected: &ConnectorDefinition,
        new: &ConnectorDefinition,
    ) -> Result<bool, StorageError> {
        self.writes_settings(self.disk.config.compare_and_swap(expected, new)).await
    }

    async fn remove(&self, slug: &Slug) -> Result<(), StorageError> {
        self.writes_settings(self.disk.config.remove(slug)).await
    }
}

#[async_trait]
impl CredentialStore for Life {
    fn kind(&self) -> &'static str {
        "vault"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.reads(self.disk.secrets.get(key)).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.writes_secrets(self.disk.secrets.put(key, value)).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.writes_secrets(self.disk.secrets.delete(key)).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.reads(self.disk.secrets.list(slug)).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.writes_secrets(self.disk.secrets.compare_and_swap(key, expected, new)).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.held.exclusive(slug).await
    }
}

/// Reaches nobody, and notes what it would have shown to whom.
#[derive(Default)]
pub(super) struct Shown(pub(super) Mutex<BTreeSet<String>>);

#[async_trait]
impl crate::Dialer for Shown {
    fn serves(&self, _: &ConnectorDefinition) -> bool {
        true
    }

    fn check(&self, _: &ConnectorDefinition) -> Result<(), InvalidDefinition> {
        Ok(())
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn crate::Transport>, TransportError> {
        let url = url::Url::parse("http://any").unwrap();
        let request = RequestTarget { method: "POST", url: Arc::new(url) };
        let headers = target.authorizer.headers(&request).await.unwrap();
        let headers = headers.into_iter().map(|header| (header.name, header.value));
        let variables = target.environment.iter().map(|one| (one.name.clone(), one.value.clone()));
        let mut shown = target.definition.target().to_owned();
        for (name, value) in headers.chain(variables) {
            shown.push_str(&format!(" {name}={}", value.expose_secret()));
        }
        self.0.lock().unwrap().insert(shown);
        Err(TransportError::Unreachable { reason: "nobody".to_owned(), source: None })
    }
}

/// Everything that a user would find: the definitions, and the secrets under their slugs, and under that of what is changed.
type State = (Vec<ConnectorDefinition>, BTreeSet<String>);

impl Disk {
    async fn state(&self) -> State {
        let mut definitions = self.config.load().await.unwrap();
        // It says nothing to a user.
        definitions.iter_mut().for_each(|definition| definition.secrets_revision = 0);
        let mut secrets = BTreeSet::new();
        for slug in definitions.iter().map(|definition| definition.slug.clone()).chain([slug()]) {
            for key in self.secrets.list(&slug).await.unwrap() {
                let value = self.secrets.get(&key).await.unwrap().unwrap();
                secrets.insert(format!("{key}={}", value.expose_secret()));
            }
        }
        (definitions, secrets)
    }
}

/// A process that begins on what is on the disk.
async fn process(
    disk: &Arc<Disk>,
    (mishap, left): (Mishap, usize),
    sign_in: &Arc<ScriptedSignIn>,
) -> (ConnectorManager, Arc<Life>, Arc<Shown>) {
    let (disk, held) = (Arc::clone(disk), MemoryCredentialStore::default());
    let life = Arc::new(Life { disk, mishap, left: AtomicUsize::new(left), held });
    let shown = Arc::<Shown>::default();
    let manager = ConnectorManager::builder()
        .with_config(Arc::clone(&life) as _)
        .with_credentials(Arc::clone(&life) as _)
        .with_dialer(Arc::clone(&shown) as _)
        .with_sign_in(Arc::new(ScriptedProvider(Arc::clone(sign_in))))
        .start()
        .await;
    settle().await;
    (manager, life, shown)
}

const NO_MISHAP: (Mishap, usize) = (Mishap::Death, usize::MAX);

type Change = fn(ConnectorManager) -> BoxFuture<'static, Result<(), ConnectorError>>;

/// A change to a connector with these secrets.
struct Case<'a> {
    definition: ConnectorDefinition,
    secrets: &'a [(&'a str, &'a str)],
    change: Change,
}

impl Case<'_> {
    async fn disk(&self) -> Arc<Disk> {
        let disk = Arc::<Disk>::default();
        disk.config.insert(&self.definition).await.unwrap();
        for (name, value) in self.secrets {
            let key = CredentialKey::header(&self.definition.slug, name);
            disk.secrets.put(&key, &(*value).into()).await.unwrap();
        }
        disk
    }

    /// Makes the change, with a mishap at each of its writes in turn.
    async fn holds(&self) {
        let (disk, sign_in) = (self.disk().await, ScriptedSignIn::new());
        let before = disk.state().await;
        let (manager, _, shown) = process(&disk, NO_MISHAP, &sign_in).await;
        (self.change)(manager).await.unwrap();
        settle().await;
        let after = disk.state().await;
        assert_ne!(before, after);
        let mut may_be_shown = shown.0.lock().unwrap().clone();
        let (_next, _, shown) = process(&disk, NO_MISHAP, &sign_in).await;
        may_be_shown.append(&mut shown.0.lock().unwrap());
        assert_eq!(disk.state().await, after);

        for mishap in [Mishap::Death, Mishap::Failure, Mishap::End, Mishap::Lock, Mishap::Doubt] {
            let mut is_made = Vec::new();
            for left in 1.. {
                let at = format!("{mishap:?} at write {left}");
                let (disk, sign_in) = (self.disk().await, ScriptedSignIn::new());
                let (manager, life, shown) = process(&disk, (mishap, left), &sign_in).await;
                let changing = tokio::spawn((self.change)(manager.clone()));
                tokio::time::sleep(Duration::from_secs(1)).await;
                if !life.has_met_it() {
                    changing.await.unwrap().unwrap();
                    break;
                }
                if mishap != Mishap::Death {
                    let outcome = changing.await.unwrap();
                    let state = disk.state().await;
                    match (mishap, outcome) {
                        // What could not be undone waits for the next process.
                        (Mishap::End | Mishap::Lock, _) => {}
                        (_, Ok(())) => assert_eq!(state, after, "{at}"),
                        (_, Err(_)) => assert_eq!(state, before, "{at}"),
                    }
                }
                // The next one may die over what is left, and the one after it.
                for left in 1..=left % 4 {
                    let (_next, _, shown) = process(&disk, (Mishap::Death, left), &sign_in).await;
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    assert!(shown.0.lock().unwrap().is_subset(&may_be_shown), "{at}");
                }
                let (_next, _, shown_next) = process(&disk, NO_MISHAP, &sign_in).await;
                tokio::time::sleep(Duration::from_secs(60)).await;
                let state = disk.state().await;
                assert!(state == before || state == after, "{at}: {state:?}");
                is_made.push(state == after);
                for shown in [&shown, &shown_next] {
                    let shown = shown.0.lock().unwrap();
                    assert!(shown.is_subset(&may_be_shown), "{at}: {shown:?}");
                }
            }
            assert!(is_made.len() > 1, "{is_made:?}");
            if mishap == Mishap::Death {
                // It is made at one of the writes, and stays so.
                assert!(is_made.is_sorted() && is_made.last() == Some(&true), "{is_made:?}");
            }
        }
    }
}

fn slug() -> Slug {
    Slug::verbatim("a")
}

fn http() -> ConnectorDefinition {
    let mut definition = ConnectorDefinition::http(slug(), "A", "http://one");
    definition.secret_headers = strings(&["X-Key"]);
    definition
}

fn headers(names_and_values: &[(&str, &str)]) -> Option<Vec<SecretHeader>> {
    let header = |&(name, value): &(&str, &str)| SecretHeader { name: name.to_owned(), value: value.into() };
    Some(names_and_values.iter().map(header).collect())
}

async fn update(manager: ConnectorManager, update: ConnectorUpdate) -> Result<(), ConnectorError> {
    manager.update(&slug(), update).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn an_address_moves_with_its_headers() {
    let mut definition = http();
    definition.oauth = Some(OAuthSettings { client_id: "id".to_owned(), ..OAuthSettings::default() });
    Case {
        definition,
        secrets: &[("X-Key", "of one"), ("client_secret", "s")],
        change: |manager| {
            let elsewhere = ConnectorUpdate {
                url: Some("http://another".to_owned()),
                headers: headers(&[("X-Key", "of another"), ("X-More", "of another")]),
                ..ConnectorUpdate::default()
            };
            Box::pin(update(manager, elsewhere))
        },
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_command_changes_with_its_variables() {
    let stdio = StdioCommand { secret_env: strings(&["A_TOKEN", "B_TOKEN"]), ..command(&[]) };
    let definition = ConnectorDefinition::stdio(slug(), "A", stdio);
    Case {
        definition,
        secrets: &[("env:A_TOKEN", "of one"), ("env:B_TOKEN", "b")],
        change: |manager| {
            let another = ConnectorUpdate {
                command: Some("another".to_owned()),
                env: changes(&[]),
                secret_env: changes(&[("A_TOKEN", Some("of another")), ("C_TOKEN", Some("c"))]),
                ..ConnectorUpdate::default()
            };
            Box::pin(update(manager, another))
        },
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_gets_another_name_and_another_value() {
    Case {
        definition: http(),
        secrets: &[("X-Key", "first")],
        change: |manager| {
            let renamed = ConnectorUpdate {
                name: Some("Renamed".to_owned()),
                headers: headers(&[("X-Other", "second")]),
                ..ConnectorUpdate::default()
            };
            Box::pin(update(manager, renamed))
        },
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_headers_get_other_values() {
    let mut definition = http();
    definition.secret_headers.push("X-More".to_owned());
    Case {
        definition,
        secrets: &[("X-Key", "first"), ("X-More", "first")],
        change: |manager| {
            let values = ConnectorUpdate {
                headers: headers(&[("X-Key", "second"), ("X-More", "second")]),
                ..ConnectorUpdate::default()
            };
            Box::pin(update(manager, values))
        },
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn variables_move_out_of_the_file() {
    let definition = ConnectorDefinition::stdio(slug(), "A", command(&[("A_TOKEN", "a"), ("B_TOKEN", "b")]));
    Case {
        definition,
        secrets: &[],
        change: |manager| Box::pin(async move { manager.protect_env(&slug(), None).await.map(drop) }),
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_user_signs_in_anew() {
    let mut definition = ConnectorDefinition::http(slug(), "A", "http://one");
    definition.oauth = Some(OAuthSettings { client_id: "before".to_owned(), ..OAuthSettings::default() });
    Case {
        definition,
        secrets: &[("tokens", "before"), ("dpop_key", "before")],
        change: |manager| {
            Box::pin(async move {
                let view = manager.sign_in(&slug(), SignInRequest::default()).await?;
                manager.complete_sign_in(agreed(&view)).await.map(drop)
            })
        },
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connector_is_removed() {
    let mut definition = http();
    definition.secret_headers.push("X-More".to_owned());
    Case {
        definition,
        secrets: &[("X-Key", "k"), ("X-More", "m"), ("X-Left", "over")],
        change: |manager| Box::pin(async move { manager.remove(&slug()).await }),
    }
    .holds()
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connector_is_added() {
    Case {
        definition: ConnectorDefinition::http(Slug::verbatim("other"), "Other", "http://other"),
        secrets: &[],
        change: |manager| {
            let headers = headers(&[("X-Key", "k"), ("X-More", "m")]).unwrap_or_default();
            let new = NewConnector::http("A", "http://one", headers);
            Box::pin(async move { manager.add(new).await.map(drop) })
        },
    }
    .holds()
    .await;
}
