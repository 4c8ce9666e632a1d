#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use connectors_core::store::Exclusive;
use connectors_core::{CredentialKey, MemoryCredentialStore, contract};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::marker::{Leftover, Marker};
use super::*;

/// What becomes of the calls to both places, counted together.
#[derive(Default)]
struct Fate {
    calls: AtomicUsize,
    /// The call that never ends, as if its process had died.
    dies_at: Option<usize>,
    /// The call from which on every one fails.
    fails_from: Option<usize>,
}

/// A place in memory that can be told to fail.
#[derive(Clone)]
struct Scripted {
    store: Arc<MemoryCredentialStore>,
    fate: Arc<Fate>,
    accounts: Arc<Mutex<Vec<CredentialKey>>>,
    common: bool,
    problem: Option<&'static str>,
}

impl Scripted {
    async fn step(&self) -> Result<(), CredentialError> {
        let call = self.fate.calls.fetch_add(1, Ordering::SeqCst);
        if self.fate.dies_at == Some(call) {
            std::future::pending::<()>().await;
        }
        match self.fate.fails_from {
            Some(first) if call >= first => {
                Err(CredentialError::Failed { store: "scripted", source: "it was told to".into() })
            }
            _ => Ok(()),
        }
    }

    fn note(&self, key: &CredentialKey) {
        let mut accounts = self.accounts.lock().unwrap();
        if !accounts.contains(key) {
            accounts.push(key.clone());
        }
    }

    /// Everything in it.
    async fn content(&self) -> BTreeMap<String, String> {
        let mut content = BTreeMap::new();
        let accounts = self.accounts.lock().unwrap().clone();
        for key in accounts {
            if let Some(value) = self.store.get(&key).await.unwrap() {
                content.insert(key.account(), value.expose_secret().to_owned());
            }
        }
        content
    }
}

#[async_trait]
impl CredentialStore for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn get(&self, key: &CredentialKey) -> Result<Option<SecretString>, CredentialError> {
        self.step().await?;
        self.store.get(key).await
    }

    async fn put(&self, key: &CredentialKey, value: &SecretString) -> Result<(), CredentialError> {
        self.step().await?;
        self.note(key);
        self.store.put(key, value).await?;
        // A process may die after it was written and before it knows.
        self.step().await
    }

    async fn delete(&self, key: &CredentialKey) -> Result<(), CredentialError> {
        self.step().await?;
        self.store.delete(key).await?;
        self.step().await
    }

    async fn list(&self, slug: &Slug) -> Result<Vec<CredentialKey>, CredentialError> {
        self.step().await?;
        self.store.list(slug).await
    }

    async fn compare_and_swap<'a>(
        &self,
        key: &CredentialKey,
        expected: Option<&'a SecretString>,
        new: &SecretString,
    ) -> Result<bool, CredentialError> {
        self.step().await?;
        self.note(key);
        self.store.compare_and_swap(key, expected, new).await
    }

    async fn exclusive(&self, slug: &Slug) -> Result<Exclusive, CredentialError> {
        self.store.exclusive(slug).await
    }
}

#[async_trait]
impl Keeper for Scripted {
    fn description(&self) -> String {
        "a script".to_owned()
    }

    async fn condition(&self) -> Condition {
        Condition { problem: self.problem.map(str::to_owned), ..Condition::default() }
    }

    async fn prove(&self) -> Condition {
        self.condition().await
    }

    async fn keys(&self) -> Result<Vec<CredentialKey>, CredentialError> {
        self.step().await?;
        let content = self.content().await;
        Ok(content.keys().filter_map(|account| CredentialKey::from_account(account)).collect())
    }

    fn is_common(&self) -> bool {
        self.common
    }
}

/// Two places, and the processes of a state root that use them.
struct Machine {
    folder: TempDir,
    keychain: Scripted,
    vault: Scripted,
}

