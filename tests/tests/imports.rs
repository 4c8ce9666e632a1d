//! What other clients have configured: shown without secrets, and taken over.

use connectors_core::{CredentialKey, CredentialStore, Slug};
use connectors_store::{Paths, VaultStore};
use connectors_tests::daemon::RunningDaemon;
use connectors_tests::mcp_server::stdio::StdioScript;
use connectors_tests::{Script, TempHome, Tool};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::session::{Session, daemon, members};

const HEADER: &str = "correct-horse-battery-staple";
const VARIABLE: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
const ENTERED: &str = "entered-by-the-user-1";
const ENVIRONMENT: &str = "from-the-environment-2";

/// A daemon whose user has other clients, with secrets in a vault.
async fn start(home: &TempHome) -> (RunningDaemon, Session) {
    let daemon = daemon().with_vault().with_variable("IMPORTED_KEY", ENVIRONMENT).start(home).await;
    let session = Session::open(&daemon).await;
    (daemon, session)
}

/// Writes a file below the user's home.
fn write(home: &TempHome, path: &str, content: &str) {
    let path = home.user().join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, content).expect("a file");
}

/// The source of a client, and what `connectors.importable` shows of it.
async fn source(session: &Session, client: &str) -> (String, Value) {
    let shown = session.must("connectors.importable", json!({})).await;
    for secret in [HEADER, VARIABLE, ENTERED, ENVIRONMENT] {
        assert!(!shown.to_string().contains(secret), "{shown}");
    }
    let sources = shown["sources"].as_array().expect("an array");
    let found = sources.iter().find(|source| source["client"] == client);
    let found = found.unwrap_or_else(|| panic!("no {client} among {shown}"));
    (found["source"].as_str().expect("a string").to_owned(), found.clone())
}

async fn secret(home: &TempHome, key: CredentialKey) -> Option<String> {
    let vault = VaultStore::new(&Paths::new(home.state(), home.vault_key_path()));
    let value = vault.get(&key).await.expect("the vault can be read");
    value.map(|value| value.expose_secret().to_owned())
}

#[tokio::test]
async fn servers_of_other_clients_become_connectors_with_their_secrets_in_the_store() {
    let server = Script::modern().with_tools([Tool::echo()]).requiring_header("x-api-key", HEADER).start();
    let home = TempHome::new();
    let local = json!({"command": env!("CARGO_BIN_EXE_mcp-stdio-server"),
        "args": [StdioScript::modern(&["echo"]).argument()],
        "env": {"GITHUB_TOKEN": VARIABLE, "LOG_LEVEL": "info"}});
    let remote = json!({"url": server.url(), "headers": {"X-Api-Key": HEADER}});
    let bridged = json!({"command": "npx", "args": ["-y", "mcp-remote", format!("{}?bridged", server.url()), "--header", "X-Api-Key:${KEY}"],
        "env": {"KEY": HEADER}});
    let servers = json!({"mcpServers": {"Local": local, "Remote": remote, "Bridged": bridged}}).to_string();
    let commented = servers.replacen('{', "{ // written by hand\n", 1);
    write(&home, ".cursor/mcp.json", &commented);
    let (_daemon, session) = start(&home).await;

    let (source_id, shown) = source(&session, "cursor").await;
    assert_eq!(
        members(shown["connectors"].as_array().expect("an array"), "transport"),
        ["stdio", "http", "http"]
    );
    assert_eq!(
        [&shown["connectors"][0]["secrets"], &shown["connectors"][0]["env_values"]],
        [&json!(["GITHUB_TOKEN"]), &json!({"LOG_LEVEL": "info"})]
    );
    assert_eq!(shown["connectors"][1]["secrets"], json!(["X-Api-Key"]));
    assert!(shown["connectors"][2]["note"].as_str().expect("a note").contains("mcp-remote"));
    assert_eq!(server.seen().requests.len(), 0, "nothing is dialled to show what there is");

    let outcome = session.must("connectors.import", json!({"source": source_id})).await;
    assert_eq!(outcome["skipped"], json!([]));
    assert_eq!(
        members(outcome["imported"].as_array().expect("an array"), "slug"),
        ["local", "remote", "bridged"]
    );
    for slug in ["local", "remote", "bridged"] {
        let status = session.ready(slug).await;
        assert_eq!([&status["tool_count"], &status["enabled_count"]], [&json!(1), &json!(0)], "{slug}");
    }
    assert_eq!(
        secret(&home, CredentialKey::header(&Slug::verbatim("remote"), "X-Api-Key")).await.as_deref(),
        Some(HEADER)
    );
    assert_eq!(
        secret(&home, CredentialKey::header(&Slug::verbatim("bridged"), "X-Api-Key")).await.as_deref(),
        Some(HEADER)
    );
    assert_eq!(
        secret(&home, CredentialKey::env(&Slug::verbatim("local"), "GITHUB_TOKEN")).await.as_deref(),
        Some(VARIABLE)
    );
    let entry = &home.manifest()[0];
    assert_eq!(
        [&entry["stdio"]["env"], &entry["stdio"]["secret_env"]],
        [&json!({"LOG_LEVEL": "info"}), &json!(["GITHUB_TOKEN"])]
    );
    let own = home.user().join(".cursor/mcp.json");
    for value in [HEADER, VARIABLE] {
        assert_eq!(
            home.files_with(value),
            std::slice::from_ref(&own),
            "a secret is where it was, and nowhere else"
        );
    }
    assert_eq!(std::fs::read_to_string(own).expect("the file"), commented, "the file is left as it was");

    let (_, shown) = source(&session, "cursor").await;
    assert_eq!(
        members(shown["connectors"].as_array().expect("an array"), "existing"),
        ["local", "remote", "bridged"]
    );
    let again = session.must("connectors.import", json!({"source": source_id})).await;
    assert_eq!(again["imported"], json!([]));
    assert_eq!(
        members(again["skipped"].as_array().expect("an array"), "name"),
        ["Local", "Remote", "Bridged"]
    );
}

