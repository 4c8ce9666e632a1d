//! What a bad address, a bad server or a bad command gets: a connector whose status says what happened, and nothing else
//! that is affected.

use std::time::Duration;

use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::mcp_server::{Cursors, Port};
use connectors_tests::{Fault, McpServer, Script, Stage, Tool};
use serde_json::{Value, json};

use crate::session::{Session, start};

/// The longest that a handshake may take, and then some: how long a server that hangs is given.
const PATIENCE: Duration = Duration::from_secs(60);

/// One way to be bad.
struct Row {
    what: &'static str,
    method: &'static str,
    params: Value,
    /// This is in the sentence, in lower case.
    says: &'static str,
    _server: Option<McpServer>,
    _port: Option<Port>,
}

fn at(what: &'static str, url: &str, says: &'static str) -> Row {
    Row {
        what,
        method: "connectors.add",
        params: json!({"name": what, "url": url}),
        says,
        _server: None,
        _port: None,
    }
}

fn server(what: &'static str, script: Script, says: &'static str) -> Row {
    let server = script.start();
    Row { _server: Some(server), ..at(what, "", says) }.with_url()
}

fn fault(what: &'static str, stage: Stage, fault: Fault, says: &'static str) -> Row {
    server(what, Script::modern().with_tools([Tool::echo()]).with_fault(stage, fault), says)
}

fn command(what: &'static str, command: &str, args: &[String], says: &'static str) -> Row {
    let params = json!({"name": what, "command": command, "args": args});
    Row { what, method: "connectors.add_stdio", params, says, _server: None, _port: None }
}

fn stdio(what: &'static str, script: StdioScript, says: &'static str) -> Row {
    command(what, env!("CARGO_BIN_EXE_mcp-stdio-server"), &[script.argument()], says)
}

impl Row {
    fn with_url(mut self) -> Self {
        self.params["url"] = json!(self._server.as_ref().expect("a server").url());
        self
    }
}

/// The rows that fail as soon as they are tried.
fn quick() -> Vec<Row> {
    let nobody = Port::reserve();
    let url = nobody.url();
    let elsewhere = Fault::redirect("https://elsewhere.invalid/mcp");
    let many = (0..11_000).map(|n| Tool::echo().named(&format!("t{n}")));
    vec![
        Row { _port: Some(nobody), ..at("refused port", &url, "refused") },
        at("unknown host", "http://no-such-host.invalid/mcp", "no-such-host.invalid"),
        at("refused port of https", "https://127.0.0.1:1/mcp", "refused"),
        fault("html page", Stage::Every, Fault::html(200), "text/html"),
        fault("html not found", Stage::Every, Fault::html(404), "404"),
        fault("empty not found", Stage::Every, Fault::status(404), "404"),
        fault("server error", Stage::Every, Fault::status(500), "500"),
        fault("bad gateway", Stage::List, Fault::html(502), "502"),
        fault("wants a sign-in", Stage::Every, Fault::unauthorized(), "sign"),
        fault("forbidden", Stage::Every, Fault::status(403), "403"),
        fault("redirect elsewhere", Stage::Every, elsewhere, "redirect"),
        fault("broken json", Stage::Every, Fault::broken_json(), "json"),
        fault("json that is no answer", Stage::Every, Fault::not_json_rpc(), "json-rpc"),
        fault("broken stream", Stage::Every, Fault::broken_sse(), "json"),
        fault("stream without an answer", Stage::Every, Fault::SseWithoutAnswer, "before it answered"),
        fault("answer to another request", Stage::List, Fault::wrong_id(), "response to the request"),
        fault("drops the connection", Stage::Every, Fault::Drop, "closed the connection"),
        fault("drops it in the answer", Stage::Every, Fault::Truncate, "in the middle"),
        fault("body over the limit", Stage::List, Fault::Oversized(17 << 20), "limit of 16 mib"),
        fault("endless body", Stage::List, Fault::EndlessBody, "limit of 16 mib"),
        fault(
            "error for a list",
            Stage::List,
            Fault::RpcError { code: -32603, message: "oops".to_owned() },
            "-32603",
        ),
        server("pages without end", paged(Cursors::Endless), "limit of 1000 pages"),
        server("too many tools", Script::modern().with_tools(many), "limit of 10000 tools"),
        command("no such command", "/no/such/command", &[], "/no/such/command"),
        command("no such command in path", "no-such-command-anywhere", &[], "no-such-command-anywhere"),
        command("not a program", "/etc/hostname", &[], "/etc/hostname"),
        stdio("exits at once", exiting(), "status 7"),
        command("speaks no json", "/bin/echo", &["hello".to_owned()], "exited"),
    ]
}

