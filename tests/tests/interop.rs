//! The main job on servers that others wrote.
//!
//! They come from package registries, so these tests run only where `CONNECTORS_INTEROP` names a folder that holds
//! `node_modules` and `venv`, made from the files in `interop/`; elsewhere they say so and pass.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use connectors_tests::deadline::poll;
use connectors_tests::{RpcError, TempHome};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::session::{Session, call, daemon, members};

/// The folder with the servers; `None`, after saying so, where there is none.
fn servers() -> Option<PathBuf> {
    let folder = std::env::var_os("CONNECTORS_INTEROP").map(PathBuf::from);
    if folder.is_none() {
        #[expect(clippy::print_stdout, reason = "a skipped test says so")]
        {
            println!("skipped: CONNECTORS_INTEROP does not name a folder with the servers");
        }
    }
    folder
}

/// A server, and what is expected of it.
struct Subject {
    /// `connectors.add` or `connectors.add_stdio`.
    method: &'static str,
    params: Value,
    era: &'static str,
    /// Two tools to enable: name, arguments, and the text of the result.
    calls: [(&'static str, Value, &'static str); 2],
    /// A tool that stays disabled.
    disabled: &'static str,
    /// A tool that reports progress at least twice, and its arguments.
    progress: (&'static str, Value),
    _process: Option<Child>,
}

fn everything(folder: &std::path::Path) -> (String, Vec<String>) {
    let main = folder.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    ("node".to_owned(), vec![main.display().to_string()])
}

fn everything_subject(method: &'static str, params: Value, process: Option<Child>) -> Subject {
    Subject {
        method,
        params,
        era: "legacy",
        calls: [
            ("echo", json!({"message": "hello"}), "Echo: hello"),
            ("get-sum", json!({"a": 2, "b": 40}), "The sum of 2 and 40 is 42."),
        ],
        disabled: "get-env",
        progress: ("trigger-long-running-operation", json!({"duration": 0.2, "steps": 4})),
        _process: process,
    }
}

fn fastmcp(folder: &std::path::Path) -> (String, Vec<String>) {
    let python = folder.join("venv/bin/python");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/fastmcp_server.py");
    (python.display().to_string(), vec![server.to_owned()])
}

fn fastmcp_subject(method: &'static str, params: Value, process: Option<Child>) -> Subject {
    Subject {
        method,
        params,
        era: "modern",
        calls: [("echo", json!({"message": "hello"}), "hello"), ("add", json!({"a": 2, "b": 40}), "42")],
        disabled: "fail",
        progress: ("count", json!({"steps": 4})),
        _process: process,
    }
}

/// Starts a server that listens where it is told to; `tell` adds that to its command line.
async fn listening(
    (command, args): (String, Vec<String>),
    tell: impl FnOnce(&mut Command, u16),
) -> (Child, u16) {
    // Free a moment ago; none of these servers can pick one and tell.
    let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let port = port.expect("a free port").port();
    let mut process = Command::new(command);
    process.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    tell(&mut process, port);
    let child = process.spawn().expect("the server starts");
    poll("the server to listen", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()).await;
    (child, port)
}

fn url(port: u16) -> Value {
    json!({"name": "Real server", "url": format!("http://127.0.0.1:{port}/mcp")})
}

fn command((command, args): (String, Vec<String>)) -> Value {
    json!({"name": "Real server", "command": command, "args": args})
}

async fn walk_through(subject: Subject) {
    let home = TempHome::new();
    let with_vault = daemon().with_vault();
    let daemon = with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    session.must(subject.method, subject.params.clone()).await;
    let slug = "real_server";
    let status = session.ready(slug).await;
    assert_eq!([&status["enabled_count"], &status["era"]], [&json!(0), &json!(subject.era)]);
    let tools = session.tools(slug).await;
    assert_eq!(status["tool_count"], tools.len());
    let names = members(&tools, "name");
    for (tool, ..) in &subject.calls {
        assert!(names.contains(&&json!(tool)), "no {tool} among {names:?}");
    }
    assert!(tools.iter().all(|tool| tool["enabled"] == false), "{tools:?}");

    let [(first, first_arguments, _), (second, ..)] = &subject.calls;
    let error = session.must_fail("connectors.call_tool", call(slug, first, first_arguments.clone())).await;
    assert_eq!(error.code, -32041);
    let wanted = json!({"slug": slug, "tools": [first, second, "no_such_tool"]});
    assert_eq!(session.must("connectors.enable_tools", wanted).await, json!({"enabled": 2}));
    works(&session, slug, &subject).await;
    reports_progress(&session, slug, &subject).await;
    drop(session);
    daemon.stop().await;

    let daemon = with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    session.ready(slug).await;
    works(&session, slug, &subject).await;
    let error: RpcError =
        session.must_fail("connectors.call_tool", call(slug, subject.disabled, json!({}))).await;
    assert_eq!(error.code, -32041);
    assert_eq!(session.must("connectors.remove", json!({"slug": slug})).await, json!({"removed": slug}));
    assert_eq!(session.list().await, Vec::<Value>::new());
    assert_eq!(home.manifest(), Vec::<Value>::new());
    daemon.stop().await;
}

async fn works(session: &Session, slug: &str, subject: &Subject) {
    for (tool, arguments, expected) in &subject.calls {
        assert_eq!(session.text(slug, tool, arguments.clone()).await, *expected);
    }
}

async fn reports_progress(session: &Session, slug: &str, subject: &Subject) {
    let (tool, arguments) = &subject.progress;
    session.enable(slug, &[tool]).await;
    let params = json!({"slug": slug, "tool": tool, "arguments": arguments, "call_id": "slow"});
    let result = session.must("connectors.call_tool", params).await;
    assert_ne!(result["isError"], true, "{result}");
    let mut reports = 0;
    loop {
        let event = session.event("the end of the call", |event| event["call_id"] == "slow").await;
        match event["kind"].as_str() {
            Some("call_progress") => reports += 1,
            Some("call_finished") => break,
            _ => {}
        }
    }
    assert!(reports >= 2, "{tool} reported progress {reports} times");
    session.must("connectors.disable_tools", json!({"slug": slug, "tools": [tool]})).await;
}

#[tokio::test]
async fn the_main_job_works_on_server_everything_over_streamable_http() {
    let Some(folder) = servers() else { return };
    let (process, port) = listening(everything(&folder), |command, port| {
        command.arg("streamableHttp").env("PORT", port.to_string());
    })
    .await;
    walk_through(everything_subject("connectors.add", url(port), Some(process))).await;
}

#[tokio::test]
async fn the_main_job_works_on_server_everything_over_stdio() {
    let Some(folder) = servers() else { return };
    walk_through(everything_subject("connectors.add_stdio", command(everything(&folder)), None)).await;
}

#[tokio::test]
async fn the_main_job_works_on_fastmcp_over_streamable_http() {
    let Some(folder) = servers() else { return };
    let (process, port) = listening(fastmcp(&folder), |command, port| {
        command.arg(port.to_string());
    })
    .await;
    walk_through(fastmcp_subject("connectors.add", url(port), Some(process))).await;
}

#[tokio::test]
async fn the_main_job_works_on_fastmcp_over_stdio() {
    let Some(folder) = servers() else { return };
    walk_through(fastmcp_subject("connectors.add_stdio", command(fastmcp(&folder)), None)).await;
}
