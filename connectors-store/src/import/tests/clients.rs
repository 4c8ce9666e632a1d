//! A real-looking file of each client.

use super::*;

fn golden(client: Client, content: &[u8], expected: &[&str]) {
    let files = read(client, Path::new("/u/file"), content, &machine());
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].problem, None);
    assert_eq!(
        (files[0].source.as_str(), files[0].path.as_str()),
        (&*format!("{}:/u/file", client.name()), "/u/file")
    );
    assert_eq!(read_of(&files[0]), expected);
}

#[test]
fn a_project_file_is_read_with_its_variables_and_relative_paths() {
    let files = files(Client::McpJson, include_str!("files/mcp.json"));
    assert_eq!(files[0].project.as_deref(), Some("/srv/x/shop"));
    assert_eq!(
        read_of(&files[0]),
        [
            "files: npx -y @modelcontextprotocol/server-filesystem ./docs ‹EXTRA_FOLDER:-.› (in /srv/x/shop) | LOG_LEVEL=info \
             | DB_PASSWORD=‹DB_PASSWORD›",
            "api: ‹API_BASE_URL:-https://api.example.com›/mcp | Authorization=Bearer «API_KEY=from-the-environment» | X-Team=blue",
            "old: /srv/x/shop/bin/server (in /srv/x/shop)",
        ]
    );
}

#[test]
fn claude_desktop_fills_nothing_in_and_reaches_remote_servers_through_a_program() {
    golden(
        Client::ClaudeDesktop,
        include_bytes!("files/claude_desktop_config.json"),
        &[
            "memory: npx -y @modelcontextprotocol/server-memory | MEMORY_FILE_PATH=/srv/x/memory.json",
            "github: docker run -i --rm -e GITHUB_PERSONAL_ACCESS_TOKEN ghcr.io/github/github-mcp-server \
             | GITHUB_PERSONAL_ACCESS_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "linear: https://mcp.linear.app/sse | Authorization=Bearer lin_api_0123456789abcdef | note: it runs `mcp-remote` to \
             reach a remote server; it becomes a direct connection, with a sign-in of its own",
            "shell: sh -c exec server --home ${HOME}",
        ],
    );
}

#[test]
fn claude_code_has_servers_of_the_user_and_of_each_project() {
    let files = read(
        Client::ClaudeCode,
        Path::new("/u/.claude.json"),
        include_bytes!("files/claude.json"),
        &machine(),
    );
    let shown: Vec<_> =
        files.iter().map(|file| (file.source.as_str(), file.project.as_deref(), read_of(file))).collect();
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            (
                "claude_code:/u/.claude.json",
                None,
                lines(&["sentry (off): https://mcp.sentry.dev/mcp", "local: node /srv/x/server.js"])
            ),
            (
                "claude_code:/u/.claude.json#/srv/x/shop",
                Some("/srv/x/shop"),
                lines(&[
                    "postgres: npx -y @bytebase/dbhub --dsn ‹DSN› (in /srv/x/shop) | PGPASSWORD=hunter2",
                    "browser (off): npx @playwright/mcp@latest (in /srv/x/shop)"
                ])
            ),
        ]
    );
}

#[test]
fn visual_studio_code_asks_for_inputs() {
    let files = files(Client::VsCode, include_str!("files/vscode_mcp.json"));
    assert_eq!(
        read_of(&files[0]),
        [
            "github: https://api.githubcopilot.com/mcp/ | Authorization=Bearer ‹input:github-token›",
            "docs: «workspaceFolder=/srv/x/shop»/tools/docs --region ‹input:region:-eu› --cache «userHome=/u»«/=/»cache \
             (in /srv/x/shop) | TOKEN=‹DOCS_TOKEN› | PORT=8080",
            "dotenv: node server.js (in /srv/x/shop) | problem: some of its variables are in a file of their own (`envFile`): put \
             them into `env`, or add it by hand",
            "pipe: | problem: its `type` is not one that connectors speak: stdio, http or sse",
            "picked: ‹command:pickServer› (in /srv/x)",
        ]
    );
    let Some(FoundEndpoint::Http { headers, .. }) = &files[0].connectors[0].endpoint else { panic!() };
    let Part::Wanted(token) = &headers[0].1.parts()[1] else { panic!() };
    assert_eq!((token.secret, token.description.as_deref()), (true, Some("GitHub token")));
    let Some(FoundEndpoint::Stdio { args, .. }) = &files[0].connectors[1].endpoint else { panic!() };
    let Part::Wanted(region) = &args[1].parts()[0] else { panic!() };
    assert_eq!(region.description.as_deref(), Some("Region (one of: eu, us)"));
}

