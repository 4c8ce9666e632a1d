//! Environment variables of local servers whose values are secrets.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::definition::{SecretVariable, StdioCommand};
use crate::error::{ConnectorError, CredentialError, StorageError};
use crate::manager::ConnectorUpdate;
use crate::store::{ConfigStore, Exclusive, MockConfigStore};
use crate::transport::{DialTarget, InvalidDefinition};
use crate::view::StateName;

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

/// Starts nothing, but notes the secret variables that it is given.
#[derive(Default)]
pub(super) struct Noting(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl crate::Dialer for Noting {
    fn serves(&self, _: &crate::ConnectorDefinition) -> bool {
        true
    }

    fn check(&self, _: &crate::ConnectorDefinition) -> Result<(), InvalidDefinition> {
        Ok(())
    }

    async fn dial(&self, target: DialTarget) -> Result<Arc<dyn crate::Transport>, TransportError> {
        assert!(!format!("{target:?}").contains("ghp_"));
        let given = target
            .environment
            .iter()
            .map(|SecretVariable { name, value }| format!("{name}={}", value.expose_secret()));
        *self.0.lock().unwrap() = given.collect();
        Err(TransportError::Unreachable { reason: "nobody".to_owned(), source: None })
    }
}

/// A store that does not do as it should.
#[derive(Default)]
pub(super) struct Faulty {
    store: MemoryCredentialStore,
    fault: Mutex<Fault>,
    /// Told when a read is to be answered after all.
    answered: tokio::sync::Notify,
}

#[derive(Default, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    #[default]
    None,
    /// It cannot tell what it holds.
    ListsNothing,
    /// The second of two writes fails.
    RefusesB,
    /// It says that it has written, and has not.
    Forgets,
    /// A write takes longer than a removal waits for it.
    Slow,
    /// The next read of a header's value is answered when [`Faulty::answer`] says so.
    HoldsRead,
    /// What is staged is damaged.
    DamagesStaged,
    /// A deletion takes a while.
    SlowToDelete,
    /// A deletion takes a while, and fails.
    RefusesToDelete,
    /// It does not answer for the connector `one`, as while a keyring asks the user.
    SilentForOne,
    /// It wants a passphrase.
    Locked,
}

impl Faulty {
    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn has(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == fault
    }

    pub(super) fn answer(&self) {
        self.answered.notify_one();
    }

    fn opened(&self) -> Result<(), CredentialError> {
        match self.has(Fault::Locked) {
            true => Err(CredentialError::Locked { store: "vault" }),
            false => Ok(()),
        }
    }

    pub(super) async fn names(&self, slug: &str) -> Vec<String> {
        let keys = self.store.list(&Slug::verbatim(slug)).await.unwrap();
        keys.iter().map(|key| key.name().to_owned()).collect()
    }
}

#[async_trait::async_trait]
impl CredentialStore for Faulty {
    fn kind(&self) -> &'static str {
        "vault"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.opened()?;
        if self.has(Fault::HoldsRead) && key.name().starts_with("X-") {
            self.set(Fault::None);
            self.answered.notified().await;
        }
        let value = self.store.get(key).await?;
        if value.is_some() && key.name() == CredentialKey::STAGED && self.has(Fault::DamagesStaged) {
            let (account, problem) = (key.account(), "it is not text".to_owned());
            return Err(CredentialError::Damaged { store: "vault", account, problem });
        }
        Ok(value)
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.opened()?;
        if self.has(Fault::RefusesB) && key.name() == "env:B_TOKEN" {
            return Err(CredentialError::Locked { store: "vault" });
        }
        if self.has(Fault::Forgets) {
            return Ok(());
        }
        if self.has(Fault::Slow) {
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        }
        self.store.put(key, value).await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.opened()?;
        if self.has(Fault::SlowToDelete) || self.has(Fault::RefusesToDelete) {
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        }
        if self.has(Fault::RefusesToDelete) {
            return Err(CredentialError::Locked { store: "vault" });
        }
        self.store.delete(key).await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.opened()?;
        if self.has(Fault::SilentForOne) && slug.as_str() == "one" {
            std::future::pending::<()>().await;
        }
        if self.has(Fault::ListsNothing) { Ok(Vec::new()) } else { self.store.list(slug).await }
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.store.compare_and_swap(key, expected, new).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.store.exclusive(slug).await
    }
}

pub(super) fn command(env: &[(&str, &str)]) -> StdioCommand {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    StdioCommand { command: "server".to_owned(), env, ..StdioCommand::default() }
}