impl Machine {
    fn new() -> Self {
        let place = |common| Scripted {
            store: Arc::default(),
            fate: Arc::default(),
            accounts: Arc::default(),
            common,
            problem: None,
        };
        Self { folder: tempfile::tempdir().unwrap(), keychain: place(true), vault: place(false) }
    }

    fn place(&self, place: SecretPlace) -> &Scripted {
        match place {
            SecretPlace::Keychain => &self.keychain,
            SecretPlace::Vault => &self.vault,
        }
    }

    /// A process, with this in store for it.
    fn process(&self, fate: &Arc<Fate>) -> Arc<Places> {
        let with_fate = |place: &Scripted| Scripted { fate: Arc::clone(fate), ..place.clone() };
        let (keychain, vault) = (with_fate(&self.keychain), with_fate(&self.vault));
        let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
            Ok(Arc::new(match place {
                SecretPlace::Keychain => keychain.clone(),
                SecretPlace::Vault => vault.clone(),
            }))
        };
        Arc::new(Places::new(self.folder.path(), make))
    }

    /// A process that starts where the secrets are, which is `otherwise` where they were never moved.
    async fn started(&self, otherwise: SecretPlace) -> Arc<Places> {
        let process = self.process(&Arc::default());
        let marker = process.marker.read().unwrap().filter(|marker| marker.moves > 0);
        process.settle(
            marker.as_ref().map_or(otherwise, |marker| marker.kept_in),
            marker.as_ref().map_or(0, |marker| marker.moves),
        );
        process.finish_interrupted().await.unwrap();
        process
    }

    async fn fill(&self, place: SecretPlace, secrets: &[(&str, &str)]) {
        for (account, value) in secrets {
            self.place(place).put(&key(account), &SecretString::from(*value)).await.unwrap();
        }
    }

    async fn contents(&self) -> [BTreeMap<String, String>; 2] {
        [self.keychain.content().await, self.vault.content().await]
    }
}

fn key(account: &str) -> CredentialKey {
    CredentialKey::from_account(account).unwrap()
}

fn map(secrets: &[(&str, &str)]) -> BTreeMap<String, String> {
    secrets.iter().map(|(account, value)| ((*account).to_owned(), (*value).to_owned())).collect()
}

fn own() -> BTreeSet<Slug> {
    ["a", "b"].map(Slug::verbatim).into()
}

const SECRETS: [(&str, &str); 3] =
    [("connector:a:tokens", "one"), ("connector:a:X-Key", "two"), ("connector:b:tokens", "three")];

use SecretPlace::{Keychain, Vault};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_that_switches_keeps_the_contract() {
    let machines = Mutex::new(Vec::new());
    let two = || {
        let machine = Machine::new();
        let open = || {
            let process = machine.process(&Arc::default());
            process.settle(Vault, 0);
            Arc::new(SwitchingStore(process))
        };
        let two = (open(), open());
        machines.lock().unwrap().push(machine);
        two
    };
    contract::credentials::run(|| two().0).await;
}

#[tokio::test]
async fn a_move_takes_everything_along_and_leaves_nothing_of_its_own() {
    for to in [Vault, Keychain] {
        let machine = Machine::new();
        machine.fill(to.other(), &SECRETS).await;
        let process = machine.started(to.other()).await;
        assert_eq!(process.move_to(to, &own()).await.unwrap(), Moved { moved: 3, left: 0 });
        assert_eq!(machine.place(to).content().await, map(&SECRETS));
        assert_eq!(machine.place(to.other()).content().await, map(&[]));
        assert_eq!(process.marker.read().unwrap(), Some(Marker::new(to, 1, None)));
        // Again, and back.
        assert_eq!(process.move_to(to, &own()).await.unwrap(), Moved { moved: 0, left: 0 });
        assert_eq!(process.move_to(to.other(), &own()).await.unwrap(), Moved { moved: 3, left: 0 });
        assert_eq!(machine.place(to.other()).content().await, map(&SECRETS));
    }
}

