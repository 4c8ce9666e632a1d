//! What real files do besides, and what no file may do.

use proptest::prelude::*;

use super::*;
use crate::import::expand::Place;

#[test]
fn a_byte_order_mark_comments_and_trailing_commas_are_accepted() {
    let text =
        "\u{feff}// first\n{ /* all */ \"mcpServers\": { \"a\": { \"url\": \"https://a.test\", }, }, }\n";
    assert_eq!(only(Client::Cursor, text), "a: https://a.test");
}

#[test]
fn a_malformed_file_is_reported_with_line_and_column_and_nothing_of_its_content() {
    for (client, text, position) in [
        (Client::McpJson, "{\n  \"mcpServers\": {\n    \"a\": hunter2\n", (3, 10)),
        (Client::ClaudeCode, "{\"mcpServers\": {}", (1, 18)),
        (Client::VsCode, "{\n\"servers\": 'hunter2'}", (2, 12)),
        (Client::Codex, "[mcp_servers.a]\ncommand = hunter2\n", (2, 11)),
        (Client::Goose, "extensions:\n  a: [hunter2\n", (2, 6)),
    ] {
        let files = files(client, text);
        let problem = files[0].problem.clone().unwrap();
        assert_eq!(problem.position, Some(position), "{client:?} {problem:?}");
        assert!(!problem.problem.contains("hunter2"), "{problem:?}");
        assert!(files[0].connectors.is_empty());
    }
}

