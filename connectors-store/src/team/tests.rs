mod changing;

use std::fs;
use std::time::{Duration, Instant};

use connectors_core::{AcceptedProposal, ConnectorDefinition, Slug, StdioCommand};

use super::*;

const FILE: &str = "/srv/p/.car/connectors.toml";

fn variables(name: &str) -> Option<String> {
    Some(match name {
        "TENANT" => "acme".to_owned(),
        "HIDDEN" => "a\u{202e}b".to_owned(),
        "GITHUB_TOKEN" => "ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned(),
        _ => return None,
    })
}

fn read(text: &str) -> Proposals {
    parse(text, &Origin { file: FILE, project: Path::new("/srv/p"), variables: &variables })
}

/// Mistakes as `line:column problem`.
fn mistakes(text: &str) -> Vec<String> {
    let proposals = read(text);
    let show = |mistake: Mistake| {
        assert_eq!(mistake.file, FILE);
        format!("{}:{} {}", mistake.line.unwrap(), mistake.column.unwrap(), mistake.problem)
    };
    proposals.mistakes.into_iter().map(show).collect()
}

fn proposed(proposals: &Proposals) -> Vec<ConnectorDefinition> {
    let definition = |proposal: &Proposal| {
        assert_eq!((proposal.file.as_str(), &proposal.hash), (FILE, &hash::of(&proposal.definition)));
        let accepted = AcceptedProposal { file: FILE.to_owned(), hash: proposal.hash.clone() };
        let mut definition = proposal.definition.clone();
        assert_eq!(definition.proposal.take(), Some(accepted));
        definition
    };
    proposals.entries.iter().map(definition).collect()
}

fn stdio(command: &str, args: &[&str]) -> StdioCommand {
    StdioCommand {
        command: command.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        cwd: Some("/srv/p".to_owned()),
        ..StdioCommand::default()
    }
}

#[test]
fn a_file_of_car_connectors_is_read_as_it_was() {
    let proposals = read(
        r#"
        [[connector]]
        name = "Acme Docs"
        url = "https://mcp.acme.test/docs"

        [[connector]]
        name = "Local FS"
        command = "npx"
        args = ["-y", "@mcp/server-filesystem", "/srv"]
        "#,
    );
    assert_eq!(proposals.mistakes, []);
    assert_eq!(proposals.entries.iter().map(|proposal| proposal.line).collect::<Vec<_>>(), [2, 6]);
    assert_eq!(
        proposed(&proposals),
        [
            ConnectorDefinition::http(Slug::verbatim("acme_docs"), "Acme Docs", "https://mcp.acme.test/docs"),
            ConnectorDefinition::stdio(
                Slug::verbatim("local_fs"),
                "Local FS",
                stdio("npx", &["-y", "@mcp/server-filesystem", "/srv"])
            ),
        ]
    );
}

#[test]
fn variables_names_of_secrets_and_the_projects_folder_are_put_in_place() {
    let proposals = read(
        r#"
        [[connector]]
        name = "Remote"
        url = "https://${TENANT}.test/${PATH_OF_MCP:-mcp}?tenant=${TENANT}"
        secret_headers = ["X-Api-Key", "Authorization", "x-api-key"]

        [[connector]]
        name = "Local"
        command = "./bin/../bin/server"
        args = ["--tenant", "${TENANT}", "$${TENANT}"]
        secret_env = ["API_TOKEN"]
        [connector.env]
        MODE = "${MODE:-fast}"
        "#,
    );
    assert_eq!(proposals.mistakes, []);
    let mut remote =
        ConnectorDefinition::http(Slug::verbatim("remote"), "Remote", "https://acme.test/mcp?tenant=acme");
    remote.secret_headers = vec!["X-Api-Key".to_owned(), "Authorization".to_owned()];
    let local = StdioCommand {
        env: [("MODE".to_owned(), "fast".to_owned())].into(),
        secret_env: vec!["API_TOKEN".to_owned()],
        ..stdio("/srv/p/bin/../bin/server", &["--tenant", "acme", "${TENANT}"])
    };
    assert_eq!(
        proposed(&proposals),
        [remote, ConnectorDefinition::stdio(Slug::verbatim("local"), "Local", local)]
    );
}

#[test]
fn another_value_of_a_variable_is_another_proposal() {
    let text = "[[connector]]\nname = 'X'\nurl = 'https://h/${V}'";
    let hash = |value: &str| {
        let variables = |_: &str| Some(value.to_owned());
        let origin = Origin { file: FILE, project: Path::new("/srv/p"), variables: &variables };
        parse(text, &origin).entries.remove(0).hash
    };
    assert_eq!(hash("a"), hash("a"));
    assert_ne!(hash("a"), hash("b"));
}

