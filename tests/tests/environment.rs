//! Secret variables of local servers: in the secret store and in the process, and nowhere else.

use std::path::Path;

use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::{Daemon, TempHome};
use serde_json::{Value, json};

use crate::session::{Session, daemon};

const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
const OTHER: &str = "another value that nobody may read";

/// A daemon whose secrets outlive it, which tells everything that it knows.
fn with_vault() -> Daemon {
    daemon().with_vault().with_variable("RUST_LOG", "trace")
}

/// The arguments of a shell that writes its environment to `seen` and becomes a server.
fn arguments(seen: &Path) -> Value {
    let script = format!("env > '{}'; exec \"$0\" \"$1\"", seen.display());
    json!(["-c", script, env!("CARGO_BIN_EXE_mcp-stdio-server"), StdioScript::modern(&["echo"]).argument()])
}

/// The variables that the process was last started with, as `name=value`, of those that begin with `T_`.
fn seen(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the environment");
    let mut seen: Vec<_> = text.lines().filter(|line| line.starts_with("T_")).map(str::to_owned).collect();
    seen.sort();
    // The next one is known to be new.
    std::fs::remove_file(path).expect("the environment");
    seen
}

/// Makes sure that neither a file nor anything that was shown or logged holds these.
fn nowhere(home: &TempHome, shown: &[&Value], log: &str, secrets: &[&str]) {
    for secret in secrets {
        assert_eq!(home.files_with(secret), Vec::<std::path::PathBuf>::new());
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "the log holds a secret");
        assert!(shown.iter().all(|value| !value.to_string().contains(secret)), "a status holds a secret");
    }
}

async fn restarted(home: &TempHome, daemon: RunningDaemon) -> (String, RunningDaemon, Session) {
    let log = daemon.stop().await;
    let daemon = with_vault().start(home).await;
    let session = Session::open(&daemon).await;
    (log, daemon, session)
}

#[tokio::test]
async fn a_secret_variable_reaches_the_process_alone_and_outlives_the_daemon() {
    let home = TempHome::new();
    let out = home.user().join("environment");
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let params = json!({
        "name": "Local", "command": "/bin/sh", "args": arguments(&out),
        "env": {"T_TOKEN": TOKEN, "T_LOG": "debug"}, "secret_env": {"T_NOTE": OTHER},
    });
    let added = session.must("connectors.add_stdio", params).await;
    let expected = ["T_LOG=debug".to_owned(), format!("T_NOTE={OTHER}"), format!("T_TOKEN={TOKEN}")];
    assert_eq!((&added["connected"], seen(&out).as_slice()), (&json!(true), expected.as_slice()));
    assert_eq!(
        (&added["command"]["env"], &added["command"]["secret_env"], &added["plaintext_secrets"]),
        (&json!(["T_LOG"]), &json!(["T_TOKEN", "T_NOTE"]), &Value::Null)
    );
    let stored = home.manifest();
    assert_eq!(
        (&stored[0]["stdio"]["env"], &stored[0]["stdio"]["secret_env"]),
        (&json!({"T_LOG": "debug"}), &json!(["T_TOKEN", "T_NOTE"]))
    );
    let renamed = session.must("connectors.update", json!({"slug": "local", "name": "New"})).await;
    nowhere(&home, &[&added, &renamed], "", &[TOKEN, OTHER]);

    let (log, running, session) = restarted(&home, running).await;
    session.ready("local").await;
    assert_eq!(seen(&out), expected);
    let shown = session.must("connectors.explain", json!({"slug": "local"})).await;
    nowhere(&home, &[&shown], &log, &[TOKEN, OTHER]);
    nowhere(&home, &[], &running.stop().await, &[TOKEN, OTHER]);
}

#[tokio::test]
async fn a_secret_of_several_lines_is_neither_shown_nor_logged_when_its_server_prints_it() {
    let lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"];
    let home = TempHome::new();
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let params = json!({
        "name": "Local", "command": "/bin/sh", "args": ["-c", "printf 'bad key\\n%s' \"$T_KEY\" >&2; exit 1"],
        "secret_env": {"T_KEY": lines.map(|line| format!("{line}\n")).concat()},
    });
    session.must("connectors.add_stdio", params).await;
    let status = session.until("local", "dead", |status| !status["last_error"].is_null()).await;
    let error = status["last_error"].as_str().expect("a text");
    assert!(error.contains("its last words: bad key [redacted]"), "{error}");
    let told = session.event("the end", |event| event.to_string().contains("its last words")).await;
    nowhere(&home, &[&status, &told], &running.stop().await, &lines);
}

#[tokio::test]
async fn an_update_keeps_changes_and_drops_variables_by_name() {
    let home = TempHome::new();
    let out = home.user().join("environment");
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let params = json!({
        "name": "Local", "command": "/bin/sh", "args": arguments(&out),
        "env": {"T_A_TOKEN": TOKEN, "T_LOG": "debug"}, "secret_env": {"T_B": "b-value", "T_C": "c-value"},
    });
    session.must("connectors.add_stdio", params).await;
    session.ready("local").await;
    seen(&out);
    // Whoever sees names only can change the rest.
    let changed = json!({
        "slug": "local",
        "env": {"T_LOG": null, "T_NEW": "1"}, "secret_env": {"T_A_TOKEN": null, "T_B": OTHER},
    });
    let status = session.must("connectors.update", changed).await;
    let expected =
        [format!("T_A_TOKEN={TOKEN}"), format!("T_B={OTHER}"), "T_LOG=debug".into(), "T_NEW=1".into()];
    assert_eq!((&status["connected"], seen(&out).as_slice()), (&json!(true), expected.as_slice()));
    assert_eq!(status["command"]["secret_env"], json!(["T_A_TOKEN", "T_B"]));
    let error = session.must_fail("connectors.update", json!({"slug": "local", "env": {"T_C": null}})).await;
    assert_eq!(error.code, -32602, "{error:?}");
    assert!(
        error.message.contains("`env`: the variable \"T_C\" has no value that could be kept"),
        "{error:?}"
    );

    let (log, _running, session) = restarted(&home, running).await;
    session.ready("local").await;
    assert_eq!(seen(&out), expected);
    nowhere(&home, &[&status], &log, &[TOKEN, OTHER, "b-value", "c-value"]);
}

