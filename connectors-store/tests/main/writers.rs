//! Processes that change one manifest at once lose nothing, though some are killed meanwhile.

use std::path::Path;

use connectors_core::{ConfigStore, ConnectorDefinition, Slug};
use connectors_store::ManifestStore;

use crate::process::{lines, orders, say, start};

fn store(folder: &Path) -> ManifestStore {
    ManifestStore::new(folder.join("connectors.json"))
}

fn sample(slug: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(Slug::verbatim(slug), slug, "https://host.test/mcp")
}

/// Adds a connector of its own, and itself to one that all share.
async fn write(store: &ManifestStore, id: u32, n: u64) {
    store.insert(&sample(&format!("of_{id}_{n}"))).await.unwrap();
    loop {
        let definitions = store.load().await.unwrap();
        let before = definitions.iter().find(|definition| definition.slug.as_str() == "shared").unwrap();
        let mut after = before.clone();
        after.enabled_tools.push(format!("of_{id}_{n}"));
        if store.compare_and_swap(before, &after).await.unwrap() {
            return;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
#[ignore = "run by another test, as one of several processes"]
fn writer() {
    let Some((folder, times)) = orders() else { return };
    let store = store(&folder);
    for n in 0..times {
        runtime().block_on(write(&store, std::process::id(), n));
        say("wrote", n);
    }
}

#[tokio::test]
async fn processes_that_write_at_once_lose_nothing_of_each_other() {
    const EACH: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.insert(&sample("shared")).await.unwrap();
    let mut children: Vec<_> = (0..2).map(|_| start("writers::writer", folder.path(), EACH)).collect();
    // One that does not live to see the end.
    let mut killed = start("writers::writer", folder.path(), u64::MAX);
    let its = killed.id();
    let mut said = lines(&mut killed);
    for n in 0..EACH {
        write(&store, 0, n).await;
    }
    let mut last = said.find(|line| line.starts_with("wrote "));
    killed.kill().unwrap();
    killed.wait().unwrap();
    for line in said {
        if line.starts_with("wrote ") {
            last = Some(line);
        }
    }
    let acknowledged: u64 = last.unwrap().trim_start_matches("wrote ").parse().unwrap();
    let mut expected: Vec<_> = (0..EACH).map(|n| format!("of_0_{n}")).collect();
    for child in &mut children {
        let _ = lines(child).last();
        assert!(child.wait().unwrap().success());
        expected.extend((0..EACH).map(|n| format!("of_{}_{n}", child.id())));
    }
    expected.extend((0..=acknowledged).map(|n| format!("of_{its}_{n}")));

    let definitions = ManifestStore::new(store.path()).load().await.unwrap();
    let shared = &definitions[0].enabled_tools;
    for wanted in &expected {
        assert!(shared.contains(wanted), "{wanted} is lost from the shared connector");
        assert!(definitions.iter().any(|definition| definition.slug.as_str() == wanted), "{wanted} is lost");
    }
    // Beyond what was acknowledged, one write of the killed process may have been made in part or in whole.
    assert!(shared.len() - expected.len() <= 1 && definitions.len() - 1 - expected.len() <= 1);
}
