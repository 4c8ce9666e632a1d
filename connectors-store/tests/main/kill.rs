//! A writer that is killed at any moment leaves the old or the new state, whole.
//!
//! The test runs itself as the writer, which says on its standard output when it begins a write and when it has
//! finished it, and kills it after a number of lines and a few microseconds that are different every time.

use std::path::Path;
use std::time::{Duration, Instant};

use connectors_core::{ConfigStore, ConnectorDefinition, Slug};
use connectors_store::ManifestStore;

use crate::process::{lines, orders, say, start};

/// The definition that the writer's `n`th write leaves: large enough that it takes several blocks on disk.
fn nth(n: u64) -> ConnectorDefinition {
    let mut definition = ConnectorDefinition::http(Slug::verbatim("w"), n.to_string(), "https://host.test");
    definition.enabled_tools = vec![format!("tool_{n}"); 200 + (n as usize % 7) * 100];
    definition
}

/// Lets a writer begin some writes, kills it, and returns the last one that it has said to have finished.
fn run_and_kill(writer: &str, folder: &Path, round: u64, last: u64) -> u64 {
    let mut child = start(writer, folder, last + 1);
    let mut lines = lines(&mut child);
    let mut finished = last;
    let mut take = |line: &str| {
        if let Some(n) = line.strip_prefix("finished ") {
            finished = n.parse().unwrap();
        }
        line.starts_with("begins ")
    };
    let mut to_begin = 1 + round % 4;
    while to_begin > 0 {
        let line = lines.next().expect("the writer has ended by itself");
        to_begin -= u64::from(take(&line));
    }
    // A spread over the time that a write takes, which no signal from within it could give.
    let moment = Instant::now() + Duration::from_micros(round * 37 % 1_500);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines {
        take(&line);
    }
    finished
}

fn temporary_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

#[test]
#[ignore = "run by another test, as a process to be killed"]
fn manifest_writer() {
    let Some((folder, first)) = orders() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = ManifestStore::new(folder.join("connectors.json"));
    for n in first.. {
        say("begins", n);
        runtime.block_on(store.replace(&nth(n))).unwrap();
        say("finished", n);
    }
}

#[tokio::test]
async fn killing_a_writer_leaves_a_manifest_with_the_old_or_the_new_state() {
    const ROUNDS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connectors.json");
    let other = r#"{"slug":"other","name":"Other","url":"https://other.test","theirs":{"n":1}}"#;
    std::fs::write(&path, format!(r#"{{"connectors":[{other}]}}"#)).unwrap();
    let other: serde_json::Value = serde_json::from_str(other).unwrap();

    let (mut last, mut unfinished, mut unreported) = (0, 0, 0);
    for round in 0..ROUNDS {
        let finished = run_and_kill("kill::manifest_writer", folder.path(), round, last);
        unfinished += temporary_files(folder.path()).len();
        let definitions = ManifestStore::new(&path).load().await.unwrap();
        let written = definitions.get(1);
        let n = written.map_or(0, |definition| definition.name.parse().unwrap());
        assert!(n == finished || n == finished + 1, "round {round}: {n} is there after {finished}");
        if let Some(written) = written {
            assert_eq!(*written, nth(n));
        }
        let raw: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(raw["connectors"][0], other, "round {round}");
        assert_eq!(temporary_files(folder.path()), [""; 0], "round {round}");
        unreported += u64::from(n == finished + 1);
        last = n;
    }
    println!(
        "{ROUNDS} kills, {last} writes; {unfinished} unfinished files, {unreported} writes not yet reported"
    );
    assert!(unfinished > 0, "no kill has hit a write");
}

#[cfg(feature = "vault")]
mod vault {
    use connectors_core::{CredentialKey, CredentialStore};
    use connectors_store::{Paths, VaultStore};
    use secrecy::{ExposeSecret, SecretString};

    use super::*;

    fn vault(folder: &Path) -> VaultStore {
        VaultStore::new(&Paths::new(folder.join("state"), folder.join("vault.key")))
    }

    fn key() -> CredentialKey {
        CredentialKey::tokens(&Slug::verbatim("w"))
    }

    fn value(n: u64) -> String {
        format!("{n} {}", "x".repeat(20_000))
    }

    #[test]
    #[ignore = "run by another test, as a process to be killed"]
    fn writer() {
        let Some((folder, first)) = orders() else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = vault(&folder);
        for n in first.. {
            say("begins", n);
            runtime.block_on(store.put(&key(), &SecretString::from(value(n)))).unwrap();
            say("finished", n);
        }
    }

    #[tokio::test]
    async fn killing_a_writer_leaves_a_vault_with_the_old_or_the_new_state() {
        const ROUNDS: u64 = 100;
        let folder = tempfile::tempdir().unwrap();
        let mut last = 0;
        for round in 0..ROUNDS {
            let finished = run_and_kill("kill::vault::writer", folder.path(), round, last);
            let read = vault(folder.path()).get(&key()).await.unwrap();
            let n = read.as_ref().map_or(0, |read| {
                let n = read.expose_secret().split_once(' ').unwrap().0.parse().unwrap();
                assert!(read.expose_secret() == value(n), "round {round}: a mixture of two values");
                n
            });
            assert!(n == finished || n == finished + 1, "round {round}: {n} is there after {finished}");
            last = n;
        }
    }
}
