//! The life of a server's process.

use std::time::{Duration, Instant};

use connectors_core::{Limits, TransportError};
use futures_util::StreamExt;

use crate::support::{definition, dial, dial_with, request, result, sh};

/// Answers each request with the output of the shell command `answer`, which may use `$id`.
fn server(answer: &str) -> String {
    format!(
        r#"while read -r line; do id=${{line#*'"id":'}}; id=${{id%%,*}}; printf '{{"id":%s,"result":"%s"}}\n' "$id" "$({answer})"; done"#
    )
}

async fn end(script: &str) -> String {
    let wire = sh(script).await;
    let mut incoming = wire.incoming();
    let error = result(&*wire, request(1, "ask")).await.unwrap_err().to_string();
    assert_eq!(incoming.next().await.unwrap().unwrap_err().to_string(), error);
    assert_eq!(result(&*wire, request(2, "ask")).await.unwrap_err().to_string(), error);
    wire.close().await;
    error
}

#[tokio::test]
async fn a_process_that_exits_at_once_says_how_and_its_last_words() {
    assert_eq!(
        end("echo 'no API key' >&2; exit 7").await,
        "the process exited with status 7 before answering; its last words: no API key"
    );
    assert_eq!(end("exit 0").await, "the process exited with status 0 before answering");
    assert_eq!(end("kill -KILL $$").await, "the process was ended by signal 9 (SIGKILL) before answering");
}

#[tokio::test]
async fn a_process_that_dies_later_is_not_said_to_have_answered_nothing() {
    let wire = sh("read -r line; echo '{\"id\":1,\"result\":{}}'; read -r line; exit 1").await;
    assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), "{}");
    let error = result(&*wire, request(2, "ask")).await.unwrap_err();
    assert_eq!(error.to_string(), "the process exited with status 1");
}

#[tokio::test]
async fn an_answer_just_before_the_exit_is_delivered() {
    for _ in 0..20 {
        let wire = sh("read -r line; echo '{\"id\":1,\"result\":{}}'; exit 1").await;
        assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), "{}");
    }
}

#[tokio::test]
async fn a_process_that_closes_its_output_is_not_kept() {
    assert_eq!(end("exec >&-; sleep 1000").await, "the process closed its output");
}

#[tokio::test]
async fn what_the_process_has_started_does_not_keep_a_dead_one_open() {
    let before = Instant::now();
    assert_eq!(end("sleep 1000 & exit 1").await, "the process exited with status 1 before answering");
    assert!(before.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_server_that_ends_with_its_input_is_closed_gently() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ended");
    let wire = sh(&format!("{}; echo gently > '{}'", server("echo"), mark.display())).await;
    assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), r#""""#);
    wire.close().await;
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "gently\n");
}

#[tokio::test]
async fn a_server_that_ignores_everything_is_killed_in_bounded_time() {
    let wire = sh("trap '' TERM; echo '{\"method\":\"ready\"}'; while :; do sleep 1000; done").await;
    assert!(wire.incoming().next().await.unwrap().is_ok());
    let before = Instant::now();
    tokio::join!(wire.close(), wire.close());
    wire.close().await;
    let took = before.elapsed();
    assert!(Duration::from_secs(3) < took && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn a_server_that_terminates_when_asked_is_not_waited_for_longer() {
    let wire =
        sh("trap 'exit 0' TERM; echo '{\"method\":\"ready\"}'; while :; do sleep 1000 & wait; done").await;
    assert!(wire.incoming().next().await.unwrap().is_ok());
    let before = Instant::now();
    wire.close().await;
    assert!(before.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_flood_on_standard_error_stops_nothing() {
    let wire = sh(&format!(
        "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; yes | head -n 200000 >&2; {}",
        server("echo")
    ))
    .await;
    assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), r#""""#);
    wire.close().await;
}

#[tokio::test]
async fn arguments_and_environment_arrive_as_they_are_and_no_shell_reads_them() {
    let tricky = "a b; $(exit 9) `x` 'q' \"é\" *";
    let script = server(r#"printf '%s|%s|%s' "$0" "$OWN" "${CARGO_MANIFEST_DIR:-unset}" | tr '\042' '_'"#);
    let definition = definition("sh", &["-c", &script, tricky], &[("OWN", "$HOME")]);
    let wire = dial(definition, Limits::default()).await.unwrap();
    let expected = format!("\"{}|$HOME|unset\"", tricky.replace('"', "_"));
    assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), expected);
    wire.close().await;
}

#[tokio::test]
async fn the_values_of_the_definition_are_not_in_the_last_words() {
    let definition =
        definition("sh", &["-c", "echo \"bad key $KEY\" >&2; exit 1"], &[("KEY", "canary-4711")]);
    let wire = dial(definition, Limits::default()).await.unwrap();
    assert_eq!(
        result(&*wire, request(1, "ask")).await.unwrap_err().to_string(),
        "the process exited with status 1 before answering; its last words: bad key [redacted]"
    );
}

#[tokio::test]
async fn secret_variables_count_before_the_definitions_and_are_not_in_the_last_words() {
    let script = "echo \"bad key $KEY, pin $PIN, log $LOG\" >&2; exit 1";
    let definition = definition("sh", &["-c", script], &[("KEY", "old"), ("LOG", "debug")]);
    let secret = [("KEY", "canary-4711"), ("PIN", "4711")];
    let wire = dial_with(definition, Limits::default(), &secret).await.unwrap();
    assert_eq!(
        result(&*wire, request(1, "ask")).await.unwrap_err().to_string(),
        "the process exited with status 1 before answering; its last words: bad key [redacted], pin [redacted], log debug"
    );
}

#[tokio::test]
async fn a_secret_of_several_lines_is_not_in_the_last_words() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
    let script = r#"printf 'bad key\n%s' "$KEY" >&2; exit 1"#;
    let wire = dial_with(definition("sh", &["-c", script], &[]), Limits::default(), &[("KEY", key)]).await;
    assert_eq!(
        result(&*wire.unwrap(), request(1, "ask")).await.unwrap_err().to_string(),
        "the process exited with status 1 before answering; its last words: bad key [redacted]"
    );
}

#[tokio::test]
async fn secret_variables_arrive_as_they_are() {
    let script = server(r#"printf '%s|%s' "$KEY" "$LOG""#);
    let definition = definition("sh", &["-c", &script], &[("KEY", "old"), ("LOG", "debug")]);
    let wire = dial_with(definition, Limits::default(), &[("KEY", "new $value")]).await.unwrap();
    assert_eq!(result(&*wire, request(1, "ask")).await.unwrap(), r#""new $value|debug""#);
    wire.close().await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_not_started() {
    let definition = definition("no-such-server", &[], &[("PATH", "/no/where")]);
    let Err(TransportError::NotStarted { reason, .. }) = dial(definition, Limits::default()).await else {
        panic!()
    };
    assert_eq!(
        reason,
        "the command `no-such-server` was not found in PATH (1 folders): install it, or enter its full path"
    );
}