#[test]
fn a_file_of_the_wrong_shape_says_so() {
    for (client, text, problem) in [
        (Client::Cursor, "[]", "the file has to hold an object"),
        (Client::Cursor, r#"{"mcpServers": []}"#, "`mcpServers` has to be an object"),
        (Client::Codex, "mcp_servers = 1", "`mcp_servers` has to be an object"),
        (Client::Goose, "extensions: [a]", "`extensions` has to be an object"),
        (Client::Windsurf, "{\"a\": \"\u{0}\"}", ""),
    ] {
        let files = files(client, text);
        let found = files.first().and_then(|file| file.problem.clone());
        assert_eq!(found.map(|found| found.problem).unwrap_or_default(), problem, "{text}");
    }
    let latin1 = read(Client::Cursor, Path::new("/u/f"), b"{\n\"\xe9\": 1}", &machine());
    let expected = FileProblem { problem: "this is not UTF-8".to_owned(), position: Some((2, 2)) };
    assert_eq!(latin1[0].problem, Some(expected));
}

#[test]
fn what_defines_no_server_is_not_shown() {
    for (client, text) in [
        (Client::Cursor, ""),
        (Client::Cursor, " \n"),
        (Client::Cursor, "{}"),
        (Client::Cursor, r#"{"mcpServers": {}}"#),
        (Client::ClaudeCode, r#"{"projects": {"/p": {}}}"#),
        (Client::Codex, "model = \"m\""),
        (Client::Goose, "GOOSE_MODEL: m"),
        (Client::Goose, ""),
    ] {
        assert_eq!(files(client, text).len(), 0, "{client:?} {text:?}");
    }
}

#[test]
fn one_malformed_entry_spoils_no_other() {
    let text = r#"{"mcpServers": {
        "a": 7, "b": {}, "c": {"command": 1}, "d": {"command": "x", "args": "y"}, "e": {"command": "x", "env": {"A": []}},
        "f": {"command": "x", "url": "https://a.test"}, "g": {"type": "http", "command": "x"}, "h": {"command": " "},
        "i": {"type": "carrier pigeon", "url": "https://a.test"}, "j": {"url": "https://a.test", "disabled": "yes"},
        "k": {"url": "https://a.test"}
    }}"#;
    assert_eq!(
        only(Client::Cursor, text).lines().collect::<Vec<_>>(),
        [
            "a: | problem: it has to be an object",
            "b: | problem: it has neither a command nor a URL",
            "c: | problem: `command` has to be a string",
            "d: | problem: `args` has to be a list of strings",
            "e: | problem: `env.A` has to be a string",
            "f: | problem: it has both a command and a URL",
            "g: | problem: it has no URL",
            "h: | problem: it has no command",
            "i: | problem: its `type` is not one that connectors speak: stdio, http or sse",
            "j: | problem: `disabled` has to be true or false",
            "k: https://a.test",
        ]
    );
}

#[test]
fn every_name_for_http_is_known_and_the_older_transport_is_one_of_them() {
    for kind in ["http", "sse", "streamable-http", "streamableHttp", "streamable_http", "HTTP"] {
        let text = format!(r#"{{"mcpServers": {{"a": {{"type": "{kind}", "url": "https://a.test"}}}}}}"#);
        assert_eq!(only(Client::Cursor, &text), "a: https://a.test", "{kind}");
    }
}

#[test]
fn places_are_filled_in_as_the_client_does() {
    let machine = machine();
    let inputs = BTreeMap::new();
    for (syntax, place, written, expected) in [
        (Syntax::Braces, Place::Program, "a${API_KEY}b", "a«API_KEY=from-the-environment»b"),
        (Syntax::Braces, Place::Program, "${NO:-}", "‹NO:-›"),
        (Syntax::Braces, Place::Program, "${NO:-a:-b}", "‹NO:-a:-b›"),
        (Syntax::Braces, Place::Program, "${API_KEY:-x}", "«API_KEY=from-the-environment»"),
        (Syntax::Braces, Place::Program, "$API_KEY $${", "$API_KEY $${"),
        (Syntax::Braces, Place::Program, "${not a name} ${} ${1}", "${not a name} ${} ${1}"),
        (Syntax::Braces, Place::Program, "é$", "é$"),
        (Syntax::Plain, Place::Program, "${API_KEY}", "${API_KEY}"),
        (Syntax::Plain, Place::Request, "${API_KEY}", "«API_KEY=from-the-environment»"),
        (
            Syntax::Editor,
            Place::Program,
            "${API_KEY} ${env:API_KEY}",
            "${API_KEY} «API_KEY=from-the-environment»",
        ),
        (Syntax::Editor, Place::Request, "${API_KEY}", "«API_KEY=from-the-environment»"),
        (Syntax::Editor, Place::Program, "${env:ProgramFiles(x86)}", "‹ProgramFiles(x86)›"),
        (Syntax::Editor, Place::Program, "${workspaceFolderBasename}", "«workspaceFolderBasename=p»"),
        (Syntax::Editor, Place::Program, "${config:a.b}", "‹config:a.b›"),
        (Syntax::Editor, Place::Program, "${input:unknown}", "‹input:unknown›"),
        (Syntax::Editor, Place::Program, "${env:a\u{7}}", "${env:a\u{7}}"),
        (Syntax::Dollar, Place::Request, "$API_KEY-${NO}", "«API_KEY=from-the-environment»-‹NO›"),
        (Syntax::Dollar, Place::Request, "${ API_KEY }-x", "«API_KEY=from-the-environment»-x"),
        (Syntax::Braces, Place::Request, "${ API_KEY }", "${ API_KEY }"),
        (Syntax::Dollar, Place::Program, "$API_KEY ${API_KEY}", "$API_KEY ${API_KEY}"),
        (Syntax::Dollar, Place::Request, "$5", "$5"),
    ] {
        let scope =
            Scope { syntax, locations: &machine, folder: Some(Path::new("/p")), inputs: &inputs, own: &[] };
        assert_eq!(text(&scope.expand(written, place)), expected, "{syntax:?} {place:?} {written}");
    }
}

#[test]
fn a_flood_of_places_and_of_entries_is_bounded() {
    let value = "${A}".repeat(100_000);
    let file = files(Client::McpJson, &format!(r#"{{"mcpServers": {{"a": {{"command": "{value}"}}}}}}"#));
    let Some(FoundEndpoint::Stdio { command, .. }) = &file[0].connectors[0].endpoint else { panic!() };
    assert_eq!(command.parts().len(), 101);

    let entries: Vec<String> = (0..MAX_ENTRIES + 1).map(|n| format!(r#""{n}": {{}}"#)).collect();
    let file = files(Client::McpJson, &format!(r#"{{"mcpServers": {{{}}}}}"#, entries.join(",")));
    assert_eq!(file[0].connectors.len(), MAX_ENTRIES);
    assert!(file[0].problem.is_some());
}

#[test]
fn nesting_ends_in_a_problem_and_not_in_a_crash() {
    for (client, text) in [
        (Client::Cursor, "[".repeat(100_000)),
        (Client::Codex, format!("a = {}", "[".repeat(100_000))),
        (Client::Goose, "[".repeat(100_000)),
        (Client::Goose, "- ".repeat(100_000)),
        (Client::Goose, format!("a: &a [x]\n{}", "b: [*a,*a,*a,*a,*a,*a,*a,*a]\n".repeat(2))),
    ] {
        assert_eq!(files(client, &text).len(), 1, "{client:?}");
    }
}

/// Words that files are made of, in any order.
fn almost() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\n",
        " ",
        "//",
        "\"mcpServers\"",
        "\"servers\"",
        "\"mcp\"",
        "\"inputs\"",
        "\"id\"",
        "\"a\"",
        "\"command\"",
        "\"args\"",
        "\"env\"",
        "\"url\"",
        "\"headers\"",
        "\"${A}\"",
        "\"${input:x}\"",
        "\"mcp-remote\"",
        "\"npx\"",
        "null",
        "true",
        "1e999",
        "\"./x\"",
        "[mcp_servers.a]\n",
        "command",
        "=",
        "extensions:\n",
        "  a:\n",
        "    type: sse\n",
        "    uri: $A\n",
        "&a",
        "*a",
        "\"projects\"",
        "\"https://u:p@a.test/?k=v\"",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

/// An entry with anything under the members that are read.
fn odd_entry() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just(r#"["-y","mcp-remote","https://a.test","--header","A:${B}"]"#.to_owned()),
        Just(r#"{"A":"${A}","B":null,"C":[]}"#.to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let members =
        ["type", "command", "args", "env", "url", "serverUrl", "headers", "cwd", "envFile", "disabled"];
    let members = proptest::sample::select(members.to_vec());
    proptest::collection::vec((members, value), 0..8).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!(r#"{{"mcpServers":{{"e":{{{}}}}},"servers":{{"e":{{{0}}}}}}}"#, members.join(","))
    })
}

proptest! {
    #[test]
    fn no_content_is_too_strange(content in prop_oneof![any::<String>(), almost(), odd_entry()]) {
        for client in Client::ALL {
            for file in files(client, &content) {
                read_of(&file);
                prop_assert!(file.problem.is_some() || !file.connectors.is_empty());
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        for client in Client::ALL {
            read(client, Path::new("/u/file"), &content, &machine());
        }
    }

    #[test]
    fn what_is_not_a_place_stays_as_it_is_written(value in "[^$]*(\\$[^${]|[^$]){0,5}") {
        let (machine, inputs) = (machine(), BTreeMap::new());
        for syntax in [Syntax::Plain, Syntax::Braces, Syntax::Editor] {
            let scope = Scope { syntax, locations: &machine, folder: None, inputs: &inputs, own: &[] };
            prop_assert_eq!(text(&scope.expand(&value, Place::Request)), value.clone());
        }
    }
}
