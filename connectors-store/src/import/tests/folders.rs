//! Where files lie, and what becomes of those that cannot be read.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::import::locations::Place;

fn paths(locations: &Locations, client: Client) -> Vec<String> {
    let candidates: Vec<_> = locations.places().iter().flat_map(Place::candidates).collect();
    let paths = candidates.iter().filter(|candidate| candidate.client == client);
    paths.map(|candidate| candidate.path.to_string_lossy().replace('\\', "/")).collect()
}

/// The first file of each client of a user.
fn first(locations: &Locations) -> Vec<String> {
    use Client::{ClaudeCode, ClaudeDesktop, Codex, Cursor, Goose, VsCode, Windsurf};
    let clients = [ClaudeDesktop, ClaudeCode, VsCode, Cursor, Windsurf, Codex, Goose];
    clients.map(|client| paths(locations, client)[0].clone()).to_vec()
}

#[test]
fn each_platform_has_its_folders() {
    let user = |platform| Locations::new("/u", "/w").on(platform);
    assert_eq!(
        first(&user(Platform::Linux)),
        [
            "/u/.config/Claude/claude_desktop_config.json",
            "/u/.claude.json",
            "/u/.config/Code/User/mcp.json",
            "/u/.cursor/mcp.json",
            "/u/.codeium/windsurf/mcp_config.json",
            "/u/.codex/config.toml",
            "/u/.config/goose/config.yaml",
        ]
    );
    assert_eq!(
        first(&user(Platform::MacOs)),
        [
            "/u/Library/Application Support/Claude/claude_desktop_config.json",
            "/u/.claude.json",
            "/u/Library/Application Support/Code/User/mcp.json",
            "/u/.cursor/mcp.json",
            "/u/.codeium/windsurf/mcp_config.json",
            "/u/.codex/config.toml",
            "/u/.config/goose/config.yaml",
        ]
    );
    assert_eq!(
        first(&user(Platform::Windows)),
        [
            "/u/AppData/Roaming/Claude/claude_desktop_config.json",
            "/u/.claude.json",
            "/u/AppData/Roaming/Code/User/mcp.json",
            "/u/.cursor/mcp.json",
            "/u/.codeium/windsurf/mcp_config.json",
            "/u/.codex/config.toml",
            "/u/AppData/Roaming/Block/goose/config/config.yaml",
        ]
    );
    assert_eq!(
        paths(&user(Platform::Linux), Client::VsCode)[1..],
        [
            "/u/.config/Code - Insiders/User/mcp.json",
            "/u/.config/VSCodium/User/mcp.json",
            "/u/.config/Code - OSS/User/mcp.json",
            "/u/.var/app/com.visualstudio.code/config/Code/User/mcp.json",
            "/u/.var/app/com.vscodium.codium/config/VSCodium/User/mcp.json",
            "/u/.vscode-server/data/User/mcp.json",
            "/u/.vscode-server-insiders/data/User/mcp.json",
            "/u/.vscodium-server/data/User/mcp.json",
            "/w/.vscode/mcp.json"
        ]
    );
}

#[test]
fn windsurf_has_editions_and_plugins() {
    assert_eq!(
        paths(&Locations::new("/u", "/w").on(Platform::MacOs), Client::Windsurf),
        [
            "/u/.codeium/windsurf/mcp_config.json",
            "/u/.codeium/windsurf-next/mcp_config.json",
            "/u/.codeium/mcp_config.json",
        ]
    );
}

#[test]
#[cfg(unix)]
fn the_environment_moves_folders_and_a_relative_one_is_ignored() {
    let moved = |platform| {
        Locations::new("/u", "/w").on(platform).with_variables(|name| {
            let folder = match name {
                "XDG_CONFIG_HOME" => "/xdg",
                "APPDATA" => "/roaming",
                "CLAUDE_CONFIG_DIR" => "/claude",
                "CODEX_HOME" => "relative",
                _ => return None,
            };
            Some(folder.to_owned())
        })
    };
    let linux = moved(Platform::Linux);
    assert_eq!(paths(&linux, Client::ClaudeDesktop), ["/xdg/Claude/claude_desktop_config.json"]);
    assert_eq!(paths(&linux, Client::ClaudeCode), ["/claude/.claude.json"]);
    assert_eq!(paths(&linux, Client::Codex)[0], "/u/.codex/config.toml");
    assert_eq!(paths(&linux, Client::Goose), ["/xdg/goose/config.yaml"]);
    let windows = moved(Platform::Windows);
    assert_eq!(paths(&windows, Client::Goose), ["/roaming/Block/goose/config/config.yaml"]);
}