/// Counts up to the number of steps that a process makes in a move, and has one die or fail at each.
async fn at_each_step(to: SecretPlace, fails: bool) {
    let (own, mut steps, mut stayed, mut moved) = (own(), 0, 0, 0);
    loop {
        let machine = Machine::new();
        machine.fill(to.other(), &SECRETS).await;
        machine.fill(to, &[("connector:b:tokens", "of another time"), ("connector:c:x", "kept")]).await;
        let at = Some(steps);
        let fate = Arc::new(match fails {
            true => Fate { fails_from: at, ..Fate::default() },
            false => Fate { dies_at: at, ..Fate::default() },
        });
        let process = machine.process(&fate);
        process.settle(to.other(), 0);
        tokio::select! {
            outcome = process.move_to(to, &own) => match outcome {
                Ok(outcome) if outcome.left == 0 => break,
                // The failure came when the secrets were moved already, or was one.
                outcome => assert!(fails, "{outcome:?}"),
            },
            () = dead(&fate, steps), if !fails => {}
        }
        steps += 1;
        drop(process);

        let next = machine.started(to.other()).await;
        let store = SwitchingStore(Arc::clone(&next));
        for (account, value) in SECRETS {
            let read = store.get(&key(account)).await.unwrap();
            assert_eq!(read.unwrap().expose_secret(), value, "step {steps}");
        }
        let other = next.place().other();
        let left = machine.place(other).content().await;
        if other == to {
            stayed += 1;
            // What was there before, under its own or a newer value.
            let names: Vec<_> = left.keys().map(String::as_str).collect();
            assert_eq!(names, ["connector:b:tokens", "connector:c:x"], "step {steps}");
        } else {
            moved += 1;
            assert_eq!(left, map(&[]), "step {steps}");
        }
        let marker = next.marker.read().unwrap();
        assert_eq!(marker.and_then(|marker| marker.leftover), None, "step {steps}");
    }
    assert!(stayed > 5 && moved > 5, "of {steps} steps {stayed} were before the switch and {moved} after it");
}

