//! What the daemon writes to files: by the system calls that it makes, where `CONNECTORS_STRACE` is set, which needs `strace`, and
//! otherwise by what is in the files afterwards.

mod interrupted;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use connectors_tests::deadline::soon;
use connectors_tests::http_client::HttpRequest;
use connectors_tests::oauth::{AuthMethod, CANARY, GuardSetup, Registration, Rig, Setup, follow};
use connectors_tests::{Script, TempHome, Tool};
use serde_json::json;

use crate::session::{Session, daemon};

/// Whatever can put bytes into a file. Mapped files are not among them: the daemon maps none for writing.
const CALLS: &str = "trace=open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,mmap,rename,\
    renameat,renameat2,link,linkat,symlink,symlinkat";

#[tokio::test]
async fn no_secret_of_a_sign_in_is_written_to_a_file_and_files_and_folders_are_private() {
    let traced = std::env::var_os("CONNECTORS_STRACE").is_some();
    if !traced {
        println!("CONNECTORS_STRACE is not set: only what is left in files is looked at");
    }
    let setup = Setup {
        registration: Registration::Gives(AuthMethod::Post),
        auth_methods: vec![AuthMethod::Post],
        ..Setup::default()
    };
    let rig = Rig::start(Script::modern().with_tools([Tool::echo()]), GuardSetup::default(), setup);
    let home = TempHome::new();
    let log = home.user().join("strace.log");
    let log_path = log.to_str().expect("a path of text");
    // As a grandchild, so that the daemon is this process's own child; whole buffers, and what each descriptor leads to.
    let strace = ["strace", "-D", "-f", "-y", "-xx", "-s", "1048576", "-e", CALLS, "-o", log_path];
    let temporary = home.user().join("tmp");
    std::fs::create_dir(&temporary).expect("a new folder");
    let daemon = daemon().with_vault().with_variable("TMPDIR", temporary.to_str().expect("a path of text"));
    let daemon = if traced { daemon.run_by(&strace) } else { daemon };
    let running = daemon.start(&home).await;
    let session = Session::open(&running).await;
    let view = session.must("connectors.authenticate", json!({"name": "Signed", "url": rig.mcp.url()})).await;
    let came = follow(view["authorize_url"].as_str().expect("a page to go to")).await;
    let page = soon("the callback", HttpRequest::get(&came.url).send()).await.expect("an answer");
    assert_eq!(page.status(), 200);
    session.ready("signed").await;
    session.enable("signed", &["echo"]).await;
    rig.server.expire_access_tokens();
    assert_eq!(session.text("signed", "echo", json!({"text": "hello"})).await, "hello");
    assert_eq!(rig.server.refreshes(), 1);
    let issued = rig.server.secrets();
    drop(session);
    running.stop().await;

    let secrets = secrets_of(&issued);
    if traced {
        assert_clean(&writes_to_files(&log), &secrets);
        std::fs::remove_file(&log).expect("it is there");
    }
    assert_private(&home.state());
    assert_private(home.vault_key_path().parent().expect("a folder"));
    for secret in &secrets {
        assert_eq!(home.files_with(secret), Vec::<std::path::PathBuf>::new());
    }
}

fn assert_clean(writes: &[(String, Vec<u8>)], secrets: &BTreeSet<String>) {
    let files: BTreeSet<_> = writes.iter().map(|(file, _)| file.as_str()).collect();
    let vault = writes.iter().filter(|(file, _)| file.contains(".connectors.vault.")).count();
    assert!(vault > 2, "the vault's writes were not seen: {files:?}");
    let leaks: Vec<_> = writes
        .iter()
        .flat_map(|(file, bytes)| {
            let held = secrets.iter().filter(|secret| holds(bytes, secret.as_bytes()));
            held.map(move |secret| (file.as_str(), secret.as_str()))
        })
        .collect();
    assert_eq!(leaks, []);
}

/// What was issued, and the verifiers that were sent.
fn secrets_of(issued: &[String]) -> BTreeSet<String> {
    for kind in ["canary-code-", "canary-access-", "canary-refresh-", "canary-secret-"] {
        assert!(issued.iter().any(|secret| secret.starts_with(kind)), "no {kind} was issued");
    }
    assert!(issued.iter().any(|secret| !secret.starts_with(CANARY)), "no verifier was seen");
    let mut secrets: BTreeSet<_> = issued.iter().cloned().collect();
    secrets.insert(CANARY.to_owned());
    secrets
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// File and bytes of each write, sockets and pipes apart.
fn writes_to_files(log: &Path) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(log).expect("strace has written its log");
    let mut writes = Vec::new();
    for line in text.lines() {
        // `PID write(9</path>, "\x7b...", 12) = 12`, or `PID write(9</path>, ... <unfinished ...>`.
        let Some((_, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let Some((name, arguments)) = call.split_once('(') else { continue };
        if name == "mmap" {
            let shared = arguments.contains("PROT_WRITE") && arguments.contains("MAP_SHARED");
            assert!(!shared || !arguments.contains("</"), "a file is mapped for writing: {line}");
        }
        assert!(
            !["sendfile", "copy_file_range"].contains(&name),
            "a file is written in a way not seen: {line}"
        );
        if !name.contains("write") {
            continue;
        }
        let file = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(file, _)| file);
        let file = decode_text(file.unwrap_or_else(|| panic!("a descriptor that leads nowhere: {line}")));
        if file.starts_with('/') && !file.starts_with("/dev/") {
            writes.push((file, quoted(arguments)));
        }
    }
    writes
}

fn decode_text(text: &str) -> String {
    if text.contains("\\x") { String::from_utf8_lossy(&decode(text)).into_owned() } else { text.to_owned() }
}

/// The bytes of everything in quotes.
fn quoted(arguments: &str) -> Vec<u8> {
    arguments.split('"').skip(1).step_by(2).flat_map(decode).collect()
}

/// `\x41\x42`, as `strace -xx` writes all strings.
fn decode(hex: &str) -> Vec<u8> {
    hex.split("\\x").skip(1).map(|byte| u8::from_str_radix(&byte[..2], 16).expect("two hex digits")).collect()
}

/// Fails unless files are their owner's alone, and folders too.
fn assert_private(folder: &Path) {
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            assert_private(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}
