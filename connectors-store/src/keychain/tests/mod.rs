#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod fake_service;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use connectors_core::contract;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::backend::Condition;
use super::chunks::Limits;
use super::native::NativeBackend;
use super::secret_service::SecretServiceBackend;
use super::*;
use fake_service::{Answer, FakeService, LOGIN, SESSION};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(150);

fn on_fake(fake: &FakeService, folder: &TempDir) -> KeychainStore {
    let worker = Worker::start().unwrap();
    let backend = SecretServiceBackend::connecting(SERVICE, worker.handle(), fake.connect());
    KeychainStore::on(Arc::new(backend), worker, folder.path()).with_timeout(LONG)
}

fn on_sample(folder: &Path) -> KeychainStore {
    let sample = keyring_core::sample::Store::new().unwrap();
    let backend = NativeBackend::new(sample, "sample", SERVICE, Limits::WINDOWS);
    KeychainStore::on(Arc::new(backend), Worker::start().unwrap(), folder).with_timeout(LONG)
}

fn key() -> CredentialKey {
    CredentialKey::header(&Slug::verbatim("github"), "X-Api-Key")
}

fn secret(value: &str) -> SecretString {
    SecretString::from(value)
}

async fn get(store: &KeychainStore) -> Result<Option<String>, CredentialError> {
    Ok(store.get(&key()).await?.map(|value| value.expose_secret().to_owned()))
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_service_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::credentials::run(|| Arc::new(on_fake(&FakeService::new(), &folder))).await;
    contract::credentials::run_shared(|| {
        let fake = FakeService::new();
        (Arc::new(on_fake(&fake, &folder)), Arc::new(on_fake(&fake, &folder)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_keyring_core_store_with_limited_entries_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::credentials::run(|| Arc::new(on_sample(folder.path()))).await;
}

#[tokio::test]
async fn entries_of_keyring_3_and_of_keyring_1_are_found_replaced_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let account = ("username", "connector:github:X-Api-Key");
    for extra in [&[("target", "default"), ("application", "rust-keyring")][..], &[]] {
        let fake = FakeService::new();
        let pairs = [&[("service", "car"), account], extra].concat();
        fake.plant(&pairs, b"old");
        fake.plant(&[("service", "car"), ("username", "PARSLEE_TOKEN")], b"not ours");
        let store = on_fake(&fake, &folder);
        assert_eq!(get(&store).await.unwrap().as_deref(), Some("old"));
        assert_eq!(store.list(key().slug()).await.unwrap(), [key()]);
        store.put(&key(), &secret("new")).await.unwrap();
        assert_eq!(fake.items()[0], (attributes(&pairs), b"new".to_vec()));
        store.delete(&key()).await.unwrap();
        assert_eq!(fake.items().len(), 1);
    }
}

#[tokio::test]
async fn our_entries_have_the_attributes_that_keyring_3_searches_for() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    on_fake(&fake, &folder).put(&key(), &secret("value")).await.unwrap();
    let expected = attributes(&[
        ("service", "car"),
        ("username", "connector:github:X-Api-Key"),
        ("target", "default"),
        ("application", "connectors"),
    ]);
    assert_eq!(fake.items(), [(expected, b"value".to_vec())]);
}

#[tokio::test]
async fn a_value_that_is_not_text_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    fake.plant(&[("service", "car"), ("username", &key().account())], b"\xff\xfe");
    let error = get(&on_fake(&fake, &folder)).await.unwrap_err();
    assert!(matches!(error, CredentialError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_restarted_service_is_connected_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    let store = on_fake(&fake, &folder);
    store.put(&key(), &secret("value")).await.unwrap();
    fake.restart();
    assert_eq!(get(&store).await.unwrap().as_deref(), Some("value"));
    assert_eq!(fake.state().connections, 2);
}

#[tokio::test]
async fn a_probe_tells_the_states_of_a_keychain_apart_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    let store = on_fake(&fake, &folder);
    assert_eq!(store.probe(LONG).await, KeychainState::Working);

    fake.state().default_collection = Some(SESSION);
    assert_eq!(store.probe(LONG).await, KeychainState::Volatile);

    fake.state().default_collection = None;
    let reason = "the Secret Service has no default keyring".to_owned();
    assert_eq!(store.probe(LONG).await, KeychainState::Missing { reason });

    fake.state().default_collection = Some(LOGIN);
    fake.state().locked = true;
    assert_eq!(store.probe(LONG).await, KeychainState::Locked);
    assert_eq!(fake.state().prompts, 0, "a probe has asked the user");
    assert_eq!(fake.items(), []);
}

#[tokio::test]
async fn a_locked_keychain_is_unlocked_by_the_user_and_then_answers() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    fake.plant(&[("service", "car"), ("username", &key().account())], b"value");
    fake.state().locked = true;
    let store = on_fake(&fake, &folder);
    assert_eq!(get(&store).await.unwrap().as_deref(), Some("value"));
    assert_eq!(fake.state().prompts, 1);
}

#[tokio::test]
async fn entries_in_a_second_collection_that_is_locked_are_listed_once_it_is_unlocked_or_missed_aloud() {
    let folder = tempfile::tempdir().unwrap();
    let second = CredentialKey::tokens(key().slug());
    for answer in [Answer::Unlocks, Answer::Dismisses] {
        let fake = FakeService::new();
        fake.plant(&[("service", "car"), ("username", &key().account())], b"one");
        fake.state().default_collection = Some(SESSION);
        fake.plant(&[("service", "car"), ("username", &second.account())], b"two");
        fake.state().default_collection = Some(LOGIN);
        fake.state().locked_too = Some(SESSION);
        fake.state().answer = answer;
        let store = on_fake(&fake, &folder);
        // What is not locked needs nobody.
        assert_eq!(get(&store).await.unwrap().as_deref(), Some("one"));
        assert_eq!(fake.state().prompts, 0);
        match store.list(key().slug()).await {
            Ok(keys) => assert_eq!((keys, answer), (vec![key(), second.clone()], Answer::Unlocks)),
            Err(error) => {
                assert!(matches!(error, CredentialError::Locked { .. }), "{error}");
                assert_eq!(answer, Answer::Dismisses);
            }
        }
        assert_eq!(fake.state().prompts, 1);
    }
}

#[tokio::test]
async fn a_dismissed_prompt_is_not_shown_again_at_once_and_no_value_is_not_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    fake.state().locked = true;
    fake.state().answer = Answer::Dismisses;
    let store = on_fake(&fake, &folder);
    for _ in 0..3 {
        let error = get(&store).await.unwrap_err();
        assert!(matches!(error, CredentialError::Locked { .. }), "{error}");
        let error = store.put(&key(), &secret("v")).await.unwrap_err();
        assert!(matches!(error, CredentialError::Locked { .. }), "{error}");
    }
    assert_eq!(fake.state().prompts, 1);
}