/// Returns once the call that never ends was made.
async fn dead(fate: &Fate, step: usize) {
    while fate.calls.load(Ordering::SeqCst) <= step {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_dies_at_any_step_of_a_move_leaves_every_secret_where_the_next_one_finds_it() {
    at_each_step(Vault, false).await;
    at_each_step(Keychain, false).await;
}

#[tokio::test]
async fn a_place_that_fails_at_any_step_of_a_move_loses_nothing() {
    at_each_step(Vault, true).await;
    at_each_step(Keychain, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_two_processes_lose_nothing_while_a_third_moves_the_secrets_to_and_fro() {
    const EACH: usize = 40;
    let machine = Machine::new();
    let counter = key("connector:a:tokens");
    machine.fill(Keychain, &[("connector:a:tokens", "0")]).await;
    let mut writers = Vec::new();
    for _ in 0..2 {
        let process = machine.started(Keychain).await;
        for _ in 0..2 {
            let (store, counter) = (SwitchingStore(Arc::clone(&process)), counter.clone());
            writers.push(tokio::spawn(async move {
                for _ in 0..EACH {
                    let _turn = store.exclusive(counter.slug()).await.unwrap();
                    let present = store.get(&counter).await.unwrap().expect("the secret is gone");
                    let next = present.expose_secret().parse::<usize>().unwrap() + 1;
                    store.put(&counter, &SecretString::from(next.to_string())).await.unwrap();
                }
            }));
        }
    }
    let mover = machine.started(Keychain).await;
    let mut moves = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let to = mover.place().other();
        assert_eq!(mover.move_to(to, &own()).await.unwrap(), Moved { moved: 1, left: 0 });
        moves += 1;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(moves > 3, "{moves}");
    let [keychain, vault] = machine.contents().await;
    let expected = map(&[("connector:a:tokens", &(4 * EACH).to_string())]);
    assert!((keychain == expected) != (vault == expected), "{keychain:?} {vault:?}");
}

#[tokio::test]
async fn what_other_state_roots_keep_in_a_keychain_is_neither_overwritten_nor_deleted() {
    let machine = Machine::new();
    machine.fill(Keychain, &SECRETS).await;
    machine.fill(Keychain, &[("connector:theirs:tokens", "theirs")]).await;
    let process = machine.started(Keychain).await;
    assert_eq!(process.move_to(Vault, &own()).await.unwrap(), Moved { moved: 4, left: 1 });
    assert_eq!(machine.keychain.content().await, map(&[("connector:theirs:tokens", "theirs")]));

    machine.fill(Keychain, &[("connector:theirs:tokens", "refreshed by them")]).await;
    assert_eq!(process.move_to(Keychain, &own()).await.unwrap(), Moved { moved: 3, left: 1 });
    let mut expected = map(&SECRETS);
    expected.insert("connector:theirs:tokens".to_owned(), "refreshed by them".to_owned());
    assert_eq!(machine.keychain.content().await, expected);
}

#[tokio::test]
async fn a_process_that_was_told_to_look_elsewhere_keeps_what_it_finds_there() {
    let machine = Machine::new();
    machine.fill(Keychain, &SECRETS).await;
    machine.fill(Vault, &SECRETS).await;
    let accounts = SECRETS.map(|(account, _)| account.to_owned()).to_vec();
    let process = machine.process(&Arc::default());
    let leftover = Leftover { place: Vault, accounts };
    process.marker.write(&Marker::new(Keychain, 3, Some(leftover))).unwrap();
    process.settle(Vault, 3);
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.vault.content().await, map(&SECRETS));
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Keychain, 3, None)));

    machine.fill(Vault, &[("connector:a:tokens", "newer")]).await;
    assert_eq!(process.move_to(Keychain, &own()).await.unwrap(), Moved { moved: 3, left: 0 });
    assert_eq!(machine.keychain.content().await["connector:a:tokens"], "newer");
    assert_eq!(machine.vault.content().await, map(&[]));
}

#[tokio::test]
async fn nothing_is_moved_to_a_place_that_does_not_keep_it() {
    let mut machine = Machine::new();
    machine.keychain.problem = Some("the keychain forgets");
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let error = process.move_to(Keychain, &own()).await.unwrap_err();
    assert_eq!(error.to_string(), "the keychain is not available: the keychain forgets");
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    assert_eq!(process.marker.read().unwrap(), None);
}

#[tokio::test]
async fn a_record_of_moves_that_cannot_be_read_is_reported_and_nothing_is_touched() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS).await;
    let process = machine.started(Vault).await;
    let store = SwitchingStore(Arc::clone(&process));
    for (text, said) in [
        ("{\"version\":1", "is damaged, so that it is not known where the secrets are"),
        ("{\"version\":2,\"kept_in\":\"vault\",\"moves\":1}", "was written by a newer version"),
    ] {
        std::fs::write(&process.marker.path, text).unwrap();
        let error = store.get(&key("connector:a:tokens")).await.unwrap_err().to_string();
        assert!(error.starts_with("the secret store is not available: ") && error.contains(said), "{error}");
        store.put(&key("connector:a:tokens"), &SecretString::from("x")).await.unwrap_err();
        process.move_to(Keychain, &own()).await.unwrap_err();
        assert_eq!(std::fs::read_to_string(&process.marker.path).unwrap(), text);
        assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    }
}

