//! `ManifestStore` keeps the contract of a `ConfigStore`, and leaves alone what it cannot read.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use connectors_core::{ConfigStore, ConnectorDefinition, Slug, StdioCommand, StorageError, contract};
use connectors_store::ManifestStore;
use tempfile::TempDir;

fn store(folder: &TempDir) -> ManifestStore {
    ManifestStore::new(folder.path().join("connectors.json"))
}

fn sample(slug: &str) -> ConnectorDefinition {
    ConnectorDefinition::http(Slug::verbatim(slug), slug, "https://host.test/mcp")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_manifest_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let fresh = || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        folder.path().join(n.to_string()).join("connectors.json")
    };
    contract::config::run(|| Arc::new(ManifestStore::new(fresh()))).await;
    contract::config::run_shared(|| {
        let path = fresh();
        (Arc::new(ManifestStore::new(&path)), Arc::new(ManifestStore::new(&path)))
    })
    .await;
}

#[tokio::test]
async fn reading_creates_nothing_and_writing_creates_private_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = ManifestStore::new(folder.path().join("state").join("connectors.json"));
    assert_eq!(store.load().await.unwrap(), []);
    assert_eq!(names(folder.path()), [""; 0]);

    store.insert(&sample("a")).await.unwrap();
    store.insert(&sample("b")).await.unwrap();
    let state = store.path().parent().unwrap();
    assert_eq!(names(state), ["connectors.json", "connectors.json.bak", "connectors.json.lock"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state), 0o700);
        for name in names(state) {
            assert_eq!(mode(&state.join(&name)), 0o600, "{name}");
        }
    }
}

#[tokio::test]
async fn the_previous_version_is_kept_and_a_change_of_nothing_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.insert(&sample("a")).await.unwrap();
    let first = fs::read_to_string(store.path()).unwrap();
    store.insert(&sample("b")).await.unwrap();
    store.replace(&sample("b")).await.unwrap();
    store.remove(&Slug::verbatim("c")).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("connectors.json.bak")).unwrap(), first);
}

#[tokio::test]
async fn of_a_change_in_two_writes_the_previous_version_is_the_one_before_both() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let previous = || fs::read_to_string(folder.path().join("connectors.json.bak")).unwrap();
    store.insert(&sample("a")).await.unwrap();
    let mut unfinished = sample("b");
    unfinished.unfinished = true;
    let mut before = fs::read_to_string(store.path()).unwrap();
    store.insert(&unfinished).await.unwrap();
    assert!(store.compare_and_swap(&unfinished, &sample("b")).await.unwrap());
    assert_eq!(previous(), before);

    before = fs::read_to_string(store.path()).unwrap();
    store.replace(&unfinished).await.unwrap();
    store.remove(&unfinished.slug).await.unwrap();
    assert_eq!(previous(), before);
    // Nor does one that concerns another connector put what is unfinished there.
    before = fs::read_to_string(store.path()).unwrap();
    store.insert(&unfinished).await.unwrap();
    store.insert(&sample("c")).await.unwrap();
    store.remove(&unfinished.slug).await.unwrap();
    assert_eq!(previous(), before);
    before = fs::read_to_string(store.path()).unwrap();
    store.insert(&sample("d")).await.unwrap();
    assert_eq!(previous(), before);
}

#[tokio::test]
async fn a_change_that_takes_a_secret_out_of_the_file_leaves_no_previous_version_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let env = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
    let plain = StdioCommand { command: "c".to_owned(), env: env(&["A", "B"]), ..StdioCommand::default() };
    let definition =
        |command: &StdioCommand| ConnectorDefinition::stdio(Slug::verbatim("s"), "S", command.clone());
    store.insert(&sample("a")).await.unwrap();
    store.insert(&definition(&plain)).await.unwrap();
    let hidden = StdioCommand { env: env(&["B"]), secret_env: vec!["A".to_owned()], ..plain.clone() };
    assert!(store.compare_and_swap(&definition(&plain), &definition(&hidden)).await.unwrap());
    assert_eq!(names(folder.path()), ["connectors.json", "connectors.json.lock"]);
    assert_eq!(store.load().await.unwrap()[1], definition(&hidden));
    // One that only drops a variable is as any other.
    let dropped = StdioCommand { env: env(&[]), ..hidden.clone() };
    store.replace(&definition(&dropped)).await.unwrap();
    assert_eq!(names(folder.path()), ["connectors.json", "connectors.json.bak", "connectors.json.lock"]);
}

