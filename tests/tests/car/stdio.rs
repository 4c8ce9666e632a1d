//! Servers behind the engine's process handling.

use std::sync::Arc;
use std::time::Duration;

use connectors_core::manager::{CallRequest, NewConnector};
use connectors_core::{ConnectorManager, Slug, StateName, StdioCommand};
use connectors_stdio::{EngineDialer, StdioDialer};
use connectors_tests::daemon::is_alive;
use connectors_tests::deadline::{poll, soon};
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::{Daemon, TempHome};
use serde_json::{Value, json};

use crate::daemon::start;

fn command(script: &StdioScript) -> StdioCommand {
    StdioCommand {
        command: env!("CARGO_BIN_EXE_mcp-stdio-server").to_owned(),
        args: vec![script.argument()],
        ..StdioCommand::default()
    }
}

fn pids(path: &std::path::Path) -> Vec<u32> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

async fn gone(pids: &[u32]) {
    assert!(!pids.is_empty(), "no process was started");
    poll("every process to end", async || (!pids.iter().any(|pid| is_alive(*pid))).then_some(())).await;
}

async fn manager() -> ConnectorManager {
    ConnectorManager::builder()
        .with_dialer(Arc::new(EngineDialer::new()))
        .with_dialer(Arc::new(StdioDialer::new()))
        .start()
        .await
}

async fn text(manager: &ConnectorManager, slug: &Slug, tool: &str, arguments: Value) -> String {
    let result = manager.call_tool(CallRequest::new(slug.clone(), tool, arguments)).await.unwrap();
    result.outcome.text()
}

#[tokio::test]
async fn a_connector_chooses_the_engine_and_its_status_says_what_that_costs() {
    let manager = manager().await;
    for engine in [true, false] {
        let new = NewConnector::stdio("Local", command(&StdioScript::legacy(&["echo"]))).with_engine(engine);
        let status = manager.add(new).await.unwrap();
        assert_eq!((status.state, &status.last_error), (StateName::Ready, &None));
        assert_eq!((status.engine, status.limitations.is_empty()), (engine, !engine));
        assert_eq!(status.protocol_version == Some("2024-11-05"), engine);
        manager.enable_tools(&status.slug, &["echo".to_owned()]).await.unwrap();
        assert_eq!(text(&manager, &status.slug, "echo", json!({"text": "hi"})).await, "hi");
    }
    manager.shutdown().await;
}

#[tokio::test]
async fn a_server_of_the_engines_that_dies_is_started_again_and_what_it_leaves_is_killed() {
    let folder = TempHome::new();
    let path = folder.user().join("pids");
    let script =
        StdioScript { pids: Some(path.clone()), with_child: true, ..StdioScript::legacy(&["echo", "crash"]) };
    let manager = manager().await;
    let slug =
        manager.add(NewConnector::stdio("Local", command(&script)).with_engine(true)).await.unwrap().slug;
    manager.enable_tools(&slug, &["echo".to_owned(), "crash".to_owned()]).await.unwrap();
    let first = pids(&path);
    let error = manager.call_tool(CallRequest::new(slug.clone(), "crash", json!({}))).await.unwrap_err();
    assert_eq!(error.code(), "not_connected", "{error}");
    poll("another process", async || {
        let is_ready = manager.status(&slug).unwrap().connected;
        (is_ready && pids(&path).len() > first.len()).then_some(())
    })
    .await;
    gone(&first).await;
    assert_eq!(text(&manager, &slug, "echo", json!({"text": "again"})).await, "again");
    manager.remove(&slug).await.unwrap();
    gone(&pids(&path)).await;
}

fn signal(signal: &str, pid: u32) {
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn what_was_half_written_when_a_call_was_given_up_spoils_no_later_call() {
    let folder = TempHome::new();
    let path = folder.user().join("pids");
    let script = StdioScript { pids: Some(path.clone()), ..StdioScript::legacy(&["echo"]) };
    let manager = manager().await;
    let slug =
        manager.add(NewConnector::stdio("Local", command(&script)).with_engine(true)).await.unwrap().slug;
    manager.enable_tools(&slug, &["echo".to_owned()]).await.unwrap();
    let [first] = pids(&path)[..] else { panic!("one process") };
    // It reads no more, and so the pipe holds the beginning of the call.
    signal("-STOP", first);
    let mut large = CallRequest::new(slug.clone(), "echo", json!({"text": "x".repeat(1 << 20)}));
    large.timeout = Some(Duration::from_millis(300));
    let error = soon("the end of the call", manager.call_tool(large)).await.unwrap_err();
    assert!(["timeout", "not_connected"].contains(&error.code()), "{error}");
    poll("another process", async || {
        let is_ready = manager.status(&slug).unwrap().connected;
        (is_ready && pids(&path).len() > 1).then_some(())
    })
    .await;
    assert_eq!(text(&manager, &slug, "echo", json!({"text": "again"})).await, "again");
    gone(&[first]).await;
    manager.shutdown().await;
}

#[tokio::test]
async fn an_answer_without_result_and_error_breaks_the_protocol() {
    let script = r#"
        answer() { read -r _; echo "{\"jsonrpc\":\"2.0\",\"id\":$1,$2}"; }
        answer 1 '"result":{"protocolVersion":"2024-11-05","capabilities":{}}'
        read -r _
        answer 2 '"result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}'
        answer 3 '"method":"ping"'
        read -r _"#;
    let command = StdioCommand {
        command: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        ..StdioCommand::default()
    };
    let manager = manager().await;
    let slug = manager.add(NewConnector::stdio("Odd", command).with_engine(true)).await.unwrap().slug;
    manager.enable_tools(&slug, &["t".to_owned()]).await.unwrap();
    let error = manager.call_tool(CallRequest::new(slug, "t", json!({}))).await.unwrap_err();
    assert_eq!(error.code(), "upstream_protocol", "{error}");
    manager.shutdown().await;
}

#[tokio::test]
async fn a_server_of_the_engines_gets_its_variables_and_not_the_hosts() {
    let folder = TempHome::new();
    let out = folder.user().join("environment");
    let script = format!("env > '{}'", out.display());
    let command = StdioCommand {
        command: "/bin/sh".to_owned(),
        args: vec!["-c".to_owned(), script],
        env: [("OWN".to_owned(), "value".to_owned())].into(),
        ..StdioCommand::default()
    };
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "a variable of this process");
    let manager = manager().await;
    manager.add(NewConnector::stdio("Env", command).with_engine(true)).await.unwrap();
    let seen = std::fs::read_to_string(&out).unwrap();
    assert!(seen.lines().any(|line| line == "OWN=value"), "{seen}");
    assert!(!seen.contains("CARGO_MANIFEST_DIR"), "{seen}");
    manager.shutdown().await;
}