#[test]
fn the_settings_of_visual_studio_code_may_hold_servers() {
    let settings = include_str!("files/vscode_settings.json");
    golden(Client::VsCodeSettings, settings.as_bytes(), &["time: uvx mcp-server-time"]);
    assert_eq!(
        only(Client::VsCodeSettings, r#"{"mcp.servers": {"a": {"url": "https://a.test"}}}"#),
        "a: https://a.test"
    );
    let dotted = r#"{"mcp": {"discovery": true}, "mcp.servers": {"a": {"url": "${input:u}"}},
        "mcp.inputs": [{"id": "u", "default": "https://a.test", "options": ["https://a.test"]}]}"#;
    assert_eq!(only(Client::VsCodeSettings, dotted), "a: ‹input:u:-https://a.test›");
    assert!(
        files(Client::VsCodeSettings, r#"{"editor.fontSize": 14, "mcp": {"discovery": true}}"#).is_empty()
    );
    assert!(files(Client::VsCodeSettings, "{ no settings of ours").is_empty());
    assert_eq!(files(Client::VsCodeSettings, r#"{"mcp": {"#).len(), 1);
}

#[test]
fn cursor_refers_to_the_environment_and_the_project() {
    golden(
        Client::Cursor,
        include_bytes!("files/cursor_mcp.json"),
        &[
            "notion: https://mcp.notion.com/mcp",
            "figma: https://mcp.figma.com/mcp | X-Figma-Token=«FIGMA_TOKEN=figd_environment» | note: its settings for signing in \
             are not taken over: sign in to the connector",
            "search: npx -y tavily-mcp --root ‹workspaceFolder› | TAVILY_API_KEY=tvly-secret",
        ],
    );
}

#[test]
fn windsurf_switches_servers_and_tools_off() {
    golden(
        Client::Windsurf,
        include_bytes!("files/windsurf_mcp_config.json"),
        &[
            "remote (off): https://mcp.example.com/mcp | Authorization=Bearer ‹AUTH_TOKEN› | X-Key=‹file:/srv/x/key›",
            "github: npx -y @modelcontextprotocol/server-github \
             | GITHUB_PERSONAL_ACCESS_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345 | note: its choice of tools is not taken \
             over: enable tools once you have seen them",
        ],
    );
}

#[test]
fn codex_names_variables_for_headers_and_hands_others_on() {
    golden(
        Client::Codex,
        include_bytes!("files/codex_config.toml"),
        &[
            "context7: npx -y @upstash/context7-mcp | MY_ENV_VAR=MY_ENV_VALUE | CONTEXT7_KEY=‹CONTEXT7_KEY?› \
             | LOCAL_ONLY=‹LOCAL_ONLY?›",
            "figma: https://mcp.figma.com/mcp | X-Figma-Region=us-east-1 | X-Trace=‹TRACE_KEY?› \
             | Authorization=Bearer ‹FIGMA_OAUTH_TOKEN› | note: its choice of tools is not taken over: enable tools once you have \
             seen them",
            "off (off): uv run ./server.py (in /srv/x/off)",
            "wrong: | problem: `command` has to be a string",
        ],
    );
}

#[test]
fn goose_has_parts_of_its_own_that_nobody_else_can_use() {
    let built_in = "problem: it is part of goose itself, not a server that others can use";
    golden(
        Client::Goose,
        include_bytes!("files/goose_config.yaml"),
        &[
            &format!("developer: | {built_in}"),
            &format!("todo: | {built_in}"),
            "github: npx -y @modelcontextprotocol/server-github | LOG_LEVEL=debug \
             | GITHUB_PERSONAL_ACCESS_TOKEN=‹GITHUB_PERSONAL_ACCESS_TOKEN›",
            "remote (off): https://mcp.example.com/mcp | Authorization=Bearer from-the-file | X-Other=‹OTHER›",
            "legacy: http://localhost:8080/sse",
        ],
    );
}

#[test]
fn a_server_is_started_in_the_folder_that_its_client_starts_it_in() {
    let entry = |members: &str| format!(r#"{{"mcpServers": {{"a": {{{members}}}}}}}"#);
    for (members, expected) in [
        (r#""command": "node", "args": ["build/index.js"]"#, "a: node build/index.js (in /srv/x/shop)"),
        (r#""command": ".venv/bin/python""#, "a: /srv/x/shop/.venv/bin/python (in /srv/x/shop)"),
        (r#""command": "../bin/x""#, "a: /srv/x/shop/../bin/x (in /srv/x/shop)"),
        (r#""command": "/bin/x", "cwd": "/srv/y""#, "a: /bin/x (in /srv/y)"),
        (r#""command": "bin/x", "cwd": "./inner""#, "a: /srv/x/shop/inner/bin/x (in /srv/x/shop/inner)"),
        (r#""command": "x", "cwd": "${HOME}/y""#, "a: x (in «HOME=/u»/y)"),
        (r#""command": "${BIN}/x", "cwd": "${DIR}""#, "a: ‹BIN›/x (in ‹DIR›)"),
        (r#""command": "x", "cwd": " ""#, "a: x (in /srv/x/shop)"),
    ] {
        assert_eq!(only(Client::McpJson, &entry(members)), expected);
    }
    let of_user = |members: &str| {
        let files = read(Client::Cursor, Path::new("/u/file"), entry(members).as_bytes(), &machine());
        read_of(&files[0]).join("\n")
    };
    assert_eq!(of_user(r#""command": "bin/x""#), "a: bin/x");
    assert_eq!(of_user(r#""command": "bin/x", "cwd": "/srv/y""#), "a: /srv/y/bin/x (in /srv/y)");
    assert_eq!(
        of_user(r#""command": "x", "cwd": "y""#),
        "a: x | note: the folder that its client starts it in (`cwd`) is not an absolute path: it starts in the daemon's folder"
    );
}

#[test]
fn headers_that_the_connection_sets_itself_are_left_out_and_that_is_said() {
    let headers = r#"{"content-type": "application/json", "Accept": "${A}", "MCP-Protocol-Version": "1", "X-Key": "k"}"#;
    let note = "note: headers that the connection sets itself are left out: content-type, Accept, MCP-Protocol-Version";
    let remote = format!(r#"{{"mcpServers": {{"a": {{"url": "https://a.test", "headers": {headers}}}}}}}"#);
    assert_eq!(only(Client::Cursor, &remote), format!("a: https://a.test | X-Key=k | {note}"));
    let bridged = r#"{"mcpServers": {"a": {"command": "npx", "args": ["mcp-remote", "https://a.test", "--header", "Accept: x"]}}}"#;
    let bridged = only(Client::ClaudeDesktop, bridged);
    assert!(
        bridged.ends_with("| note: headers that the connection sets itself are left out: Accept"),
        "{bridged}"
    );
}