#[tokio::test]
async fn nor_does_it_leave_one_of_another_process_that_has_died_in_between() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let plain = StdioCommand {
        command: "c".to_owned(),
        env: [("A".to_owned(), "v".to_owned())].into(),
        ..StdioCommand::default()
    };
    let hidden = StdioCommand { env: [].into(), secret_env: vec!["A".to_owned()], ..plain.clone() };
    let definition =
        |command: &StdioCommand| ConnectorDefinition::stdio(Slug::verbatim("s"), "S", command.clone());
    store.insert(&definition(&plain)).await.unwrap();
    // Long after this one has looked for such files.
    for name in [".connectors.json.bak.tmp", ".connectors.json.x1.tmp"] {
        fs::copy(store.path(), folder.path().join(name)).unwrap();
    }
    store.replace(&definition(&hidden)).await.unwrap();
    assert_eq!(names(folder.path()), ["connectors.json", "connectors.json.lock"]);
}

#[tokio::test]
async fn what_looks_like_a_secret_is_in_no_previous_version_once_it_is_replaced_or_removed() {
    let plain = |value: Option<&str>| {
        let env = value.map(|value| ("API_TOKEN".to_owned(), value.to_owned())).into_iter().collect();
        let command = StdioCommand { command: "c".to_owned(), env, ..StdioCommand::default() };
        ConnectorDefinition::stdio(Slug::verbatim("s"), "S", command)
    };
    let old = plain(Some("hunter22hunter"));
    let mut renamed = old.clone();
    renamed.name = "Renamed".to_owned();
    for (change, is_kept) in [
        (Some(renamed), true),
        (Some(plain(Some("hunter23hunter"))), false),
        (Some(plain(None)), false),
        (None, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        store.insert(&sample("a")).await.unwrap();
        store.insert(&old).await.unwrap();
        match &change {
            Some(change) => store.replace(change).await.unwrap(),
            None => store.remove(&old.slug).await.unwrap(),
        }
        assert_eq!(names(folder.path()).contains(&"connectors.json.bak".to_owned()), is_kept, "{change:?}");
    }
}

#[tokio::test]
async fn a_file_that_does_not_parse_is_reported_with_its_place_and_never_written() {
    for (text, line, column) in [
        ("{\"connectors\": [\n  {\"slug\": \"a\",}\n]}", 2, 16),
        ("", 1, 1),
        ("[]", 1, 0),
        ("{\"connectors\":[{\"slug\":\"a\",\"name\":\"A\"},\n{\"slug\":\"a\",\"name\":\"B\"}]}", 2, 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        fs::write(store.path(), text).unwrap();
        let definition = sample("b");
        for result in [
            store.load().await.map(drop),
            store.insert(&definition).await,
            store.replace(&definition).await,
            store.remove(&definition.slug).await,
        ] {
            let error = result.expect_err("a broken manifest was accepted");
            let StorageError::Unparsable { line: l, column: c, .. } = error else { panic!("{error}") };
            assert_eq!((l, c), (line, column), "{text}");
        }
        assert_eq!(fs::read_to_string(store.path()).unwrap(), text);
        assert_eq!(names(folder.path()), ["connectors.json", "connectors.json.lock"]);
    }
}

#[tokio::test]
async fn an_edit_by_hand_between_two_changes_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.insert(&sample("a")).await.unwrap();
    let edited = r#"{"note":"mine","connectors":[{"slug":"hand","name":"By hand","url":"","color":"red"}]}"#;
    fs::write(store.path(), edited).unwrap();
    store.insert(&sample("b")).await.unwrap();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(store.path()).unwrap()).unwrap();
    assert_eq!(written["note"], "mine");
    assert_eq!(written["connectors"][0]["color"], "red");
    assert_eq!(written["connectors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn temporary_files_of_a_killed_process_are_gone_after_the_next_load() {
    let folder = tempfile::tempdir().unwrap();
    store(&folder).insert(&sample("a")).await.unwrap();
    fs::write(folder.path().join(".connectors.json.AbC123.tmp"), "{").unwrap();
    store(&folder).load().await.unwrap();
    assert_eq!(names(folder.path()), ["connectors.json", "connectors.json.lock"]);
}

#[tokio::test]
async fn a_dropped_change_is_completed_or_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let all: Vec<_> = (0..50).map(|n| sample(&format!("s{n}"))).collect();
    let mut reported = Vec::new();
    for definition in &all {
        tokio::select! {
            biased;
            result = store.insert(definition) => {
                result.unwrap();
                reported.push(definition.clone());
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(reported.len() < all.len(), "no change was dropped");
    store.insert(&sample("last")).await.unwrap();
    let mut loaded = store.load().await.unwrap();
    assert_eq!(loaded.pop(), Some(sample("last")), "a change that was dropped was made after a later one");
    // Each whole, in order, and at most once.
    let made: Vec<_> = all.into_iter().filter(|definition| loaded.contains(definition)).collect();
    assert_eq!(loaded, made);
    assert!(reported.iter().all(|definition| made.contains(definition)), "{reported:?} {made:?}");
    assert_eq!(names(folder.path()).iter().filter(|name| name.ends_with(".tmp")).count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_linked_manifest_is_written_through_and_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let dotfiles = folder.path().join("dotfiles");
    fs::create_dir(&dotfiles).unwrap();
    std::os::unix::fs::symlink("dotfiles/car.json", folder.path().join("connectors.json")).unwrap();
    let store = store(&folder);
    store.insert(&sample("a")).await.unwrap();
    store.insert(&sample("b")).await.unwrap();
    assert_eq!(store.load().await.unwrap(), [sample("a"), sample("b")]);
    assert_eq!(names(folder.path()), ["connectors.json", "dotfiles"]);
    assert_eq!(names(&dotfiles), ["car.json", "car.json.bak", "car.json.lock"]);
    assert!(fs::symlink_metadata(store.path()).unwrap().is_symlink());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_fails_the_change_and_still_loads() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.insert(&sample("a")).await.unwrap();
    // A folder in the lock's place: no permission that a privileged user would not have.
    fs::remove_file(folder.path().join("connectors.json.lock")).unwrap();
    fs::create_dir(folder.path().join("connectors.json.lock")).unwrap();
    let error = store.insert(&sample("b")).await.unwrap_err();
    assert!(matches!(error, StorageError::Io { action: "lock", .. }), "{error}");
    assert_eq!(store.load().await.unwrap(), [sample("a")]);
}

#[tokio::test]
async fn edits_without_the_lock_while_others_write_are_not_lost() {
    const EDITS: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    store.insert(&sample("ours")).await.unwrap();
    let (path, beside) = (store.path().to_owned(), folder.path().join("edited"));
    // Reads, thinks, and replaces the file, as an editor does that has been told of a change before.
    let editor = std::thread::spawn(move || {
        for n in 0..EDITS {
            loop {
                let text = fs::read_to_string(&path).unwrap();
                let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
                manifest[format!("edit_{n}")] = n.into();
                fs::write(&beside, manifest.to_string()).unwrap();
                if fs::read_to_string(&path).unwrap() == text {
                    fs::rename(&beside, &path).unwrap();
                    break;
                }
            }
        }
    });
    let mut n = 0;
    while !editor.is_finished() {
        let mut definition = sample("ours");
        definition.name = n.to_string();
        store.replace(&definition).await.unwrap();
        n += 1;
    }
    editor.join().unwrap();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(store.path()).unwrap()).unwrap();
    let kept = (0..EDITS).filter(|n| written[format!("edit_{n}")] == *n).count();
    // Nothing excludes an editor, but what it can hit lasts for microseconds and not for a write.
    assert!(kept >= EDITS - 3, "{} of {EDITS} edits were lost to {n} writes", EDITS - kept);
}