/// A host that keeps what its dialer was given, with a connector `local` in its file that has this environment in plain text.
pub(super) async fn written(env: &[(&str, &str)]) -> (ConnectorManager, Host, Arc<Noting>, Slug) {
    let (host, dialer) = (Host::new(), Arc::new(Noting::default()));
    let slug = Slug::verbatim("local");
    let definition = crate::ConnectorDefinition::stdio(slug.clone(), "Local", command(env));
    host.config.insert(&definition).await.unwrap();
    let manager = host.without_dialer().with_dialer(Arc::clone(&dialer) as _).start().await;
    (manager, host, dialer, slug)
}

/// The same, on a store that can be told to fail.
pub(super) async fn faulty(env: &[(&str, &str)]) -> (ConnectorManager, Host, Arc<Faulty>, Slug) {
    let (host, store, slug) = (Host::new(), Arc::new(Faulty::default()), Slug::verbatim("local"));
    let definition = crate::ConnectorDefinition::stdio(slug.clone(), "Local", command(env));
    host.config.insert(&definition).await.unwrap();
    let manager = host
        .without_dialer()
        .with_credentials(Arc::clone(&store) as _)
        .with_dialer(Arc::new(Noting::default()))
        .start()
        .await;
    (manager, host, store, slug)
}

/// What the definition says: the plain variables, and the names of the others.
pub(super) async fn stored(host: &Host) -> (Vec<String>, Vec<String>) {
    let stdio = host.config.load().await.unwrap().remove(0).stdio.unwrap();
    (stdio.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(), stdio.secret_env)
}

pub(super) fn given(dialer: &Noting) -> Vec<String> {
    dialer.0.lock().unwrap().clone()
}

pub(super) fn changes(variables: &[(&str, Option<&str>)]) -> Option<BTreeMap<String, Option<SecretString>>> {
    Some(variables.iter().map(|(name, value)| ((*name).to_owned(), value.map(SecretString::from))).collect())
}

