//! What becomes of files on a disk that does not answer, and of the others; and how one of them is had alone.

use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use super::folders::{Machine, ONE};
use super::*;

/// Long enough for what does not hang.
const PATIENCE: Duration = Duration::from_secs(5);

fn impatient(locations: Locations, patience: Duration) -> ClientFiles {
    ClientFiles { locations, jobs: Jobs::with_patience(patience) }
}

/// Their clients, how many servers they define, and what is wrong with them.
fn outcomes(files: &[FoundFile]) -> Vec<(&str, usize, Option<&str>)> {
    fn outcome(file: &FoundFile) -> (&str, usize, Option<&str>) {
        let problem = file.problem.as_ref().map(|problem| problem.problem.as_str());
        (file.client, file.connectors.len(), problem)
    }
    files.iter().map(outcome).collect()
}

/// A look at `place` that hangs until what is returned is dropped.
async fn hang(files: &ClientFiles, place: PathBuf) -> Sender<()> {
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let jobs = files.jobs.clone();
    tokio::spawn(async move {
        let hanging = move || {
            begun.send(()).unwrap();
            _ = held.recv();
        };
        jobs.run(&place, hanging).await
    });
    has_begun.await.unwrap();
    let_go
}

#[tokio::test]
async fn a_file_that_does_not_come_is_reported_and_spoils_nothing_else() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    let stuck = r#"{"mcpServers": {"stuck": {"url": "https://${STUCK}.test"}}}"#;
    machine.write("repository/.mcp.json", stuck);
    // What stands for the disk that does not answer; let go at the end.
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let locations = machine.locations("repository").with_variables(move |name| {
        if name == "STUCK" {
            _ = held.lock().unwrap().recv();
        }
        None
    });
    let files = impatient(locations, PATIENCE).find().await;
    drop(let_go);
    let problems: Vec<_> = files
        .iter()
        .map(|file| (file.client, file.problem.as_ref().map(|problem| problem.problem.as_str())))
        .collect();
    assert_eq!(problems, [("cursor", None), ("mcp_json", Some("it could not be read within 5 s"))]);
}

#[tokio::test]
async fn a_folder_that_does_not_come_is_reported_and_spoils_nothing_else() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    machine.write(
        "own/.config/Code/User/profiles/p/mcp.json",
        r#"{"servers": {"one": {"url": "https://one.test"}}}"#,
    );
    machine.write("repository/.mcp.json", ONE);
    machine.write("repository/inner/.mcp.json", ONE);
    let files = impatient(machine.locations("repository/inner"), PATIENCE);
    let root = machine.0.path();
    let profiles = hang(&files, root.join("own/.config/Code/User/profiles")).await;
    let project = hang(&files, root.join("repository/inner")).await;
    let problem = Some("what is in it, or around it, could not be read within 5 s");
    let found = files.find().await;
    assert_eq!(
        outcomes(&found),
        [("vscode", 0, problem), ("cursor", 1, None), ("mcp_json", 0, problem), ("mcp_json", 1, None)]
    );
    assert_eq!(found[3].path, root.join("repository/inner/.mcp.json").to_string_lossy());
    drop((profiles, project));
    let expected = [("vscode", 1, None), ("cursor", 1, None), ("mcp_json", 1, None), ("mcp_json", 1, None)];
    assert_eq!(outcomes(&files.find().await), expected);
}

#[tokio::test]
async fn a_file_whose_switches_do_not_come_is_shown_with_that_reservation() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    machine.write("repository/.mcp.json", ONE);
    let files = impatient(machine.locations("repository"), PATIENCE);
    let state = hang(&files, machine.0.path().join("own/.claude.json")).await;
    let unread = ("claude_code", 0, Some("it could not be read within 5 s"));
    let reserved =
        ("mcp_json", 1, Some("what Claude Code has switched off of it could not be read within 5 s"));
    assert_eq!(outcomes(&files.find().await), [unread, ("cursor", 1, None), reserved]);
    drop(state);
    assert_eq!(outcomes(&files.find().await), [("cursor", 1, None), ("mcp_json", 1, None)]);
}

#[tokio::test]
async fn one_source_is_read_without_a_look_at_the_others() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    machine.write("own/.codex/config.toml", "[mcp_servers.a]\nurl = 'https://a.test'");
    let files = impatient(machine.locations("repository"), Duration::from_secs(600));
    let root = machine.0.path();
    // Who looked at one of these would be kept waiting.
    let mut hanging = Vec::new();
    for place in
        ["own/.codex/config.toml", "own/.claude.json", "own/.config/Code/User/profiles", "repository"]
    {
        hanging.push(hang(&files, root.join(place)).await);
    }
    let source = format!("cursor:{}", root.join("own/.cursor/mcp.json").display());
    let found = tokio::time::timeout(Duration::from_secs(60), files.find_one(&source)).await.unwrap();
    assert_eq!(found.map(|file| (file.source, file.connectors.len())), Some((source, 1)));
}

#[tokio::test]
async fn every_source_that_is_found_can_be_had_alone() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    machine.write(
        "own/.config/Code/User/profiles/p/mcp.json",
        r#"{"servers": {"one": {"url": "https://one.test"}}}"#,
    );
    machine.write("own/.codex/config.toml", "[mcp_servers");
    machine.write("repository/.mcp.json", ONE);
    machine.write("repository/.claude/settings.json", r#"{"disabledMcpjsonServers": ["one"]}"#);
    let project = r#"{"mcpServers": {"one": {"url": "https://one.test"}}}"#;
    let state = format!(
        r#"{{"mcpServers": {{"own": {{"url": "https://own.test"}}}}, "projects": {{"/p#1": {project}}}}}"#
    );
    machine.write("own/.claude.json", &state);
    let files = ClientFiles::new(machine.locations("repository/inner"));
    let described = |file: &FoundFile| format!("{} {:?} {:?}", file.source, file.problem, read_of(file));
    let found = files.find().await;
    assert_eq!(found.len(), 6, "{found:?}");
    for file in found {
        let alone = files.find_one(&file.source).await;
        assert_eq!(alone.as_ref().map(described), Some(described(&file)));
    }
    let claude = format!("claude_code:{}", machine.0.path().join("own/.claude.json").display());
    for gone in ["cursor:/nowhere", "", &format!("{claude}#/q"), &format!("{claude}x")] {
        assert!(files.find_one(gone).await.is_none(), "{gone}");
    }
    machine.write("own/.claude.json", "{");
    let broken = files.find_one(&format!("{claude}#/p#1")).await;
    assert!(broken.is_some_and(|file| file.problem.is_some()), "what cannot be read has no parts");
}