fn paged(cursors: Cursors) -> Script {
    Script::modern().with_tools([Tool::echo()]).with_page_size(1).with_cursors(cursors)
}

fn exiting() -> StdioScript {
    StdioScript {
        exit_at_once: Some(7),
        complaint: "fatal: no configuration".to_owned(),
        ..StdioScript::default()
    }
}

/// The rows that fail only when patience ends.
fn slow() -> Vec<Row> {
    let hanging = |stage| Script::modern().with_tools([Tool::echo()]).with_fault(stage, Fault::Hang);
    let legacy = Script::legacy().with_fault(Stage::Method("initialize"), Fault::Hang);
    let silent = StdioScript { hang_at: "tools/list".to_owned(), ..StdioScript::modern(&["echo"]) };
    vec![
        server("hangs at once", hanging(Stage::Every), "longer than"),
        server("hangs at initialize", legacy, "longer than"),
        server("hangs at the list", hanging(Stage::List), "longer than"),
        stdio("hangs at the list over stdio", silent, "longer than"),
    ]
}

/// Adds the row's connector and waits for what its status says of it.
async fn sentence(session: &Session, row: &Row) -> (Value, String) {
    let added = match session.call(row.method, row.params.clone()).await {
        Ok(added) => added,
        Err(error) => panic!("{} was not added: {error:?}", row.what),
    };
    assert_eq!(added["connected"], false, "{}: {added}", row.what);
    let error = added["last_error"].as_str().unwrap_or_default().to_owned();
    (added, error)
}

fn check_sentence(row: &Row, says: &str, sentence: &str) {
    assert!(sentence.to_lowercase().contains(says), "{}: {sentence:?}", row.what);
    assert!(!sentence.contains('\n'), "{}: more than one line: {sentence:?}", row.what);
    assert!((10..400).contains(&sentence.len()), "{}: {sentence:?}", row.what);
}

