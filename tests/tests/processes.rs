//! Local servers: their processes come and go with their connectors, and with the daemon.

use std::path::Path;

use connectors_tests::TempHome;
use connectors_tests::deadline::poll;
use connectors_tests::mcp_server::stdio::StdioScript;
use serde_json::{Value, json};

use crate::session::{Session, call, daemon, start};

/// Adds a connector to a process that follows `script`, and waits until it is ready.
async fn add(session: &Session, script: &StdioScript) -> String {
    let status = session.must("connectors.add_stdio", params(script)).await;
    let slug = status["slug"].as_str().expect("a slug").to_owned();
    session.ready(&slug).await;
    slug
}

fn params(script: &StdioScript) -> Value {
    json!({"name": "Local", "command": env!("CARGO_BIN_EXE_mcp-stdio-server"), "args": [script.argument()]})
}

/// The process ids that servers have left in this file, oldest first.
fn pids(path: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("a process id")).collect()
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_is_started_again_and_its_tools_still_work() {
    let folder = TempHome::new();
    let path = folder.user().join("pids");
    let script = StdioScript { pids: Some(path.clone()), ..StdioScript::modern(&["echo", "crash"]) };
    let (_home, _daemon, session) = start().await;
    let slug = add(&session, &script).await;
    session.enable(&slug, &["echo", "crash"]).await;
    let error = session.must_fail("connectors.call_tool", call(&slug, "crash", json!({}))).await;
    assert_eq!(error.code, -32043, "{error:?}");
    assert!(error.message.contains('3') || error.message.contains("exit"), "{error:?}");
    session.until(&slug, "ready again", |status| status["connected"] == true && pids(&path).len() == 2).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "again"})).await, "again");
}

#[tokio::test]
async fn a_server_that_dies_of_the_modern_probe_still_connects() {
    let script = StdioScript { die_of: "server/discover".to_owned(), ..StdioScript::legacy(&["echo"]) };
    let (_home, _daemon, session) = start().await;
    let slug = add(&session, &script).await;
    assert_eq!(session.status(&slug).await["era"], "legacy");
    session.enable(&slug, &["echo"]).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "alive"})).await, "alive");
}

#[tokio::test]
async fn what_a_server_writes_beside_the_protocol_does_no_harm() {
    let script = StdioScript {
        complaint: "warning: something is deprecated".to_owned(),
        noise: "Server is listening!".to_owned(),
        ..StdioScript::modern(&["echo", "big"])
    };
    let (_home, _daemon, session) = start().await;
    let slug = add(&session, &script).await;
    session.enable(&slug, &["echo", "big"]).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "fine"})).await, "fine");
    assert_eq!(session.text(&slug, "big", json!({"bytes": 3 << 20})).await.len(), 3 << 20);
}

#[tokio::test]
async fn a_server_gets_its_variables_and_not_the_daemons() {
    let home = TempHome::new();
    let daemon = daemon().with_variable("SECRET_OF_THE_HOST", "do-not-pass-on").start(&home).await;
    let session = Session::open(&daemon).await;
    let out = home.user().join("environment");
    let script = format!("env > '{}'", out.display());
    let params =
        json!({"name": "Env", "command": "/bin/sh", "args": ["-c", script], "env": {"OWN": "value"}});
    session.must("connectors.add_stdio", params).await;
    let seen = std::fs::read_to_string(&out).expect("the environment");
    assert!(seen.lines().any(|line| line == "OWN=value"), "{seen}");
    assert!(!seen.contains("do-not-pass-on"), "{seen}");
    // What a user gives for one server is shown by name alone.
    let status = session.status("env").await;
    assert_eq!(status["command"]["env"], json!(["OWN"]));
}

#[tokio::test]
async fn arguments_are_never_given_to_a_shell() {
    let folder = TempHome::new();
    let trap = folder.user().join("trap");
    let (_home, _daemon, session) = start().await;
    let argument = format!("$(touch '{0}'); `touch '{0}'`; touch '{0}'", trap.display());
    session
        .must("connectors.add_stdio", json!({"name": "T", "command": "/bin/echo", "args": [argument]}))
        .await;
    session.must("connectors.add_stdio", json!({"name": "U", "command": argument})).await;
    assert!(!trap.exists());
}

#[cfg(target_os = "linux")]
mod linux {
    use connectors_tests::daemon::is_alive;

    use super::*;

    /// Waits until none of these processes is alive.
    async fn gone(what: &str, pids: &[u32]) {
        assert!(!pids.is_empty(), "no process was started");
        poll(what, async || (!pids.iter().any(|pid| is_alive(*pid))).then_some(())).await;
    }

    fn stubborn(path: &Path) -> StdioScript {
        StdioScript {
            pids: Some(path.to_owned()),
            outlive_stdin: true,
            with_child: true,
            ..StdioScript::modern(&["echo"])
        }
    }

    #[tokio::test]
    async fn removing_a_connector_ends_its_process_and_the_children_of_that() {
        let folder = TempHome::new();
        let path = folder.user().join("pids");
        let (_home, _daemon, session) = start().await;
        let slug = add(&session, &stubborn(&path)).await;
        assert_eq!(pids(&path).len(), 2);
        session.must("connectors.remove", json!({"slug": slug})).await;
        gone("the end of both processes", &pids(&path)).await;
    }

    #[tokio::test]
    async fn an_orderly_end_of_the_daemon_ends_every_process() {
        let folder = TempHome::new();
        let path = folder.user().join("pids");
        let (_home, running, session) = start().await;
        add(&session, &stubborn(&path)).await;
        running.stop().await;
        gone("the end of both processes", &pids(&path)).await;
    }

    #[tokio::test]
    async fn a_daemon_that_is_killed_leaves_no_server_behind() {
        let folder = TempHome::new();
        let path = folder.user().join("pids");
        let (_home, running, session) = start().await;
        let script = StdioScript { with_child: false, ..stubborn(&path) };
        add(&session, &script).await;
        add(&session, &StdioScript { outlive_stdin: false, ..script }).await;
        assert_eq!(pids(&path).len(), 2);
        running.kill().await;
        gone("the end of the servers", &pids(&path)).await;
    }

    #[tokio::test]
    async fn abandoned_attempts_leave_no_process_behind() {
        let folder = TempHome::new();
        let path = folder.user().join("pids");
        let script = StdioScript { hang_at: "tools/list".to_owned(), ..stubborn(&path) };
        let (_home, _daemon, session) = start().await;
        let _adding = session.start("connectors.add_stdio", params(&script));
        poll("the process", async || (pids(&path).len() == 2).then_some(())).await;
        session.must("connectors.remove", json!({"slug": "local"})).await;
        gone("the end of both processes", &pids(&path)).await;
        assert_eq!(session.list().await, Vec::<Value>::new());
    }
}
