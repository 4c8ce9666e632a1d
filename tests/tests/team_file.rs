//! A project's team file: it proposes, and nothing happens before the user has said so.

use std::fs;
use std::path::PathBuf;

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::{McpServer, Script, TempHome, Tool};
use serde_json::{Value, json};

use crate::session::{Session, daemon};

/// A repository in the home of a user, and a server that counts who comes.
struct Project {
    home: TempHome,
    server: McpServer,
}

impl Project {
    fn new() -> Self {
        let home = TempHome::new();
        for folder in [".git", ".car", "src"] {
            fs::create_dir_all(home.user().join("project").join(folder)).expect("a new folder");
        }
        Self { home, server: Script::modern().with_tools([Tool::echo()]).start() }
    }

    fn folder(&self) -> PathBuf {
        self.home.user().join("project").canonicalize().expect("the project's folder")
    }

    fn file(&self) -> String {
        self.folder().join(".car").join("connectors.toml").display().to_string()
    }

    fn write(&self, text: &str) {
        fs::write(self.file(), text).expect("the team file can be written");
    }

    /// An entry that leads to the server.
    fn remote(&self, more: &str) -> String {
        format!("[[connector]]\nname = \"Remote\"\nurl = \"{}{more}\"\n", self.server.url())
    }

    async fn start(&self) -> (RunningDaemon, Session) {
        let running = daemon().in_folder(self.folder().join("src")).start(&self.home).await;
        let session = Session::open(&running).await;
        (running, session)
    }
}

/// Slug and state of everything that is listed.
async fn states(session: &Session) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    session.list().await.iter().map(|status| (text(&status["slug"]), text(&status["state"]))).collect()
}

fn named(states: &[(&str, &str)]) -> Vec<(String, String)> {
    states.iter().map(|(slug, state)| ((*slug).to_owned(), (*state).to_owned())).collect()
}

#[tokio::test]
async fn nothing_is_dialled_started_or_written_before_the_user_accepts() {
    let project = Project::new();
    let pids = project.home.user().join("pids");
    let script = StdioScript { pids: Some(pids.clone()), ..StdioScript::modern(&["echo"]) };
    let local = format!(
        "[[connector]]\nname = \"Local\"\ncommand = '{}'\nargs = ['{}']\nenv = {{ MODE = \"${{MODE:-fast}}\" }}\n",
        env!("CARGO_BIN_EXE_mcp-stdio-server"),
        script.argument()
    );
    project.write(&format!("{}{local}", project.remote("")));
    let (_daemon, session) = project.start().await;
    assert_eq!(states(&session).await, named(&[("remote", "proposed"), ("local", "proposed")]));
    let status = session.status("local").await;
    assert_eq!(status["command"]["args"], json!([script.argument()]));
    assert_eq!(status["command"]["cwd"], json!(project.folder().display().to_string()));
    assert_eq!(status["proposal"]["env"], json!({"MODE": "fast"}));
    assert_eq!(status["proposal"]["file"], json!(project.file()));
    assert_eq!(session.tools("remote").await, Vec::<Value>::new());
    for (method, params) in [
        ("connectors.reconnect", json!({"slug": "remote"})),
        ("connectors.refresh", json!({"slug": "local"})),
        ("connectors.sign_in", json!({"slug": "remote"})),
        ("connectors.enable_tools", json!({"slug": "local", "tools": ["echo"]})),
        ("connectors.call_tool", json!({"slug": "local", "tool": "echo", "arguments": {}})),
    ] {
        let error = session.must_fail(method, params).await;
        assert_eq!(
            (error.code, &error.data["code"]),
            (-32052, &json!("not_accepted")),
            "{method}: {error:?}"
        );
    }
    assert_eq!((project.server.seen().connections, pids.exists()), (0, false));
    assert_eq!(project.home.manifest_text(), "");

    let hash = session.status("remote").await["proposal"]["hash"].clone();
    session.must("connectors.accept", json!({"slug": "remote", "hash": hash})).await;
    session.ready("remote").await;
    assert!(project.server.seen().connections > 0);
    let manifest = project.home.manifest();
    assert_eq!(manifest.len(), 1);
    assert_eq!(manifest[0]["proposal"], json!({"file": project.file(), "hash": hash}));
    assert!(!pids.exists());
    session.must("connectors.accept", json!({"slug": "local"})).await;
    session.ready("local").await;
    assert!(pids.exists());
}

#[tokio::test]
async fn another_url_under_an_accepted_name_is_asked_again() {
    let project = Project::new();
    project.write(&project.remote(""));
    let (_daemon, session) = project.start().await;
    let unseen = session.must_fail("connectors.accept", json!({"slug": "remote"})).await;
    assert_eq!((unseen.code, &unseen.data["field"]), (-32602, &json!("hash")));
    session.status("remote").await;
    session.must("connectors.accept", json!({"slug": "remote"})).await;
    session.ready("remote").await;
    session.enable("remote", &["echo"]).await;

    let trap = Script::modern().with_tools([Tool::echo()]).start();
    project.write(&format!("[[connector]]\nname = \"Remote\"\nurl = \"{}\"\n", trap.url()));
    let changed = session.until("remote", "changed", |status| !status["proposal_changed"].is_null()).await;
    assert_eq!(
        changed["proposal_changed"]["changes"],
        json!([{"field": "url", "before": project.server.url(), "after": trap.url()}])
    );
    assert_eq!((&changed["url"], &changed["connected"]), (&json!(project.server.url()), &json!(true)));
    assert_eq!(trap.seen().connections, 0);
    let stale = json!({"slug": "remote", "hash": "0".repeat(64)});
    let error = session.must_fail("connectors.accept", stale).await;
    assert_eq!((error.code, &error.data["field"]), (-32602, &json!("hash")));
    assert_eq!(trap.seen().connections, 0);

    let hash = changed["proposal_changed"]["hash"].clone();
    session.must("connectors.accept", json!({"slug": "remote", "hash": hash})).await;
    let moved = session.ready("remote").await;
    assert_eq!((&moved["url"], &moved["enabled_count"]), (&json!(trap.url()), &json!(1)));
    assert_eq!(moved.get("proposal_changed"), None);
}

