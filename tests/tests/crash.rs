//! What is on disk after the daemon was killed in the middle of its work.

use connectors_tests::TempHome;
use serde_json::json;
use tokio::sync::watch;

use crate::session::{Session, daemon};

#[tokio::test]
async fn a_manifest_survives_the_death_of_its_writer_at_any_moment_in_its_old_or_its_new_state() {
    let home = TempHome::new();
    let entry =
        json!({"slug": "s", "name": "0", "url": "http://127.0.0.1:9/mcp", "disabled": true, "kept": [1]});
    home.write_manifest(&json!({"connectors": [entry]}).to_string());
    let mut on_disk = 0;
    for round in 0..24 {
        let running = daemon().start(&home).await;
        let session = Session::open(&running).await;
        let acknowledged = watch::Sender::new(on_disk);
        let mut progress = acknowledged.subscribe();
        let writer = tokio::spawn(async move {
            loop {
                let next = *acknowledged.borrow() + 1;
                let params = json!({"slug": "s", "name": next.to_string()});
                if session.call("connectors.update", params).await.is_err() {
                    return;
                }
                acknowledged.send_replace(next);
            }
        });
        // Another number of writes each time, and the next one under way.
        progress.wait_for(|n| *n >= on_disk + 1 + round % 5).await.expect("the writer works");
        running.kill().await;
        writer.await.expect("the writer ends with the connection");
        let last = *progress.borrow();

        let [entry] = &home.manifest()[..] else { panic!("not one entry: {}", home.manifest_text()) };
        let name = entry["name"].as_str().expect("a name");
        assert!([last.to_string(), (last + 1).to_string()].contains(&name.to_owned()), "{last}: {entry}");
        assert_eq!([&entry["slug"], &entry["kept"]], [&json!("s"), &json!([1])]);
        on_disk = name.parse().expect("a number");
    }
}

#[tokio::test]
async fn a_daemon_that_was_killed_starts_again_on_what_it_left() {
    let home = TempHome::new();
    let with_vault = daemon().with_vault();
    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    let params = json!({"name": "S", "url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "kept"}});
    session.must("connectors.add", params).await;
    running.kill().await;
    assert!(home.token_path().exists(), "nobody was there to remove the token");
    let running = with_vault.start(&home).await;
    let session = Session::open(&running).await;
    assert_eq!(session.status("s").await["secret_headers"], json!(["X-Key"]));
    session.must("connectors.remove", json!({"slug": "s"})).await;
}