#[test]
fn mistakes_of_the_whole_file_are_located() {
    for (text, expected) in [
        ("# nothing", vec![]),
        ("connector = 1", vec!["1:1 `connector` has to be a list: write `[[connector]]`"]),
        ("[connector]\nname = 'x'", vec!["1:2 `connector` has to be a list: write `[[connector]]`"]),
        ("connector = [1]", vec!["1:14 an entry has to be a table: write `[[connector]]`"]),
        (
            "version = 2\n[extra]\n",
            vec![
                "1:1 `version` is not known in the file, and is ignored",
                "2:2 `extra` is not known in the file, and is ignored",
            ],
        ),
    ] {
        assert_eq!(mistakes(text), expected, "{text}");
    }
}

#[test]
fn a_syntax_error_leaves_nothing_proposed() {
    let text = "[[connector]]\nname = 'A'\nurl = 'https://a'\n[[connector]]\nname = = 'B'\n";
    let proposals = read(text);
    assert_eq!(proposals.entries, []);
    let found = mistakes(text);
    assert!(!found.is_empty() && found.iter().all(|mistake| mistake.starts_with("5:")), "{found:?}");
    assert!(found[0].ends_with("; nothing of this file is proposed"), "{found:?}");
}

/// An entry `X` of these lines, the second of the file and those after it.
fn entry(lines: &str) -> String {
    format!("[[connector]]\n{lines}\n[[connector]]\nname = 'Good'\nurl = 'https://good.test/mcp'\n")
}

#[test]
fn a_mistake_costs_its_own_entry_alone() {
    let headers =
        "; name the header in `secret_headers`, and everyone is asked for their own value after accepting";
    let variables =
        "; name a variable in `secret_env`, and everyone is asked for their own value after accepting";
    let secret = ", which does not belong in this file";
    let cases = [
        ("url = 'https://h'", "1:1 this entry has no `name`, and is not proposed".to_owned()),
        ("name = 5\nurl = 'https://h'", "2:8 `name` has to be one line of visible text, of at most 200 bytes; this entry is not proposed".to_owned()),
        ("name = 'a\u{202e}b'\nurl = 'https://h'", "2:8 `name` has to be one line of visible text, of at most 200 bytes; this entry is not proposed".to_owned()),
        ("name = 'X'", "2:8 `X` is not proposed: it has neither a `url` nor a `command`".to_owned()),
        ("name = 'X'\nurl = 'https://h'\ncommand = 'c'", "4:11 `X` is not proposed: it has a `url` and a `command`; only one of them can be meant".to_owned()),
        ("name = 'X'\nurl = 5", "3:7 `X` is not proposed: `url` has to be a string".to_owned()),
        ("name = 'X'\nurl = ''", "3:7 `X` is not proposed: `url` is empty".to_owned()),
        ("name = 'X'\nurl = 'https://h/\\u0000 b'", "3:7 `X` is not proposed: `url` holds white space".to_owned()),
        ("name = 'X'\nurl = '${NONE}'", "3:7 `X` is not proposed: `url`: the variable NONE is not set; set it, or write a default as ${NONE:-...}".to_owned()),
        ("name = 'X'\nurl = 'https://${HIDDEN}'", "3:7 `X` is not proposed: `url` holds characters that cannot be seen".to_owned()),
        ("name = 'X'\nurl = 'https://u:p@h/'", format!("3:7 `X` is not proposed: `url`: the user name or password in it looks like a secret{secret}{headers}")),
        ("name = 'X'\nurl = 'https://h/?token=hunter22hunter'", format!("3:7 `X` is not proposed: `url`: a parameter in it looks like a secret{secret}{headers}")),
        ("name = 'X'\nurl = 'https://h/?q=${GITHUB_TOKEN}'", format!("3:7 `X` is not proposed: `url`: the variable GITHUB_TOKEN holds what looks like a secret{secret}{headers}")),
        ("name = 'X'\nurl = 'https://h/'\nheaders = { X = 'y' }", format!("4:1 `X` is not proposed: values of headers do not belong in this file{headers}")),
        ("name = 'X'\nurl = 'https://h/'\nsecret_headers = 'X'", "4:18 `X` is not proposed: `secret_headers` has to be a list of strings".to_owned()),
        ("name = 'X'\nurl = 'https://h/'\nsecret_headers = ['X: y']", "4:19 `X` is not proposed: `secret_headers` has to hold names only".to_owned()),
        ("name = 'X'\ncommand = 'c'\nargs = ['a', 5]", "4:8 `X` is not proposed: `args` has to be a list of strings".to_owned()),
        ("name = 'X'\ncommand = 'c'\nargs = ['--api-key', 'hunter22hunter']", format!("4:22 `X` is not proposed: this argument looks like a secret{secret}{variables}")),
        ("name = 'X'\ncommand = 'c'\nargs = ['${GITHUB_TOKEN:-none}']", format!("4:9 `X` is not proposed: `args`: the variable GITHUB_TOKEN holds what looks like a secret{secret}{variables}")),
        ("name = 'X'\ncommand = 'c'\nenv = ['A=b']", "4:7 `X` is not proposed: `env` has to be a table of strings".to_owned()),
        ("name = 'X'\ncommand = 'c'\nenv = { A = 1 }", "4:13 `X` is not proposed: `env.A` has to be a string".to_owned()),
        ("name = 'X'\ncommand = 'c'\nenv = { API_TOKEN = 'hunter22hunter' }", format!("4:21 `X` is not proposed: the value of `API_TOKEN` looks like a secret{secret}{variables}")),
        ("name = 'X'\ncommand = 'c'\nsecret_env = ['A=b']", "4:15 `X` is not proposed: `secret_env` has to hold names only".to_owned()),
    ];
    for (lines, expected) in cases {
        let text = entry(lines);
        assert_eq!(mistakes(&text), [expected], "{lines}");
        let good = ConnectorDefinition::http(Slug::verbatim("good"), "Good", "https://good.test/mcp");
        assert_eq!(proposed(&read(&text)), [good], "{lines}");
    }
}

