//! The main job, from a URL or command to a call after a restart, over the daemon's WebSocket.

use connectors_tests::TempHome;
use serde_json::{Value, json};

use super::servers::{Server, installed};
use crate::session::{Session, call, daemon, members};

const SLUG: &str = "real_server";

/// A server, and what is expected of it.
struct Subject {
    era: &'static str,
    /// Two tools to enable: name, arguments, and the text of the result.
    calls: [(&'static str, Value, &'static str); 2],
    /// A tool that stays disabled.
    disabled: &'static str,
    /// A tool that reports progress at least twice, and its arguments.
    progress: (&'static str, Value),
    /// A tool that asks for `name`, and what its result then holds.
    question: (&'static str, &'static str),
}

fn everything() -> Subject {
    Subject {
        era: "legacy",
        calls: [
            ("echo", json!({"message": "hello"}), "Echo: hello"),
            ("get-sum", json!({"a": 2, "b": 40}), "The sum of 2 and 40 is 42."),
        ],
        disabled: "get-env",
        progress: ("trigger-long-running-operation", json!({"duration": 0.2, "steps": 4})),
        question: ("trigger-elicitation-request", "- Name: Ada"),
    }
}

fn fastmcp() -> Subject {
    Subject {
        era: "modern",
        calls: [("echo", json!({"message": "hello"}), "hello"), ("add", json!({"a": 2, "b": 40}), "42")],
        disabled: "fail",
        progress: ("count", json!({"steps": 4})),
        question: ("ask", "Ada is 42"),
    }
}

/// The parameters of `connectors.add`.
fn at(url: String) -> (&'static str, Value) {
    ("connectors.add", json!({"name": "Real server", "url": url}))
}

/// The parameters of `connectors.add_stdio`.
fn started_as(server: &Server) -> (&'static str, Value) {
    let Server { command, args, .. } = server;
    ("connectors.add_stdio", json!({"name": "Real server", "command": command, "args": args}))
}

async fn walk_through((method, params): (&'static str, Value), subject: Subject) {
    let home = TempHome::new();
    let with_vault = daemon().with_vault();
    let daemon = with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    session.must(method, params).await;
    let status = session.ready(SLUG).await;
    assert_eq!([&status["enabled_count"], &status["era"]], [&json!(0), &json!(subject.era)]);
    let tools = session.tools(SLUG).await;
    let names = members(&tools, "name");
    for (tool, ..) in &subject.calls {
        assert!(names.contains(&&json!(tool)), "no {tool} among {names:?}");
    }
    assert!(tools.iter().all(|tool| tool["enabled"] == false), "{tools:?}");

    let [(first, first_arguments, _), (second, ..)] = &subject.calls;
    let error = session.must_fail("connectors.call_tool", call(SLUG, first, first_arguments.clone())).await;
    assert_eq!(error.code, -32041);
    let wanted = json!({"slug": SLUG, "tools": [first, second, "no_such_tool"]});
    assert_eq!(session.must("connectors.enable_tools", wanted).await, json!({"enabled": 2}));
    works(&session, &subject).await;
    reports_progress(&session, &subject).await;
    asks_the_user(&session, &subject).await;
    drop(session);
    daemon.stop().await;

    let daemon = with_vault.start(&home).await;
    let session = Session::open(&daemon).await;
    session.ready(SLUG).await;
    works(&session, &subject).await;
    let error = session.must_fail("connectors.call_tool", call(SLUG, subject.disabled, json!({}))).await;
    assert_eq!(error.code, -32041);
    assert_eq!(session.must("connectors.remove", json!({"slug": SLUG})).await, json!({"removed": SLUG}));
    assert_eq!(session.list().await, Vec::<Value>::new());
    assert_eq!(home.manifest(), Vec::<Value>::new());
    daemon.stop().await;
}

async fn works(session: &Session, subject: &Subject) {
    for (tool, arguments, expected) in &subject.calls {
        assert_eq!(session.text(SLUG, tool, arguments.clone()).await, *expected);
    }
}

async fn reports_progress(session: &Session, subject: &Subject) {
    let (tool, arguments) = &subject.progress;
    session.enable(SLUG, &[tool]).await;
    let params = json!({"slug": SLUG, "tool": tool, "arguments": arguments, "call_id": "slow"});
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
}

async fn asks_the_user(session: &Session, subject: &Subject) {
    let (tool, expected) = subject.question;
    session.enable(SLUG, &[tool]).await;
    let answer = async {
        let asked = session.event("a question", |event| event["kind"] == "input_wanted").await;
        assert_eq!([&asked["slug"], &asked["mode"]], [SLUG, "form"]);
        let answer =
            json!({"request_id": asked["request_id"], "action": "accept", "content": {"name": "Ada"}});
        session.must("connectors.answer", answer).await;
    };
    let (text, ()) = tokio::join!(session.must("connectors.call_tool", call(SLUG, tool, json!({}))), answer);
    assert!(text["content"].to_string().contains(expected), "{text}");
}

#[tokio::test]
async fn the_main_job_works_on_server_everything_over_streamable_http() {
    let Some(servers) = installed() else { return };
    let server = servers.everything().with_argument("streamableHttp");
    let server = server.listening(|server, port| server.with_variable("PORT", port)).await;
    walk_through(at(server.url("mcp")), everything()).await;
}

#[tokio::test]
async fn the_main_job_works_on_server_everything_over_stdio() {
    let Some(servers) = installed() else { return };
    walk_through(started_as(&servers.everything()), everything()).await;
}

#[tokio::test]
async fn the_main_job_works_on_fastmcp_over_streamable_http() {
    let Some(servers) = installed() else { return };
    let server = servers.fastmcp().listening(Server::with_argument).await;
    walk_through(at(server.url("mcp")), fastmcp()).await;
}

#[tokio::test]
async fn the_main_job_works_on_fastmcp_over_stdio() {
    let Some(servers) = installed() else { return };
    walk_through(started_as(&servers.fastmcp()), fastmcp()).await;
}