#[tokio::test]
async fn whatever_is_wrong_the_connector_is_added_and_says_so_in_one_sentence() {
    let (home, _daemon, session) = start().await;
    let good = Script::modern().with_tools([Tool::echo()]).start();
    session.add_with("good", &good, &["echo"]).await;
    let rows = quick();
    for row in &rows {
        let (status, sentence) = sentence(&session, row).await;
        check_sentence(row, row.says, &sentence);
        if status["state"] == "backoff" {
            assert!(status["retry_at"].is_u64(), "{}: no time of the next try: {status}", row.what);
        }
        assert_eq!(session.text("good", "echo", json!({"text": row.what})).await, row.what);
    }
    assert_eq!(session.list().await.len(), rows.len() + 1);
    assert_eq!(home.manifest().len(), rows.len() + 1);
    for status in session.list().await {
        session.must("connectors.remove", json!({"slug": status["slug"]})).await;
    }
    assert_eq!(home.manifest(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_server_that_hangs_is_reported_and_holds_up_nobody() {
    let (_home, _daemon, session) = start().await;
    let rows = slow();
    let added: Vec<_> = rows.iter().map(|row| session.start(row.method, row.params.clone())).collect();
    let good = Script::modern().with_tools([Tool::echo()]).start();
    session.add_with("good", &good, &["echo"]).await;
    assert_eq!(session.text("good", "echo", json!({"text": "meanwhile"})).await, "meanwhile");
    for (row, added) in rows.iter().zip(added) {
        let added = tokio::time::timeout(PATIENCE, added).await.expect("an answer").expect("an answer");
        let added = added.unwrap_or_else(|error| panic!("{}: {error:?}", row.what));
        check_sentence(row, "no answer within", added["last_error"].as_str().unwrap_or_default());
        let slug = added["slug"].as_str().expect("a slug");
        let has_failed = |status: &Value| status["state"] == "backoff";
        let status = session.until_within(PATIENCE, slug, "given up", has_failed).await;
        check_sentence(row, row.says, status["last_error"].as_str().unwrap_or_default());
        assert!(status["retry_at"].is_u64(), "{}: {status}", row.what);
    }
    assert_eq!(session.text("good", "echo", json!({"text": "still"})).await, "still");
}

#[tokio::test]
async fn a_server_that_comes_up_later_is_found_without_being_asked_for() {
    let (_home, _daemon, session) = start().await;
    let port = Port::reserve();
    let status = session.must("connectors.add", json!({"name": "Late", "url": port.url()})).await;
    assert_eq!(status["connected"], false);
    let _server = Script::modern().with_tools([Tool::echo()]).start_on(&port);
    let status = session.ready("late").await;
    assert_eq!([&status["tool_count"], &status["last_error"]], [&json!(1), &Value::Null]);
}

#[tokio::test]
async fn a_server_that_is_repaired_is_ready_after_reconnect() {
    let (_home, _daemon, session) = start().await;
    let script = Script::modern().with_tools([Tool::echo()]).with_fault(Stage::Every, Fault::unauthorized());
    let server = script.start();
    let status = session.must("connectors.add", json!({"name": "Locked", "url": server.url()})).await;
    assert_eq!(status["state"], "needs_sign_in");
    server.repair();
    let status = session.must("connectors.reconnect", json!({"slug": "locked"})).await;
    assert_eq!([&status["state"], &status["last_error"]], [&json!("ready"), &Value::Null]);
}

#[tokio::test]
async fn a_cursor_that_repeats_ends_the_list_and_the_tools_so_far_work() {
    let (_home, _daemon, session) = start().await;
    let server = paged(Cursors::Repeated).start();
    let slug = session.add_with("repeating", &server, &["echo"]).await;
    assert_eq!(session.text(&slug, "echo", json!({"text": "works"})).await, "works");
    assert!(
        server.seen().count("tools/list") <= 3,
        "{} pages were asked for",
        server.seen().count("tools/list")
    );
}

#[tokio::test]
async fn one_unusable_tool_is_left_out_and_the_others_work() {
    let (_home, _daemon, session) = start().await;
    let no_pattern = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(("}}});
    let float_header =
        json!({"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}});
    let server = Script::modern()
        .with_tools([
            Tool::echo(),
            Tool::echo().named("headers").with_member("inputSchema", float_header),
            Tool::echo().named("pattern").with_member("inputSchema", no_pattern),
            Tool::echo().named("list").with_member("inputSchema", json!([])),
        ])
        .start();
    let slug = session.add("partly", &server).await;
    let status = session.status(&slug).await;
    let left_out: Vec<_> =
        status["quarantined"].as_array().expect("an array").iter().map(|q| &q["name"]).collect();
    assert!(left_out.contains(&&json!("headers")) && left_out.contains(&&json!("list")), "{left_out:?}");
    let all = json!({"slug": slug, "tools": ["echo", "headers", "pattern", "list"]});
    assert_eq!(session.must("connectors.enable_tools", all).await, json!({"enabled": 1}));
    assert_eq!(session.text(&slug, "echo", json!({"text": "works"})).await, "works");
}
