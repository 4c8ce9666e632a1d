//! Nobody waits for anybody: neither connectors for each other, nor calls, nor results for the end of their stream.
//!
//! What is measured is compared within one round, and the best of [`ROUNDS`] rounds counts: a machine that is busy with
//! other tests can only make things slower. [`SLACK`] is there for the same reason; one connector or call waiting for the
//! next would cost several times as much.

use std::time::{Duration, Instant};

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::{Linger, ReplyAs, StreamEnd};
use connectors_tests::{Fault, McpServer, Script, Stage, TempHome, Tool};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::session::{Session, call, daemon, start};

/// What a busy machine may add to a measurement: as much as two calls, or half a dial, would add by
/// waiting for another.
const SLACK: Duration = Duration::from_millis(100);

/// How often a measurement is made before it counts as missed.
const ROUNDS: usize = 5;

/// Measures one and many until many take at most `ratio` times as long as one; panics if no round shows it.
async fn compare(ratio: f64, mut round: impl AsyncFnMut() -> (Duration, Duration)) {
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let (one, many) = round().await;
        if many < one.mul_f64(ratio) + SLACK {
            return;
        }
        seen.push((one, many));
    }
    panic!("many took more than {ratio} times as long as one: {seen:?}");
}

fn slow_server() -> McpServer {
    Script::modern().with_tools([Tool::echo()]).with_delay(Stage::Every, Duration::from_millis(100)).start()
}

fn manifest<'a>(servers: impl IntoIterator<Item = &'a McpServer>) -> String {
    let entry = |(n, server): (usize, &McpServer)| json!({"slug": format!("c{n}"), "name": format!("C{n}"), "url": server.url(), "enabled_tools": ["echo"]});
    let entries: Vec<_> = servers.into_iter().enumerate().map(entry).collect();
    json!({"connectors": entries}).to_string()
}

/// A daemon that has just read this manifest, and how long `expected` of its connectors took to be ready.
struct Booted {
    took: Duration,
    session: Session,
    _daemon: RunningDaemon,
    _home: TempHome,
}

async fn boot(manifest: &str, expected: usize) -> Booted {
    let home = TempHome::new();
    home.write_manifest(manifest);
    let daemon = daemon().start(&home).await;
    let started = Instant::now();
    let session = Session::open(&daemon).await;
    loop {
        let ready = session.list().await.iter().filter(|status| status["connected"] == true).count();
        if ready == expected {
            return Booted { took: started.elapsed(), session, _daemon: daemon, _home: home };
        }
        session.event("a state", |event| event["kind"] == "state").await;
    }
}

#[tokio::test]
async fn eighteen_slow_servers_are_ready_as_soon_as_one_though_two_never_answer() {
    // The same number of servers for both, so that they differ in what is waited for and not in work.
    let alone = slow_server();
    let quick: Vec<_> = (0..17).map(|_| Script::modern().with_tools([Tool::echo()]).start()).collect();
    let slow: Vec<_> = (0..18).map(|_| slow_server()).collect();
    let hanging: Vec<_> =
        (0..2).map(|_| Script::modern().with_fault(Stage::Every, Fault::Hang).start()).collect();
    compare(1.5, async || {
        let one = boot(&manifest(hanging.iter().chain(&quick).chain([&alone])), 18).await;
        // The hanging ones first: whoever waits for them waits for ever.
        let all = boot(&manifest(hanging.iter().chain(&slow)), 18).await;
        let states: Vec<_> = all.session.list().await.iter().map(|status| status["state"].clone()).collect();
        assert_eq!(states[..2], ["connecting", "connecting"]);
        assert_eq!(all.session.text("c5", "echo", json!({"text": "works"})).await, "works");
        (one.took, all.took)
    })
    .await;
}

#[tokio::test]
async fn thirty_two_calls_at_once_take_less_than_twice_as_long_as_one() {
    let server = Script::modern().with_tools([Tool::sleep()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("sleepy", &server, &["sleep"]).await;
    let calls = |slow: usize| {
        let ms = move |n| if n < slow { 50 } else { 0 };
        join_all((0..32).map(|n| session.text(&slug, "sleep", json!({"ms": ms(n)}))))
    };
    // Opens the connections that both measurements use.
    calls(32).await;

    compare(2.0, async || {
        // As many calls, of which one sleeps.
        let started = Instant::now();
        calls(1).await;
        let one = started.elapsed();
        let started = Instant::now();
        assert_eq!(calls(32).await, vec!["slept 50 ms"; 32]);
        (one, started.elapsed())
    })
    .await;
}

#[tokio::test]
async fn a_call_is_not_held_up_by_another_that_hangs() {
    let server = Script::modern().with_tools([Tool::hang(), Tool::echo()]).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("mixed", &server, &["hang", "echo"]).await;
    let _hanging: Vec<_> =
        (0..40).map(|_| session.start("connectors.call_tool", call(&slug, "hang", json!({})))).collect();
    server.record().wait_for("all of them", |seen| (seen.count("tools/call") == 40).then_some(())).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "through"})).await, "through");
}

/// The server never ends a stream: whoever waits for its end gets nothing.
async fn answers_before_the_end(script: Script) {
    let server = script.with_tools([Tool::echo()]).replying(ReplyAs::Sse(Linger::Forever)).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("lingering", &server, &["echo"]).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "at once"})).await, "at once");
    let ended_by_server = server.record().look(|seen| seen.ended_streams.contains(&StreamEnd::Server));
    assert!(!ended_by_server, "the answer came after the end of a stream");
}

#[tokio::test]
async fn a_result_on_a_modern_stream_that_stays_open_arrives_at_once() {
    answers_before_the_end(Script::modern()).await;
}

#[tokio::test]
async fn a_result_on_a_legacy_stream_that_stays_open_arrives_at_once() {
    answers_before_the_end(Script::legacy()).await;
}

#[tokio::test]
async fn a_result_is_there_before_its_stream_ends_two_seconds_later() {
    let two_seconds = Duration::from_secs(2);
    let script = Script::modern().with_tools([Tool::echo()]);
    let server = script.replying(ReplyAs::Sse(Linger::For(two_seconds))).start();
    let (_home, _daemon, session) = start().await;
    let slug = session.add_with("lingering", &server, &["echo"]).await;
    let started = Instant::now();
    assert_eq!(session.text(&slug, "echo", json!({"text": "at once"})).await, "at once");
    assert!(started.elapsed() < two_seconds, "the answer took {:?}", started.elapsed());
}

#[tokio::test]
async fn list_answers_while_a_connector_is_being_added() {
    let server = Script::modern().with_fault(Stage::Every, Fault::Hang).start();
    let (_home, _daemon, session) = start().await;
    let adding = session.start("connectors.add", json!({"name": "Hanging", "url": server.url()}));
    server.record().wait_for("the dial", |seen| (!seen.requests.is_empty()).then_some(())).await;
    let status = session.status("hanging").await;
    assert_eq!([&status["state"], &status["connected"]], [&json!("connecting"), &json!(false)]);
    assert_eq!(
        session.must("connectors.remove", json!({"slug": "hanging"})).await,
        json!({"removed": "hanging"})
    );
    assert_eq!(session.list().await, Vec::<Value>::new());
    // Whatever the first call comes to, the connector does not come back.
    let _ = connectors_tests::deadline::soon("the first call", adding).await;
    assert_eq!(session.list().await, Vec::<Value>::new());
}
