//! This test program as other processes: a test starts another one, an ignored one, which says on its standard output what it
//! does.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FOLDER: &str = "CONNECTORS_STORE_PROCESS_TEST_FOLDER";
const NUMBER: &str = "CONNECTORS_STORE_PROCESS_TEST_NUMBER";

pub(crate) fn start(test: &str, folder: &Path, number: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the environment tells a process that was started so; nothing, where somebody runs ignored tests by hand.
pub(crate) fn orders() -> Option<(PathBuf, u64)> {
    let folder = std::env::var_os(FOLDER)?;
    Some((folder.into(), std::env::var(NUMBER).ok()?.parse().ok()?))
}

pub(crate) fn say(word: &str, n: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word} {n}").unwrap();
    out.flush().unwrap();
}

/// What a process says, line by line, the test harness's own words among it.
pub(crate) fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}