#[test]
fn what_is_merely_superfluous_is_reported_and_costs_nothing() {
    let text = "[[connector]]\nname = 'A'\nurl = 'https://a'\nargs = []\ntimeout = 5\n\
        auth = 'ghp_0123456789abcdefghijABCDEFGHIJ012345'\n\
        [[connector]]\nname = 'B'\ncommand = 'b'\nsecret_headers = ['X']\nheaders = {}\n\
        [[connector]]\nname = ' a '\nurl = 'https://other'\n";
    assert_eq!(
        mistakes(text),
        [
            "4:1 `args` goes with `command`, not with `url`, and is ignored",
            "5:1 `timeout` is not known in an entry, and is ignored",
            "6:1 `auth` is not known in an entry, and is ignored; it looks like a secret, which does not belong in this file",
            "10:1 `secret_headers` goes with `url`, not with `command`, and is ignored",
            "13:8 `a` is not proposed: another entry before it goes by `a` as well, and counts",
        ]
    );
    let proposals = read(text);
    assert_eq!(
        proposed(&proposals),
        [
            ConnectorDefinition::http(Slug::verbatim("a"), "A", "https://a"),
            ConnectorDefinition::stdio(Slug::verbatim("b"), "B", stdio("b", &[])),
        ]
    );
}

#[test]
fn entries_and_mistakes_are_bounded() {
    let many: String =
        (0..300).map(|n| format!("[[connector]]\nname = 'x{n}'\nurl = 'https://h'\n")).collect();
    let proposals = read(&many);
    assert_eq!((proposals.entries.len(), proposals.mistakes.len()), (200, 1));
    let wrong: String = (0..300).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(
        mistakes(&wrong).last().map(String::as_str),
        Some("51:1 there are more mistakes from here on")
    );
}

#[test]
fn an_entry_with_more_than_anybody_looks_through_is_not_proposed() {
    let list = |n: usize| (0..n).map(|n| format!("'n{n}', ")).collect::<String>();
    let env = |n: usize| (0..n).map(|n| format!("n{n} = '', ")).collect::<String>();
    let local = |what: &str| format!("[[connector]]\nname = 'X'\ncommand = 'x'\n{what}\n");
    let remote = |what: &str| format!("[[connector]]\nname = 'X'\nurl = 'https://h'\n{what}\n");
    let cases: [(&dyn Fn(usize) -> String, &str); 4] = [
        (
            &|n| local(&format!("args = [{}]", list(n))),
            "4:8 `X` is not proposed: `args` has more than 200 items",
        ),
        (
            &|n| local(&format!("secret_env = [{}]", list(n))),
            "4:14 `X` is not proposed: `secret_env` has more than 200 items",
        ),
        (
            &|n| remote(&format!("secret_headers = [{}]", list(n))),
            "4:18 `X` is not proposed: `secret_headers` has more than 200 items",
        ),
        (
            &|n| local(&format!("env = {{ {} }}", env(n))),
            "4:7 `X` is not proposed: `env` has more than 200 variables",
        ),
    ];
    for (text, problem) in cases {
        assert_eq!(read(&text(200)).entries.len(), 1, "{problem}");
        assert_eq!(read(&text(201)).entries, [], "{problem}");
        assert_eq!(mistakes(&text(201)), [problem]);
    }
}