#[tokio::test]
async fn plain_text_of_old_is_moved_when_asked_and_leaves_no_copy_behind() {
    let home = TempHome::new();
    let out = home.user().join("environment");
    let entry = json!({
        "slug": "local", "name": "Local", "url": "",
        "stdio": {"command": "/bin/sh", "args": arguments(&out), "env": {"T_TOKEN": TOKEN, "T_LOG": "debug"}, "odd": 1},
        "enabled_tools": [],
    });
    home.write_manifest(&json!({"connectors": [entry]}).to_string());
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let status = session.ready("local").await;
    assert_eq!(status["plaintext_secrets"], json!(["T_TOKEN"]));
    let given = ["T_LOG=debug".to_owned(), format!("T_TOKEN={TOKEN}")];
    assert_eq!(seen(&out), given);
    // Nothing is moved by another change, which leaves a previous version behind; the user is asked.
    session.must("connectors.update", json!({"slug": "local", "name": "New"})).await;
    let asked = session.event("the question", |event| event["kind"] == "protection_wanted").await;
    assert_eq!((&asked["slug"], &asked["variables"]), (&json!("local"), &json!(["T_TOKEN"])));
    assert_eq!(home.files_with(TOKEN).len(), 2);

    let status = session.must("connectors.protect_env", json!({"slug": "local"})).await;
    assert_eq!((&status["plaintext_secrets"], &status["connected"]), (&Value::Null, &json!(true)));
    let stdio = &home.manifest()[0]["stdio"];
    assert_eq!(
        (&stdio["env"], &stdio["secret_env"], &stdio["odd"]),
        (&json!({"T_LOG": "debug"}), &json!(["T_TOKEN"]), &json!(1))
    );
    nowhere(&home, &[&status], &running.output(), &[TOKEN]);
    let (log, _running, session) = restarted(&home, running).await;
    session.ready("local").await;
    assert_eq!(seen(&out), given);
    nowhere(&home, &[], &log, &[TOKEN]);
}

#[tokio::test]
async fn removing_a_connector_deletes_its_variables() {
    let home = TempHome::new();
    let out = home.user().join("environment");
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let params =
        json!({"name": "Local", "command": "/bin/sh", "args": arguments(&out), "env": {"T_TOKEN": TOKEN}});
    session.must("connectors.add_stdio", params).await;
    session.must("connectors.remove", json!({"slug": "local"})).await;
    seen(&out);
    // A definition that names it finds nothing.
    let entry = json!({
        "slug": "local", "name": "Local", "url": "",
        "stdio": {"command": "/bin/sh", "args": arguments(&out), "secret_env": ["T_TOKEN"]},
    });
    running.stop().await;
    home.write_manifest(&json!({"connectors": [entry]}).to_string());
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let status =
        session.until("local", "missing its variable", |status| status["state"] == "needs_sign_in").await;
    assert_eq!(
        (&status["detail"], &status["last_error"]),
        (&json!("secret_missing"), &json!("the value of its variable T_TOKEN is not in the vault"))
    );
    assert!(!out.exists(), "it was started without its variable");
    let entered = json!({"slug": "local", "secret_env": {"T_TOKEN": OTHER}});
    assert_eq!(session.must("connectors.update", entered).await["connected"], true);
    assert_eq!(seen(&out), [format!("T_TOKEN={OTHER}")]);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_leaves_nothing_half_done() {
    let home = TempHome::new();
    let out = home.user().join("environment");
    let stdio = json!({"command": "/bin/sh", "args": arguments(&out), "env": {"T_TOKEN": TOKEN}});
    let entry = json!({"slug": "local", "name": "Local", "url": "", "stdio": stdio});
    let text = json!({"connectors": [entry]}).to_string();
    home.write_manifest(&text);
    // Forgets with the daemon: the file has the only copy that lasts.
    let running = daemon().start(&home).await;
    let session = Session::open(&running).await;
    session.ready("local").await;
    let error = session.must_fail("connectors.protect_env", json!({"slug": "local"})).await;
    assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"), "{error:?}");
    assert_eq!(home.manifest_text(), text);
    running.stop().await;

    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    session.ready("local").await;
    session.must("connectors.protect_env", json!({"slug": "local"})).await;
    running.stop().await;
    let before = home.manifest_text();
    let vault = home.state().join("connectors.vault");
    assert!(vault.exists(), "{:?}", std::fs::read_dir(home.state()));
    std::fs::write(&vault, "broken").expect("the vault can be broken");
    let running = with_vault().start(&home).await;
    let session = Session::open(&running).await;
    let add =
        json!({"name": "Other", "command": "/bin/sh", "args": arguments(&out), "env": {"T_TOKEN": TOKEN}});
    for (method, params) in [
        ("connectors.add_stdio", add),
        ("connectors.update", json!({"slug": "local", "env": {"T_TOKEN": OTHER}})),
    ] {
        let error = session.must_fail(method, params).await;
        assert_eq!((error.code, error.data_code()), (-32048, "secret_store_unavailable"), "{error:?}");
    }
    assert_eq!((home.manifest_text(), session.list().await.len()), (before, 1));
}