#[tokio::test]
async fn what_the_place_in_use_does_not_hold_is_not_deleted_in_the_other() {
    let machine = Machine::new();
    machine.fill(Vault, &SECRETS[..1]).await;
    machine.fill(Keychain, &SECRETS).await;
    let accounts =
        |secrets: &[(&str, &str)]| secrets.iter().map(|(account, _)| (*account).to_owned()).collect();
    let process = machine.process(&Arc::default());
    let leftover = Leftover { place: Keychain, accounts: accounts(&SECRETS) };
    process.marker.write(&Marker::new(Vault, 1, Some(leftover))).unwrap();
    process.settle(Vault, 1);
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.contents().await, [map(&SECRETS[1..]), map(&SECRETS[..1])]);
    let leftover = Leftover { place: Keychain, accounts: accounts(&SECRETS[1..]) };
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Vault, 1, Some(leftover))));

    machine.fill(Vault, &SECRETS[1..]).await;
    process.finish_interrupted().await.unwrap();
    assert_eq!(machine.contents().await, [map(&[]), map(&SECRETS)]);
    assert_eq!(process.marker.read().unwrap(), Some(Marker::new(Vault, 1, None)));
}

/// A process whose keychain is scripted and whose vault is a file.
#[cfg(feature = "vault")]
fn with_a_file(machine: &Machine, fate: &Arc<Fate>) -> (Arc<Places>, VaultStore) {
    let folder = machine.folder.path();
    let vault =
        VaultStore::new(&crate::Paths::new(folder.join("state"), folder.join("config").join("vault.key")));
    let (keychain, made) = (Scripted { fate: Arc::clone(fate), ..machine.keychain.clone() }, vault.clone());
    let make = move |place| -> Result<Arc<dyn Keeper>, CredentialError> {
        Ok(match place {
            Keychain => Arc::new(keychain.clone()),
            Vault => Arc::new(made.clone()),
        })
    };
    let places = Arc::new(Places::new(&folder.join("state"), make));
    places.settle(Keychain, 0);
    (places, vault)
}

#[cfg(feature = "vault")]
#[tokio::test]
async fn a_move_that_fails_leaves_no_vault_that_was_not_there_before() {
    let mut steps = 0;
    loop {
        let machine = Machine::new();
        machine.fill(Keychain, &SECRETS).await;
        let fate = Arc::new(Fate { fails_from: Some(steps), ..Fate::default() });
        let (places, vault) = with_a_file(&machine, &fate);
        match places.move_to(Vault, &own()).await {
            Ok(_) => break,
            Err(_) => assert!(!vault.exists(), "step {steps}"),
        }
        assert_eq!(machine.keychain.content().await, map(&SECRETS), "step {steps}");
        // One that was there stays.
        vault.open().await.unwrap();
        places.move_to(Vault, &own()).await.unwrap_err();
        assert!(vault.exists(), "step {steps}");
        steps += 1;
    }
    assert_eq!(steps, 1 + SECRETS.len(), "the keys, and each secret");
}

#[cfg(feature = "vault")]
#[tokio::test]
async fn a_vault_that_is_not_in_use_gets_no_passphrase_and_is_not_made() {
    let machine = Machine::new();
    let (places, vault) = with_a_file(&machine, &Arc::default());
    let secrets = Secrets(Arc::new(Inner {
        places: Some(Arc::clone(&places)),
        vault: Some(vault.clone()),
        asked_for: None,
        said: Mutex::new(Said { place: None, why: String::new(), besides: String::new(), warning: false }),
    }));
    for passphrase in [None, Some(SecretString::from("p"))] {
        let error = secrets.set_passphrase(passphrase).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "secrets are in the keychain, not in a vault; move them there first, then set its passphrase"
        );
        assert!(!vault.exists());
    }
    places.settle(Vault, 0);
    secrets.set_passphrase(None).await.unwrap();
    assert_eq!(vault.key_source().await, Some("key_file"));
}

#[tokio::test]
async fn secrets_in_memory_are_not_moved() {
    let secrets = Secrets::in_memory(", as chosen".to_owned());
    let error = secrets.move_to(Vault, own()).await.unwrap_err();
    assert!(matches!(error, SecretsError::InMemory), "{error}");
    let status = secrets.status().await;
    assert_eq!(
        (status.kind, status.notice.as_str(), status.warning, status.can_move_to),
        ("memory", "Secrets are kept in memory, as chosen.", true, vec![])
    );
}