#[test]
fn the_largest_file_is_read_in_no_time_whatever_is_in_it() {
    let fill = |head: &str, item: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        let mut n = 0;
        while text.len() < MAX_BYTES as usize - 100 {
            text.push_str(&item(n));
            n += 1;
        }
        text + tail
    };
    let remote = "[[connector]]\nname = 'X'\nurl = 'https://h'\n";
    let names = fill(&format!("{remote}secret_headers = ["), &|n| format!("'{n:x}',"), "]");
    let unknown = fill(remote, &|n| format!("{n:x} = 1\n"), "");
    for (what, text) in [("names", names), ("unknown", unknown)] {
        let begun = Instant::now();
        read(&text);
        let took = begun.elapsed();
        // Tenths of a second without optimisation; what reads the text or the list again for every item takes many seconds.
        assert!(took < Duration::from_secs(5), "{what}: {took:?}");
    }
}

/// A repository with a team file of this content, and a state root.
fn repository(content: &[u8]) -> (tempfile::TempDir, PathBuf, TeamFile) {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().canonicalize().unwrap().join("repo");
    for inner in [".git", ".car", "src"] {
        fs::create_dir_all(repository.join(inner)).unwrap();
    }
    let file = repository.join(".car").join("connectors.toml");
    fs::write(&file, content).unwrap();
    let paths = Paths::new(folder.path().join("state"), folder.path().join("key"));
    (folder, file, TeamFile::new(repository.join("src"), &paths))
}

fn only_problem(proposals: Proposals) -> (Option<usize>, Option<usize>, String) {
    assert_eq!((proposals.entries.len(), proposals.mistakes.len()), (0, 1), "{proposals:?}");
    let Mistake { line, column, problem, .. } = proposals.mistakes.into_iter().next().unwrap();
    (line, column, problem)
}

#[tokio::test]
async fn the_file_of_the_repository_is_read_and_its_folder_is_the_projects() {
    let content = "\u{feff}[[connector]]\nname = 'X'\ncommand = 'bin/x'\n";
    let (_folder, file, team) = repository(content.as_bytes());
    let proposals = team.read().await;
    assert_eq!(proposals.mistakes, []);
    let project = file.parent().unwrap().parent().unwrap();
    let stdio = proposals.entries[0].definition.stdio.as_ref().unwrap();
    assert_eq!(stdio.cwd.as_deref(), project.to_str());
    assert_eq!(Path::new(&stdio.command), project.join("bin/x"));
    assert_eq!(proposals.entries[0].file, file.display().to_string());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_as_text_is_reported() {
    let (_folder, file, team) = repository(b"# \xc3\xbc\n# \xff");
    let not_utf8 = "the file is not UTF-8; nothing of it is proposed".to_owned();
    assert_eq!(only_problem(team.read().await), (Some(2), Some(3), not_utf8));
    fs::write(&file, vec![b'\n'; (MAX_BYTES + 1) as usize]).unwrap();
    let too_large = "the file is not read: it is over the limit of 256 KiB".to_owned();
    assert_eq!(only_problem(team.read().await), (None, None, too_large));
    fs::remove_file(&file).unwrap();
    assert_eq!(team.read().await, Proposals::default());
    fs::create_dir(&file).unwrap();
    let no_file = "the file is not read: it is not a regular file".to_owned();
    assert_eq!(only_problem(team.read().await), (None, None, no_file));
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_place_of_the_file_keeps_nobody_waiting() {
    let (_folder, file, team) = repository(b"");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let no_file = "the file is not read: it is not a regular file".to_owned();
    let read = tokio::time::timeout(Duration::from_secs(30), team.read()).await.unwrap();
    assert_eq!(only_problem(read), (None, None, no_file.clone()));
    // Put there after a look at the path.
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(read_bounded(&file).map_err(|error| error.to_string())));
    let answer = answer.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(answer, Err("it is not a regular file".to_owned()));
}

#[tokio::test]
async fn rejections_are_kept_in_the_state_root() {
    let (_folder, _file, team) = repository(b"[[connector]]\nname = 'X'\nurl = 'https://h'\n");
    let proposal = team.read().await.entries.remove(0);
    assert_eq!(team.rejected().await.unwrap(), HashSet::new());
    team.remember(&proposal, true).await.unwrap();
    assert_eq!(team.clone().rejected().await.unwrap(), HashSet::from([proposal.hash.clone()]));
    team.remember(&proposal, false).await.unwrap();
    assert_eq!(team.rejected().await.unwrap(), HashSet::new());
}
