//! What is announced, and from when on.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_file_a_nearer_one_and_a_rejection_are_announced() {
    let (_folder, file, team) = repository(b"");
    let mut changes = team.changes().unwrap();
    let mut announced = async || tokio::time::timeout(Duration::from_secs(30), changes.next()).await.unwrap();
    assert_eq!(announced().await, Some(()), "once the watching has begun");
    fs::write(&file, "[[connector]]\nname = 'X'\nurl = 'https://h'\n").unwrap();
    assert_eq!(announced().await, Some(()));
    let proposal = team.read().await.entries.remove(0);
    team.remember(&proposal, true).await.unwrap();
    assert_eq!(announced().await, Some(()));
    let nearer = file.parent().unwrap().parent().unwrap().join("src").join(".car");
    fs::create_dir(&nearer).unwrap();
    fs::write(nearer.join("connectors.toml"), "").unwrap();
    assert_eq!(announced().await, Some(()));
    assert_eq!(team.read().await, Proposals::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_looked_at_before_a_change_is_waited_for_and_none_until_then_is_missed() {
    let (folder, file, team) = repository(b"");
    let repository = file.parent().unwrap().parent().unwrap();
    // What is looked at now is not there.
    let away = folder.path().join("away");
    fs::rename(repository, &away).unwrap();
    let mut changes = team.changes().unwrap();
    fs::rename(&away, repository).unwrap();
    assert_eq!(team.read().await, Proposals::default());
    fs::write(&file, "[[connector]]\nname = 'X'\nurl = 'https://h'\n").unwrap();
    let mut announced = async || tokio::time::timeout(Duration::from_secs(30), changes.next()).await.unwrap();
    assert_eq!(announced().await, Some(()), "what has changed since it was read");
    assert_eq!(team.read().await.entries.len(), 1);
    fs::write(&file, "").unwrap();
    assert_eq!(announced().await, Some(()), "what changes from then on");
}

#[tokio::test]
async fn a_look_that_hangs_keeps_who_waits_for_changes_from_taking_another_thread() {
    let (_folder, _file, team) = repository(b"");
    let hanging = Arc::clone(&team.reading).acquire_owned().await.unwrap();
    let mut changes = team.changes().unwrap();
    let mut next = changes.next();
    assert!(tokio::time::timeout(Duration::ZERO, &mut next).await.is_err());
    drop(hanging);
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), next).await.unwrap(), Some(()));
}
