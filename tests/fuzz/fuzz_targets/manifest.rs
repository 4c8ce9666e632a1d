//! Any file is a manifest or refused and left alone, and a change keeps everything that it does not concern.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use connectors_core::{ConfigStore, ConnectorDefinition, Slug};
use connectors_store::ManifestStore;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("connectors.json");
    fs::write(&path, bytes).expect("a file");
    let store = ManifestStore::new(&path);
    RUNTIME.block_on(async {
        let slug = Slug::verbatim("added_by_the_fuzzer");
        let added = ConnectorDefinition::http(slug.clone(), "Added", "https://example.com/mcp");
        let Ok(before) = store.load().await else {
            store.insert(&added).await.expect_err("a file that is no manifest takes nothing");
            assert_eq!(fs::read(&path).expect("the file"), bytes, "a file that is no manifest was changed");
            return;
        };
        if before.iter().any(|definition| definition.slug == slug) {
            return;
        }
        store.insert(&added).await.expect("a manifest takes a connector");
        let mut expected = before.clone();
        expected.push(added);
        assert_eq!(store.load().await.expect("still a manifest"), expected);
        store.remove(&slug).await.expect("a manifest lets a connector go");
        assert_eq!(store.load().await.expect("still a manifest"), before);
        let Some(first) = before.first() else { return };
        let mut expected = before.clone();
        expected[0].name.push('!');
        let swapped = store.compare_and_swap(first, &expected[0]).await;
        assert!(swapped.expect("a manifest takes a change"), "a definition is not the one that was read");
        assert_eq!(store.load().await.expect("still a manifest"), expected);
    });
});