#[tokio::test]
async fn an_unanswered_prompt_times_calls_out_and_is_the_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeService::new();
    fake.state().locked = true;
    fake.state().answer = Answer::Waits;
    let store = on_fake(&fake, &folder).with_timeout(SHORT);
    for _ in 0..3 {
        let error = get(&store).await.unwrap_err();
        assert!(matches!(error, CredentialError::TimedOut { limit: SHORT, .. }), "{error}");
    }
    assert_eq!(fake.state().prompts, 1);
}

/// A keychain whose calls do not come back until it is let go.
#[derive(Default)]
struct Hanging {
    calls: AtomicUsize,
    let_go: Mutex<bool>,
    signal: Condvar,
}

impl Hanging {
    fn hang(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.signal.wait_while(self.let_go.lock().unwrap(), |let_go| !*let_go).unwrap());
    }
}

impl Backend for Hanging {
    fn name(&self) -> &'static str {
        "hanging"
    }
    fn condition(&self, _: Deadline) -> Result<Condition, CredentialError> {
        self.hang();
        Ok(Condition::Persistent)
    }
    fn read(&self, _: &str, _: Deadline) -> Result<Option<SecretString>, CredentialError> {
        self.hang();
        Ok(None)
    }
    fn write(&self, _: &str, _: &SecretString, _: Deadline) -> Result<(), CredentialError> {
        self.hang();
        Ok(())
    }
    fn delete(&self, _: &str, _: Deadline) -> Result<(), CredentialError> {
        self.hang();
        Ok(())
    }
    fn accounts(&self, _: Deadline) -> Result<Vec<String>, CredentialError> {
        self.hang();
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_keychain_that_hangs_takes_up_four_threads_and_works_again_when_it_wakes_up() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = Arc::new(Hanging::default());
    let store = KeychainStore::on(hanging.clone(), Worker::start().unwrap(), folder.path());
    let store = Arc::new(store.with_timeout(SHORT));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.get(&key()).await.unwrap_err().to_string() })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap();
        assert!(error.starts_with("the keychain did not answer within 150ms"), "{error}");
    }
    assert_eq!(store.probe(SHORT).await, KeychainState::Unresponsive);
    assert_eq!(hanging.calls.load(Ordering::SeqCst), 4);

    *hanging.let_go.lock().unwrap() = true;
    hanging.signal.notify_all();
    assert_eq!(get(&store).await.unwrap(), None);
    assert_eq!(hanging.calls.load(Ordering::SeqCst), 5, "calls that were given up were made after all");
}

#[tokio::test]
async fn a_store_may_be_dropped_inside_a_runtime_while_a_call_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let hanging = Arc::new(Hanging::default());
    let store =
        KeychainStore::on(hanging.clone(), Worker::start().unwrap(), folder.path()).with_timeout(SHORT);
    get(&store).await.unwrap_err();
    drop(store);
    *hanging.let_go.lock().unwrap() = true;
    hanging.signal.notify_all();
}