#[tokio::test]
async fn what_a_server_of_the_engines_says_is_logged_and_told_without_its_secrets() {
    let lines = ["MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"];
    let plain = "a value of the file's";
    let home = TempHome::new();
    let daemon = Daemon::new(env!("CARGO_BIN_EXE_daemon-under-test")).with_variable("RUST_LOG", "trace");
    let daemon = daemon.start(&home).await;
    let client = daemon.client().await;
    let script = r#"printf 'bad key\n%s%s' "$T_KEY" "$T_TEXT" >&2; exec "$0" "$1""#;
    let dying = StdioScript { exit_at_once: Some(3), ..StdioScript::legacy(&[]) };
    let StdioCommand { command, args, .. } = command(&dying);
    let params = json!({
        "name": "Local", "command": "/bin/sh", "args": ["-c", script, command, args[0]], "engine": true,
        "env": {"T_TEXT": plain}, "secret_env": {"T_KEY": lines.map(|line| format!("{line}\n")).concat()},
    });
    client.must("connectors.add_stdio", params).await;
    let status = poll("the end of the server", async || {
        let status = client.must("connectors.list", json!({})).await["connectors"][0].clone();
        (!status["last_error"].is_null()).then_some(status)
    })
    .await;
    let error = status["last_error"].as_str().unwrap();
    assert!(error.contains("its last words: bad key [redacted]"), "{error}");
    let log = daemon.stop().await;
    assert!(log.lines().any(|line| line.contains("connectors_stdio::server: bad key")), "{log}");
    for secret in lines.into_iter().chain([plain]) {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "the log holds a value");
    }
}

#[tokio::test]
async fn no_server_of_the_engines_outlives_a_daemon_that_is_killed() {
    let folder = TempHome::new();
    let path = folder.user().join("pids");
    let script = StdioScript {
        pids: Some(path.clone()),
        outlive_stdin: true,
        with_child: true,
        ..StdioScript::legacy(&["echo"])
    };
    let (_home, daemon, client) = start().await;
    let StdioCommand { command, args, .. } = command(&script);
    let params = json!({"name": "Local", "command": command, "args": args, "engine": true});
    let status = client.must("connectors.add_stdio", params).await;
    assert_eq!((&status["state"], &status["engine"]), (&json!("ready"), &json!(true)), "{status}");
    let started = pids(&path);
    assert!(started.iter().all(|pid| is_alive(*pid)));
    daemon.kill().await;
    gone(&started).await;
}

#[tokio::test]
async fn both_ways_to_start_a_server_work_with_server_everything() {
    let Some(folder) = std::env::var_os("CONNECTORS_INTEROP") else {
        println!("skipped: CONNECTORS_INTEROP does not name a folder with the servers");
        return;
    };
    let main = std::path::Path::new(&folder)
        .join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let manager = manager().await;
    for engine in [true, false] {
        let command = StdioCommand {
            command: "node".to_owned(),
            args: vec![main.display().to_string()],
            ..StdioCommand::default()
        };
        let status =
            manager.add(NewConnector::stdio("Everything", command).with_engine(engine)).await.unwrap();
        assert_eq!((status.state, &status.last_error), (StateName::Ready, &None));
        manager.enable_tools(&status.slug, &["echo".to_owned(), "get-sum".to_owned()]).await.unwrap();
        assert_eq!(text(&manager, &status.slug, "echo", json!({"message": "hello"})).await, "Echo: hello");
        let sum = text(&manager, &status.slug, "get-sum", json!({"a": 2, "b": 40})).await;
        assert_eq!(sum, "The sum of 2 and 40 is 42.");
    }
    manager.shutdown().await;
}
