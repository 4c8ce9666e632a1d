use tokio::time::{sleep, timeout};

use super::*;

/// What a busy machine may take.
const SOON: Duration = Duration::from_secs(20);

/// Longer than it takes to be told and for things to become quiet, and shorter than until the next look without being told.
const A_WHILE: Duration = Duration::from_millis(1_500);

async fn told(watch: &mut Watch, what: &str) {
    assert!(timeout(SOON, watch.changed()).await.is_ok(), "nobody was told that {what}");
}

async fn not_told(watch: &mut Watch, what: &str) {
    assert!(timeout(A_WHILE, watch.changed()).await.is_err(), "somebody was told that {what}");
}

#[tokio::test]
async fn every_way_of_writing_a_file_is_noticed_and_reading_it_or_writing_beside_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("f"), folder.path().join("other"));
    let mut watch = Watch::new(path.clone());
    fs::write(&path, "one").unwrap();
    told(&mut watch, "it came").await;
    fs::write(&path, "two").unwrap();
    told(&mut watch, "it was written in place").await;
    fs::write(&other, "six").unwrap();
    fs::rename(&other, &path).unwrap();
    told(&mut watch, "it was replaced").await;
    fs::write(&other, "x").unwrap();
    fs::read(&path).unwrap();
    not_told(&mut watch, "it was read").await;
    fs::remove_file(&path).unwrap();
    told(&mut watch, "it went").await;
}

#[tokio::test]
async fn a_file_in_a_folder_that_comes_later_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a").join("b").join("f");
    let mut watch = Watch::new(path.clone());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "one").unwrap();
    told(&mut watch, "it came").await;
    // Told at once by now, as the folder itself is watched.
    fs::write(&path, "again").unwrap();
    assert!(timeout(POLL / 2, watch.changed()).await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_gone_for_a_moment_is_told_of_once_and_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "one").unwrap();
    let mut watch = Watch::new(path.clone());
    fs::remove_file(&path).unwrap();
    let back = path.clone();
    let editor = tokio::spawn(async move {
        // An editor that takes its time between the two.
        sleep(GONE / 4).await;
        fs::write(&back, "two").unwrap();
    });
    told(&mut watch, "it is another").await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    editor.await.unwrap();
    not_told(&mut watch, "it changed again").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_linked_file_is_noticed_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    let path = folder.path().join("f");
    std::os::unix::fs::symlink("real/f", &path).unwrap();
    let mut watch = Watch::new(path.clone());
    fs::write(real.join("f"), "one").unwrap();
    assert!(timeout(POLL / 2, watch.changed()).await.is_ok(), "not told of a change at the end of a link");
    fs::write(real.join("g"), "two").unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("real/g", &path).unwrap();
    told(&mut watch, "the link leads elsewhere").await;
}

#[tokio::test]
async fn without_notifications_changes_are_found_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut watch = Watch::new(path.clone());
    watch.folders.watcher = None;
    fs::write(&path, "one").unwrap();
    told(&mut watch, "it came").await;
}

#[tokio::test]
async fn who_writes_all_the_time_is_noticed_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let mut watch = Watch::new(path.clone());
    let writer = tokio::spawn(async move {
        for n in 0_u64.. {
            fs::write(&path, n.to_string()).unwrap();
            sleep(QUIET / 4).await;
        }
    });
    told(&mut watch, "it came").await;
    told(&mut watch, "it is another").await;
    writer.abort();
}