/// A home and a repository with a folder in it, on disk.
pub(super) struct Machine(pub(super) TempDir);

impl Machine {
    pub(super) fn new() -> Self {
        let machine = Self(TempDir::new().unwrap());
        for folder in ["own", "repository/.git", "repository/inner"] {
            fs::create_dir_all(machine.0.path().join(folder)).unwrap();
        }
        machine
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn locations(&self, working_dir: &str) -> Locations {
        let root = self.0.path();
        Locations::new(root.join("own"), root.join(working_dir)).on(Platform::Linux)
    }

    /// Paths below the root, with the names of what they define.
    async fn find(&self, working_dir: &str) -> Vec<(String, Vec<String>)> {
        let files = ClientFiles::new(self.locations(working_dir)).find().await;
        let root = self.0.path().to_str().unwrap();
        let names = |file: &FoundFile| {
            let off = |disabled| if disabled { " (off)" } else { "" };
            file.connectors.iter().map(|found| format!("{}{}", found.name, off(found.disabled))).collect()
        };
        files.iter().map(|file| (file.path.replace(root, "").replace('\\', "/"), names(file))).collect()
    }
}

pub(super) const ONE: &str = r#"{"mcpServers": {"one": {"url": "https://one.test"}}}"#;

fn found(path: &str, names: &[&str]) -> (String, Vec<String>) {
    (path.to_owned(), names.iter().map(|&name| name.to_owned()).collect())
}

#[tokio::test]
async fn projects_are_looked_for_up_to_the_root_of_the_repository() {
    let machine = Machine::new();
    machine.write(".mcp.json", ONE);
    machine.write("repository/.mcp.json", ONE);
    machine.write("repository/inner/.cursor/mcp.json", ONE);
    assert_eq!(
        machine.find("repository/inner").await,
        [found("/repository/inner/.cursor/mcp.json", &["one"]), found("/repository/.mcp.json", &["one"])]
    );
    machine.write("outside/.mcp.json", ONE);
    assert_eq!(machine.find("outside").await, [found("/outside/.mcp.json", &["one"])]);
}

#[tokio::test]
async fn claude_code_says_which_servers_of_a_project_are_off() {
    let machine = Machine::new();
    let names =
        ["a", "b", "c", "d", "e"].map(|name| format!(r#""{name}": {{"url": "https://{name}.test"}}"#));
    machine.write("repository/.mcp.json", &format!(r#"{{"mcpServers": {{{}}}}}"#, names.join(",")));
    machine.write("repository/.claude/settings.local.json", r#"{"disabledMcpjsonServers": ["a"]}"#);
    machine.write("own/.claude/settings.json", r#"{"disabledMcpjsonServers": ["b"]}"#);
    let folder = machine.0.path().join("repository");
    let state = serde_json::json!({"projects": {folder.to_str().unwrap(): {"disabledMcpjsonServers": ["c"], "disabledMcpServers": ["e"]}}});
    machine.write("own/.claude.json", &state.to_string());
    assert_eq!(
        machine.find("repository").await,
        [found("/repository/.mcp.json", &["a (off)", "b (off)", "c (off)", "d", "e (off)"])]
    );
}

#[tokio::test]
async fn one_folder_is_spelled_in_several_ways_on_windows() {
    let machine = Machine::new();
    let names = ["a", "b", "c"].map(|name| format!(r#""{name}": {{"url": "https://{name}.test"}}"#));
    let servers = format!(r#""mcpServers": {{{}}}"#, names.join(","));
    machine.write("repository/.mcp.json", &format!("{{{servers}}}"));
    let folder = machine.0.path().join("repository").to_str().unwrap().to_owned();
    let (other, shouted) = (folder.replace('/', "\\"), folder.to_uppercase());
    let projects =
        serde_json::json!({other: {"disabledMcpServers": ["a"]}, shouted: {"disabledMcpjsonServers": ["b"]}});
    machine.write("own/.claude.json", &format!(r#"{{{servers}, "projects": {projects}}}"#));
    let off = async |platform| {
        let files = ClientFiles::new(machine.locations("repository").on(platform)).find().await;
        let names = |file: &FoundFile| {
            let off = file.connectors.iter().filter(|found| found.disabled);
            off.map(|found| found.name.clone()).collect::<Vec<_>>()
        };
        files.iter().map(|file| (file.client, names(file))).collect::<Vec<_>>()
    };
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        off(Platform::Windows).await,
        [("claude_code", names(&["a"])), ("mcp_json", names(&["a", "b"]))]
    );
    assert_eq!(off(Platform::Linux).await, [("claude_code", names(&[])), ("mcp_json", names(&[]))]);
}

#[tokio::test]
async fn a_packaged_claude_desktop_has_its_file_in_a_folder_of_its_own() {
    let machine = Machine::new();
    let local = "own/AppData/Local/Packages";
    let inner = "LocalCache/Roaming/Claude/claude_desktop_config.json";
    for path in [
        "own/AppData/Roaming/Claude/claude_desktop_config.json".to_owned(),
        format!("{local}/Claude_other/{inner}"),
        format!("{local}/Claude_pzs8sxrjxfjjc/{inner}"),
        format!("{local}/Someone_else/{inner}"),
    ] {
        machine.write(&path, ONE);
    }
    let locations = machine.locations("repository").on(Platform::Windows);
    let root = machine.0.path().to_str().unwrap().to_owned();
    let files = ClientFiles::new(locations.clone()).find().await;
    let paths: Vec<_> = files.iter().map(|file| file.path.replace(&root, "")).collect();
    assert_eq!(
        paths,
        [
            "/own/AppData/Roaming/Claude/claude_desktop_config.json".to_owned(),
            format!("/{local}/Claude_other/{inner}"),
            format!("/{local}/Claude_pzs8sxrjxfjjc/{inner}"),
        ]
    );
    for file in files {
        let again = ClientFiles::new(locations.clone()).find_one(&file.source).await;
        assert_eq!(again.map(|again| again.path), Some(file.path));
    }
    let on_linux = ClientFiles::new(machine.locations("repository")).find().await;
    assert_eq!(on_linux.len(), 0);
}

#[tokio::test]
async fn a_home_that_is_the_working_directory_is_read_once() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    assert_eq!(machine.find("own").await, [found("/own/.cursor/mcp.json", &["one"])]);
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_spoils_nothing_else() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    machine.write("own/.codex/config.toml", "[mcp_servers.a]\nurl = ");
    machine.write("own/.codeium/windsurf/mcp_config.json/folder", "");
    fs::File::create(machine.0.path().join("own/.claude.json")).unwrap().set_len(MAX_FILE + 1).unwrap();
    let files = ClientFiles::new(machine.locations("repository")).find().await;
    let problems: Vec<_> = files
        .iter()
        .map(|file| {
            (file.client, file.problem.as_ref().map(|problem| (problem.problem.as_str(), problem.position)))
        })
        .collect();
    assert_eq!(problems[0], ("claude_code", Some(("it is larger than 16 MiB", None))));
    assert_eq!(problems[1], ("cursor", None));
    assert_eq!(problems[2], ("windsurf", Some(("it is not a file", None))));
    assert_eq!((problems[3].0, problems[3].1.unwrap().1), ("codex", Some((2, 7))));
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_followed_and_dangling_ones_are_nothing() {
    let machine = Machine::new();
    machine.write("dotfiles/cursor.json", ONE);
    fs::create_dir_all(machine.0.path().join("own/.cursor")).unwrap();
    fs::create_dir_all(machine.0.path().join("own/.codex")).unwrap();
    let link = |to: &str, from: &str| {
        std::os::unix::fs::symlink(machine.0.path().join(to), machine.0.path().join(from)).unwrap();
    };
    link("dotfiles/cursor.json", "own/.cursor/mcp.json");
    link("nowhere", "own/.codex/config.toml");
    assert_eq!(machine.find("repository").await, [found("/own/.cursor/mcp.json", &["one"])]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_is_reported_and_nobody_is_waited_for() {
    let machine = Machine::new();
    machine.write("own/.cursor/mcp.json", ONE);
    let pipe = machine.0.path().join("repository/.mcp.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let files = ClientFiles::new(machine.locations("repository")).find().await;
    let problems: Vec<_> = files
        .iter()
        .map(|file| (file.client, file.problem.as_ref().map(|problem| problem.problem.as_str())))
        .collect();
    assert_eq!(problems, [("cursor", None), ("mcp_json", Some("it is not a file"))]);
}