#[tokio::test]
async fn without_a_hash_a_client_accepts_what_it_was_shown_itself() {
    let project = Project::new();
    project.write(&project.remote(""));
    let (running, session) = project.start().await;
    session.status("remote").await;
    let other = Session::open(&running).await;
    let trap = Script::modern().with_tools([Tool::echo()]).start();
    project.write(&format!("[[connector]]\nname = \"Remote\"\nurl = \"{}\"\n", trap.url()));
    other.until("remote", "changed", |status| status["url"] == trap.url()).await;
    let error = session.must_fail("connectors.accept", json!({"slug": "remote"})).await;
    assert_eq!((error.code, &error.data["field"]), (-32602, &json!("hash")));
    assert_eq!((trap.seen().connections, project.server.seen().connections), (0, 0));
    other.must("connectors.accept", json!({"slug": "remote"})).await;
    other.ready("remote").await;
    assert!(trap.seen().connections > 0);
}

#[tokio::test]
async fn what_was_decided_holds_after_a_restart_and_an_unaccepted_edit_is_asked_again() {
    let project = Project::new();
    let other = "[[connector]]\nname = \"Other\"\nurl = \"http://127.0.0.1:9/mcp\"\n";
    project.write(&format!("{}{other}", project.remote("")));
    let (running, session) = project.start().await;
    session.status("remote").await;
    session.must("connectors.accept", json!({"slug": "remote"})).await;
    assert_eq!(
        session.must("connectors.reject", json!({"slug": "other"})).await,
        json!({"rejected": "other"})
    );
    let error = session.must_fail("connectors.reject", json!({"slug": "nobody"})).await;
    assert_eq!(error.code, -32602);
    running.stop().await;

    let (running, session) = project.start().await;
    session.ready("remote").await;
    assert_eq!(states(&session).await, named(&[("remote", "ready")]));
    let edited = other.replace("9/mcp", "9/other");
    project.write(&format!("{}{edited}", project.remote("")));
    session.until("remote", "in company", |status| status["connected"] == true).await;
    session.event("the edited proposal", |event| event["kind"] == "approval_wanted").await;
    assert_eq!(states(&session).await, named(&[("remote", "ready"), ("other", "proposed")]));
    running.stop().await;

    // Elsewhere, the accepted one is the user's own.
    let elsewhere = daemon().start(&project.home).await;
    let session = Session::open(&elsewhere).await;
    session.ready("remote").await;
    assert_eq!(states(&session).await, named(&[("remote", "ready")]));
}

#[tokio::test]
async fn mistakes_are_shown_with_their_place_and_cost_nothing_else() {
    let project = Project::new();
    let bad = "[[connector]]\nname = \"Bad\"\nurl = \"https://example.com/mcp?api_key=hunter22hunter\"\n";
    project.write(&format!("{bad}{}", project.remote("")));
    let (running, session) = project.start().await;
    assert_eq!(states(&session).await, named(&[("remote", "proposed")]));
    let list = session.must("connectors.list", json!({})).await;
    let problem = &list["problems"][0];
    assert_eq!(
        [&problem["file"], &problem["line"], &problem["column"]],
        [&json!(project.file()), &json!(3), &json!(7)]
    );
    assert!(!list.to_string().contains("hunter22"), "{list}");
    project.write("[[connector]\n");
    let list = loop {
        session.event("the broken file", |event| event["kind"] == "proposals_changed").await;
        let list = session.must("connectors.list", json!({})).await;
        // For a moment the file may be empty, which is no mistake.
        if list["problems"].is_array() {
            break list;
        }
    };
    assert_eq!((&list["connectors"], &list["problems"][0]["line"]), (&json!([]), &json!(1)));
    let output = running.stop().await;
    assert!(output.contains("connectors.toml") && !output.contains("hunter22"), "{output}");
}

#[tokio::test]
async fn the_state_roots_own_file_proposes_nothing() {
    let home = TempHome::new();
    let text = "[[connector]]\nname = \"X\"\nurl = \"http://127.0.0.1:9/mcp\"\n";
    // The state root of this daemon, and the usual one.
    let usual = home.user().join(".car");
    fs::create_dir(&usual).expect("a new folder");
    for folder in [home.state(), usual] {
        fs::write(folder.join("connectors.toml"), text).expect("a file");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(home.state(), home.state().parent().expect("a folder").join(".car"))
        .expect("a link");
    for folder in [home.user(), home.state().parent().expect("a folder").to_owned()] {
        let running = daemon().in_folder(folder).start(&home).await;
        let session = Session::open(&running).await;
        assert_eq!(session.must("connectors.list", json!({})).await, json!({"connectors": []}));
        running.stop().await;
    }
}