#[tokio::test]
async fn a_switched_off_server_stays_off_and_is_not_dialled() {
    let server = Script::modern().with_tools([Tool::echo()]).start();
    let home = TempHome::new();
    write(
        &home,
        ".codex/config.toml",
        &format!("[mcp_servers.off]\nurl = {:?}\nenabled = false\n", server.url()),
    );
    let (_daemon, session) = start(&home).await;
    let (source, _) = source(&session, "codex").await;
    let outcome = session.must("connectors.import", json!({"source": source})).await;
    assert_eq!(
        [&outcome["imported"][0]["slug"], &outcome["imported"][0]["state"]],
        [&json!("off"), &json!("disabled")]
    );
    assert_eq!(home.manifest()[0]["disabled"], json!(true));
    assert_eq!(server.seen().requests.len(), 0);
    session.must("connectors.update", json!({"slug": "off", "disabled": false})).await;
    session.ready("off").await;
}

#[tokio::test]
async fn values_come_from_the_environment_or_the_user_and_each_entry_stands_for_itself() {
    let server = Script::modern().with_tools([Tool::echo()]).requiring_header("x-api-key", ENTERED).start();
    let home = TempHome::new();
    let file = json!({
        "inputs": [{"type": "promptString", "id": "key", "description": "Your key", "password": true}],
        "servers": {
            "asks": {"type": "http", "url": server.url(), "headers": {"X-Api-Key": "${input:key}"}},
            "knows": {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"X-Api-Key": "${env:IMPORTED_KEY}"}},
            "leaks": {"type": "http", "url": format!("https://a.test/mcp?token={HEADER}")},
            "broken": {"type": "http"}
        }
    });
    write(&home, ".config/Code/User/mcp.json", &file.to_string());
    let (_daemon, session) = start(&home).await;
    let (source, shown) = source(&session, "vscode").await;
    assert_eq!(shown["connectors"][0]["wanted"], json!([{"name": "input:key", "description": "Your key"}]));
    assert_eq!(shown["connectors"][1]["uses"], json!(["IMPORTED_KEY"]));
    assert_eq!(
        [&shown["connectors"][2]["url"], &shown["connectors"][2]["plain_secrets"]],
        [&json!("https://a.test/mcp?token=…"), &json!(["URL"])]
    );

    let names = ["asks", "knows", "leaks", "broken", "nobody"];
    let outcome = session.must("connectors.import", json!({"source": source, "names": names})).await;
    assert_eq!(members(outcome["imported"].as_array().expect("an array"), "slug"), ["knows"]);
    assert_eq!(
        outcome["skipped"],
        json!([
            {"name": "asks", "reason": "it needs values for input:key: give them as `values`"},
            {"name": "leaks", "reason": "what looks like a secret in its URL would be in the settings in the clear: move it to a header \
                or a variable, or import it with `allow_plain_secrets`"},
            {"name": "broken", "reason": "it has no URL"},
            {"name": "nobody", "reason": "the file has no entry of this name"},
        ])
    );
    assert_eq!(
        secret(&home, CredentialKey::header(&Slug::verbatim("knows"), "X-Api-Key")).await.as_deref(),
        Some(ENVIRONMENT)
    );
    let values = json!({"source": source, "names": ["asks"], "values": {"input:key": ENTERED}});
    session.must("connectors.import", values).await;
    session.ready("asks").await;
    assert_eq!(home.files_with(ENTERED), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn what_is_imported_is_what_was_shown() {
    let home = TempHome::new();
    let file = |fallback: &str| {
        let command = format!("${{NOT_SET:-{fallback}}}");
        json!({"mcpServers": {"a": {"command": command, "args": ["-c", "x"], "disabled": true}}}).to_string()
    };
    write(&home, ".claude.json", &file("first"));
    let (_daemon, session) = start(&home).await;
    let (source_id, shown) = source(&session, "claude_code").await;
    assert_eq!(shown["connectors"][0]["command"], "${NOT_SET:-first}");
    let hash = shown["connectors"][0]["hash"].clone();

    write(&home, ".claude.json", &file("second"));
    let request = |hash: &Value| json!({"source": source_id, "names": ["a"], "hashes": {"a": hash}});
    let outcome = session.must("connectors.import", request(&hash)).await;
    assert_eq!(
        outcome,
        json!({"imported": [],
            "skipped": [{"name": "a", "reason": "it is no longer what was shown: look at it again"}]})
    );
    let (_, shown) = source(&session, "claude_code").await;
    assert_eq!(shown["connectors"][0]["command"], "${NOT_SET:-second}");
    session.must("connectors.import", request(&shown["connectors"][0]["hash"])).await;
    assert_eq!(home.manifest()[0]["stdio"]["command"], "second");
}

#[tokio::test]
async fn a_malformed_file_is_reported_with_its_place_and_the_others_are_shown() {
    let home = TempHome::new();
    write(&home, ".cursor/mcp.json", "{\n  \"mcpServers\": {\n    \"a\" \"correct-horse-battery-staple\"\n");
    write(
        &home,
        ".codeium/windsurf/mcp_config.json",
        r#"{"mcpServers": {"a": {"serverUrl": "https://a.test"}}}"#,
    );
    let (_daemon, session) = start(&home).await;
    let (broken, shown) = source(&session, "cursor").await;
    assert_eq!([&shown["line"], &shown["column"], &shown["connectors"]], [&json!(3), &json!(9), &json!([])]);
    let error = session.must_fail("connectors.import", json!({"source": broken})).await;
    assert_eq!((error.code, error.message.contains("line 3, column 9")), (-32602, true), "{error:?}");
    let (_, shown) = source(&session, "windsurf").await;
    assert_eq!(shown["connectors"][0]["url"], "https://a.test");
}

#[tokio::test]
async fn neither_the_log_nor_an_event_holds_what_an_import_has_read() {
    const PLAIN: &str = "hunter2hunter2hunter2";
    let server = Script::modern().with_tools([Tool::echo()]).requiring_header("x-api-key", HEADER).start();
    let home = TempHome::new();
    let local = json!({"command": env!("CARGO_BIN_EXE_mcp-stdio-server"),
        "args": [StdioScript::modern(&["echo"]).argument()],
        "env": {"GITHUB_TOKEN": VARIABLE, "NEUTRAL": "${env:IMPORTED_KEY}"}});
    let servers = json!({
        "local": local,
        "remote": {"url": server.url(), "headers": {"X-Api-Key": HEADER}},
        // The server knows nobody by this key.
        "stranger": {"url": format!("{}?stranger", server.url()), "headers": {"X-Api-Key": "${input:key}"}},
        "unreachable": {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Api-Key": "${env:IMPORTED_KEY}"}},
        "refused": {"url": format!("https://a.test/mcp?token={PLAIN}"), "headers": {"A": HEADER}},
        "wrong": {"url": "https://a.test/mcp", "headers": {"A": format!("{HEADER}\u{e9}")}},
        "last": {"url": "http://127.0.0.1:9/last", "disabled": true}
    });
    write(&home, ".cursor/mcp.json", &json!({"mcpServers": servers}).to_string());
    // One that breaks off within a secret.
    write(&home, ".codex/config.toml", &format!("[mcp_servers.a]\nbearer_token = \"{PLAIN}\nurl = 1\n"));
    let daemon = daemon()
        .with_vault()
        .with_variable("IMPORTED_KEY", ENVIRONMENT)
        .with_variable("RUST_LOG", "trace")
        .start(&home)
        .await;
    let session = Session::open(&daemon).await;
    let watcher = daemon.client().await;
    let mut events = watcher.subscribe().await;
    let (source, shown) = source(&session, "cursor").await;
    let values = json!({"source": source, "values": {"input:key": ENTERED}});
    let outcome = session.must("connectors.import", values).await;
    assert_eq!(
        members(outcome["imported"].as_array().expect("an array"), "slug"),
        ["local", "remote", "stranger", "unreachable", "last"]
    );
    assert_eq!(members(outcome["skipped"].as_array().expect("an array"), "name"), ["refused", "wrong"]);
    session.ready("local").await;
    session.ready("remote").await;
    for slug in ["stranger", "unreachable"] {
        session.until(slug, "refused", |status| status["last_error"].is_string()).await;
    }
    session.must("connectors.remove", json!({"slug": "last"})).await;
    let mut told = vec![shown, outcome, json!(session.list().await)];
    while !told.last().is_some_and(|event| event["removed"] == true) {
        told.push(events.next().await);
    }
    drop(session);
    let log = daemon.stop().await;
    assert!(log.contains("TRACE"), "nothing was logged at trace level");
    for secret in [HEADER, VARIABLE, ENTERED, ENVIRONMENT, PLAIN] {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "the log holds a secret");
        let holds = |value: &&Value| value.to_string().contains(secret);
        assert_eq!(told.iter().find(holds), None, "what was told holds a secret");
    }
}