fn problem<T: std::fmt::Debug>(outcome: Result<T, ConnectorError>) -> (&'static str, String) {
    match outcome {
        Err(ConnectorError::Invalid(InvalidDefinition { field, problem })) => (field, problem),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_looks_like_a_secret_in_a_new_environment_goes_to_the_secret_store_and_to_the_process() {
    let (host, dialer) = (Host::new(), Arc::new(Noting::default()));
    let manager = host.without_dialer().with_dialer(Arc::clone(&dialer) as _).start().await;
    let command = command(&[("GITHUB_TOKEN", TOKEN), ("LOG", "debug"), ("API_KEY", "")]);
    let new = NewConnector::stdio("Local", command)
        .with_secret_env(vec![SecretVariable::new("PLAIN", "looks like none")]);
    let status = manager.add(new).await.unwrap();
    assert_eq!(
        stored(&host).await,
        (strings(&["API_KEY=", "LOG=debug"]), strings(&["GITHUB_TOKEN", "PLAIN"]))
    );
    let secrets = [format!("env:GITHUB_TOKEN={TOKEN}"), "env:PLAIN=looks like none".to_owned()];
    assert_eq!(host.secrets(&status.slug).await, secrets);
    assert_eq!(given(&dialer), [format!("GITHUB_TOKEN={TOKEN}"), "PLAIN=looks like none".to_owned()]);
    let shown = status.command.clone().unwrap();
    assert_eq!(
        (shown.env, shown.secret_env),
        (strings(&["API_KEY", "LOG"]), strings(&["GITHUB_TOKEN", "PLAIN"]))
    );
    assert_eq!(status.plaintext_secrets, strings(&[]));
    assert!(!format!("{status:?}").contains(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn arguments_change_without_the_variables_being_known() {
    let (manager, host, dialer, slug) = written(&[("LOG", "debug")]).await;
    let update =
        ConnectorUpdate { secret_env: changes(&[("A_TOKEN", Some("a"))]), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    let update = ConnectorUpdate { args: Some(strings(&["-v"])), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    let definition = host.config.load().await.unwrap().remove(0);
    assert_eq!(
        definition.stdio,
        Some(StdioCommand {
            args: strings(&["-v"]),
            secret_env: strings(&["A_TOKEN"]),
            ..command(&[("LOG", "debug")])
        })
    );
    assert_eq!(given(&dialer), ["A_TOKEN=a"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_environment_keeps_changes_and_drops_by_name() {
    let (manager, host, dialer, slug) =
        written(&[("LOG", "debug"), ("OLD", "1"), ("PLAIN_KEY", "k1#")]).await;
    let first =
        [("A_TOKEN", Some("a")), ("B_TOKEN", Some("b")), ("C_TOKEN", Some("c")), ("D_TOKEN", Some("d"))];
    let update = ConnectorUpdate { secret_env: changes(&first), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    // What is already in the file is not moved without asking.
    assert_eq!(stored(&host).await.0, ["LOG=debug", "OLD=1", "PLAIN_KEY=k1#"]);

    let env = [
        ("LOG", None),
        ("C_TOKEN", None),
        ("D_TOKEN", Some("")),
        ("NEW_TOKEN", Some("n")),
        ("NEW", Some("2")),
    ];
    let secret_env = [("A_TOKEN", None), ("B_TOKEN", Some("b2")), ("PLAIN_KEY", None)];
    let update = ConnectorUpdate {
        env: changes(&env),
        secret_env: changes(&secret_env),
        ..ConnectorUpdate::default()
    };
    manager.update(&slug, update).await.unwrap();
    let plain = strings(&["D_TOKEN=", "LOG=debug", "NEW=2"]);
    let secret = strings(&["A_TOKEN", "C_TOKEN", "NEW_TOKEN", "B_TOKEN", "PLAIN_KEY"]);
    assert_eq!(stored(&host).await, (plain, secret));
    let kept = ["env:A_TOKEN=a", "env:B_TOKEN=b2", "env:C_TOKEN=c", "env:NEW_TOKEN=n", "env:PLAIN_KEY=k1#"];
    assert_eq!(host.secrets(&slug).await, kept);
    assert_eq!(given(&dialer), ["A_TOKEN=a", "C_TOKEN=c", "NEW_TOKEN=n", "B_TOKEN=b2", "PLAIN_KEY=k1#"]);

    let update = ConnectorUpdate { env: changes(&[]), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    assert_eq!((stored(&host).await, host.secrets(&slug).await), ((vec![], vec![]), vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_environment_is_refused_and_changes_nothing() {
    let (manager, host, _dialer, slug) = written(&[("LOG", "debug")]).await;
    let refused = async |env, secret_env| {
        problem(
            manager.update(&slug, ConnectorUpdate { env, secret_env, ..ConnectorUpdate::default() }).await,
        )
        .1
    };
    assert_eq!(
        refused(changes(&[("X", None)]), None).await,
        "the variable \"X\" has no value that could be kept"
    );
    assert_eq!(
        refused(changes(&[("X", Some("1"))]), changes(&[("X", Some("2"))])).await,
        "the variable \"X\" is there twice"
    );
    assert_eq!(
        refused(None, changes(&[("X", Some("\0"))])).await,
        "the variable \"X\" has a value with a NUL character"
    );
    let capitals = refused(None, changes(&[("TOKEN", Some("1")), ("token", Some("2"))])).await;
    assert!(
        capitals.starts_with("the variable \"token\" differs from another one in capitals only"),
        "{capitals}"
    );
    assert_eq!(stored(&host).await, (strings(&["LOG=debug"]), vec![]));
    assert_eq!(host.secrets(&slug).await, strings(&[]));

    let remote = manager.add(NewConnector::http("Remote", "http://one", vec![])).await.unwrap().slug;
    let update = ConnectorUpdate { secret_env: changes(&[]), ..ConnectorUpdate::default() };
    assert_eq!(problem(manager.update(&remote, update).await).0, "secret_env");
    assert_eq!(problem(manager.protect_env(&remote, None).await).0, "slug");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_missing_is_said_with_its_name_until_it_is_entered() {
    let (host, dialer) = (Host::new(), Arc::new(Noting::default()));
    let slug = Slug::verbatim("local");
    let command = StdioCommand { secret_env: strings(&["A_TOKEN"]), ..command(&[]) };
    host.config.insert(&crate::ConnectorDefinition::stdio(slug.clone(), "Local", command)).await.unwrap();
    let manager = host.without_dialer().with_dialer(Arc::clone(&dialer) as _).start().await;
    settle().await;
    let status = manager.status(&slug).unwrap();
    assert_eq!(
        (status.state, status.detail, status.last_error.as_deref()),
        (
            StateName::NeedsSignIn,
            Some("secret_missing"),
            Some("the value of its variable A_TOKEN is not in the memory")
        )
    );
    let step = manager.explain(&slug).unwrap().pop().unwrap();
    assert_eq!(step.remedy.as_deref(), Some("enter the variable's value again"));
    let update =
        ConnectorUpdate { secret_env: changes(&[("A_TOKEN", Some("a"))]), ..ConnectorUpdate::default() };
    manager.update(&slug, update).await.unwrap();
    assert_eq!(given(&dialer), ["A_TOKEN=a"]);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_called_like_a_variables_secret_is_never_sent() {
    let (host, tools) = (Host::new(), Tools::new(&[]));
    host.serve("http://one", &tools.server);
    let mut definition = crate::ConnectorDefinition::http(Slug::verbatim("one"), "One", "http://one");
    definition.secret_headers = strings(&["env:A_TOKEN"]);
    host.config.insert(&definition).await.unwrap();
    let manager = host.start().await;
    settle().await;
    // It would have been missed.
    assert_eq!(manager.status(&definition.slug).unwrap().state, StateName::Ready);
}

#[tokio::test(start_paused = true)]
async fn plain_text_is_named_and_moved_when_the_user_wants_it() {
    let (manager, host, dialer, slug) =
        written(&[("A_TOKEN", "a"), ("B_TOKEN", "b"), ("LOG", "debug")]).await;
    settle().await;
    let status = manager.status(&slug).unwrap();
    assert_eq!(status.plaintext_secrets, ["A_TOKEN", "B_TOKEN"]);
    assert_eq!(host.secrets(&slug).await, strings(&[]));
    let status = manager.protect_env(&slug, Some(strings(&["B_TOKEN"]))).await.unwrap();
    assert_eq!(status.plaintext_secrets, ["A_TOKEN"]);
    assert_eq!(stored(&host).await, (strings(&["A_TOKEN=a", "LOG=debug"]), strings(&["B_TOKEN"])));
    // Again, and the rest.
    for names in [Some(strings(&["B_TOKEN"])), None] {
        manager.protect_env(&slug, names).await.unwrap();
    }
    assert_eq!(stored(&host).await, (strings(&["LOG=debug"]), strings(&["B_TOKEN", "A_TOKEN"])));
    assert_eq!(host.secrets(&slug).await, ["env:A_TOKEN=a", "env:B_TOKEN=b"]);
    manager.reconnect(&slug).await.unwrap();
    assert_eq!(given(&dialer), ["B_TOKEN=b", "A_TOKEN=a"]);
    assert_eq!(
        problem(manager.protect_env(&slug, Some(strings(&["NONE"]))).await),
        ("names", "there is no variable \"NONE\"".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_forgets_leaves_the_plain_text_where_it_is() {
    let (manager, host, store, slug) = faulty(&[("A_TOKEN", "a"), ("B_TOKEN", "b")]).await;
    for fault in [Fault::RefusesB, Fault::Forgets] {
        store.set(fault);
        let error = manager.protect_env(&slug, None).await.unwrap_err();
        assert_eq!(error.code(), "secret_store_unavailable", "{error}");
        assert_eq!(stored(&host).await, (strings(&["A_TOKEN=a", "B_TOKEN=b"]), vec![]));
        assert_eq!(store.names("local").await, strings(&[]));
    }
    store.set(Fault::RefusesB);
    let command = command(&[("A_TOKEN", "a"), ("B_TOKEN", "b")]);
    let error = manager.add(NewConnector::stdio("Other", command)).await.unwrap_err();
    assert_eq!((error.code(), manager.list().len()), ("secret_store_unavailable", 1));
    assert_eq!(store.names("other").await, strings(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_cannot_be_written_takes_the_moved_values_back() {
    let credentials = Arc::new(MemoryCredentialStore::default());
    let slug = Slug::verbatim("local");
    let definition = crate::ConnectorDefinition::stdio(slug.clone(), "Local", command(&[("A_TOKEN", "a")]));
    let mut config = MockConfigStore::new();
    config.expect_load().returning(move || Ok(vec![definition.clone()]));
    config.expect_compare_and_swap().returning(|_, _| {
        let source = std::io::Error::other("disk full");
        Err(StorageError::Io { action: "write", file: "connectors.json".to_owned(), source })
    });
    let manager = ConnectorManager::builder()
        .with_config(Arc::new(config))
        .with_credentials(Arc::clone(&credentials) as _)
        .with_dialer(Arc::new(Noting::default()))
        .start()
        .await;
    let error = manager.protect_env(&slug, None).await.unwrap_err();
    assert_eq!(error.code(), "storage");
    assert_eq!(credentials.list(&slug).await.unwrap(), []);
    assert_eq!(manager.status(&slug).unwrap().plaintext_secrets, ["A_TOKEN"]);
}

#[tokio::test(start_paused = true)]
async fn removal_takes_the_values_with_it_also_from_a_store_that_cannot_tell_what_it_holds() {
    let (manager, _host, store, slug) = faulty(&[("A_TOKEN", "a")]).await;
    manager.protect_env(&slug, None).await.unwrap();
    assert_eq!(store.names("local").await, ["env:A_TOKEN"]);
    store.set(Fault::ListsNothing);
    manager.remove(&slug).await.unwrap();
    assert_eq!(store.names("local").await, strings(&[]));
}
