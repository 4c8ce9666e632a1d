//! A user's desktop session, as far as secrets go: a message bus, and a keyring that can be locked and killed.
#![expect(
    clippy::print_stdout,
    reason = "a test that does nothing says why, and processes talk to each other"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use connectors_tests::deadline::poll;
use connectors_tests::{Daemon, TempHome};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::session::daemon;

const VARIABLE: &str = "CONNECTORS_SECRET_SERVICE";

/// No activation: a keyring is there when the test has started it.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir=FOLDER</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#;

/// The session of one test.
pub(super) struct Desktop {
    folder: tempfile::TempDir,
    address: String,
    bus: Child,
    keyring: Option<Child>,
}

impl Desktop {
    /// With a keyring that is unlocked; `None` where these tests are not wanted.
    pub(super) async fn start() -> Option<Self> {
        let mut desktop = Self::without_keyring()?;
        desktop.start_keyring().await;
        Some(desktop)
    }

    /// With nobody who keeps secrets.
    pub(super) fn without_keyring() -> Option<Self> {
        if std::env::var_os(VARIABLE).is_none() {
            println!("skipped: {VARIABLE} is not set");
            return None;
        }
        let folder = tempfile::TempDir::with_prefix("connectors-desktop-").expect("a temporary folder");
        let configuration = folder.path().join("bus.conf");
        let text = BUS.replace("FOLDER", folder.path().to_str().expect("a path of text"));
        std::fs::write(&configuration, text).expect("a new file");
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        let output = bus.stdout.take().expect("a piped stream");
        BufReader::new(output).read_line(&mut address).expect("the bus says where it is");
        Some(Self { address: address.trim().to_owned(), folder, bus, keyring: None })
    }

    /// A program of this session.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    /// Starts the keyring, which has the entries that it had, and waits until it answers.
    pub(super) async fn start_keyring(&mut self) {
        let mut keyring = self
            .command("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon is installed");
        // Unlocked once it has read the password to its end.
        keyring.stdin.take().expect("a pipe").write_all(b"password").expect("it reads");
        self.keyring = Some(keyring);
        poll("the keyring", || async {
            let alias = ["org.freedesktop.secrets", "/org/freedesktop/secrets"];
            let method = ["org.freedesktop.Secret.Service.ReadAlias", "string:default"];
            let answer = self.send(&[alias, method].concat());
            String::from_utf8_lossy(&answer.stdout).contains("/collection/login").then_some(())
        })
        .await;
    }

    /// Calls a method on the bus: destination, path, name and arguments.
    fn send(&self, words: &[&str]) -> Output {
        let destination = format!("--dest={}", words[0]);
        let mut command = self.command("dbus-send");
        command.args(["--session", "--print-reply", "--reply-timeout=5000", &destination]).args(&words[1..]);
        command.output().expect("dbus-send is installed")
    }

    /// Kills the keyring without a warning.
    pub(super) fn kill_keyring(&mut self) {
        let mut keyring = self.keyring.take().expect("a keyring runs");
        keyring.kill().expect("it is there");
        keyring.wait().expect("it can be waited for");
    }

    /// Locks everything. Nobody is there to show a prompt, or to answer one.
    pub(super) fn lock(&self) {
        let collection = "array:objpath:/org/freedesktop/secrets/collection/login";
        let service = ["org.freedesktop.secrets", "/org/freedesktop/secrets"];
        let answer =
            self.send(&[&service[..], &["org.freedesktop.Secret.Service.Lock", collection]].concat());
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    }

    /// The daemon in this session, with `--secrets place`.
    pub(super) fn daemon(&self, place: &'static str) -> Daemon {
        self.hosting(daemon()).with_secrets(place)
    }

    /// A daemon that is started in some other way.
    pub(super) fn hosting(&self, daemon: Daemon) -> Daemon {
        daemon.with_variable("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }

    /// Another program's work with the keychain; `None` where that program was not built.
    pub(super) fn writer(&self) -> Option<Writer<'_>> {
        let program = PathBuf::from(std::env::var_os(VARIABLE)?);
        if !program.is_file() {
            println!("skipped: {VARIABLE} names no keyring-writer");
            return None;
        }
        Some(Writer { desktop: self, program })
    }

    /// Runs an ignored test of this binary as a process of the session.
    pub(super) fn run_test(&self, name: &str, home: &TempHome, number: usize) -> Child {
        self.command(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env("CONNECTORS_TEST_STATE", home.state())
            .env("CONNECTORS_TEST_NUMBER", number.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("this program starts")
    }
}

/// A test that runs as a process of the session, and what it and the test that has started it tell each other.
pub(super) struct Conversation {
    child: Child,
    words: mpsc::Receiver<String>,
}

/// What a line begins with that is part of a conversation: the test program prints others.
const SAYS: &str = "says: ";

impl Desktop {
    /// Runs an ignored test of this binary as a process of the session, to talk to.
    pub(super) fn converse(&self, name: &str, home: &TempHome) -> Conversation {
        let mut child = self
            .command(std::env::current_exe().expect("this program"))
            .args(["--exact", name, "--ignored", "--nocapture"])
            .env("CONNECTORS_TEST_STATE", home.state())
            .env("CONNECTORS_TEST_NUMBER", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let output = BufReader::new(child.stdout.take().expect("a piped stream"));
        let (said, words) = mpsc::channel(16);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The name of the test may stand before it.
                let word = line.split_once(SAYS).map(|(_, word)| word.to_owned());
                if word.is_some_and(|word| said.blocking_send(word).is_err()) {
                    break;
                }
            }
        });
        Conversation { child, words }
    }
}

impl Conversation {
    /// Waits until the other says this.
    pub(super) async fn hear(&mut self, word: &str) {
        let heard = timeout(Duration::from_secs(120), self.words.recv()).await;
        assert_eq!(heard.expect("an answer").as_deref(), Some(word));
    }

    pub(super) fn tell(&mut self, word: &str) {
        let input = self.child.stdin.as_mut().expect("a piped stream");
        writeln!(input, "{word}").expect("it listens");
    }

    /// Waits until the other has ended well.
    pub(super) fn end(mut self) {
        assert!(self.child.wait().expect("it can be waited for").success());
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end of a [`Conversation`]: says something and waits for the answer.
pub(super) async fn say_and_hear(word: &str, answer: &str) {
    println!("{SAYS}{word}");
    let heard = tokio::task::spawn_blocking(|| {
        let mut heard = String::new();
        std::io::stdin().read_line(&mut heard).map(|_| heard)
    });
    assert_eq!(heard.await.expect("no panic").expect("a line").trim(), answer);
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for child in self.keyring.iter_mut().chain([&mut self.bus]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a test that was started by [`Desktop::run_test`] is told; nothing where somebody runs ignored tests by hand.
pub(super) fn orders() -> Option<(PathBuf, usize)> {
    let state = std::env::var_os("CONNECTORS_TEST_STATE")?;
    Some((Path::new(&state).to_owned(), std::env::var("CONNECTORS_TEST_NUMBER").ok()?.parse().ok()?))
}

/// A program that uses keyring 3.
pub(super) struct Writer<'a> {
    desktop: &'a Desktop,
    program: PathBuf,
}

impl Writer<'_> {
    pub(super) fn set(&self, account: &str, value: &str) {
        let mut command = self.desktop.command(&self.program);
        let mut child =
            command.args(["set", account]).stdin(Stdio::piped()).spawn().expect("it can be started");
        child.stdin.take().expect("a pipe").write_all(value.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it can be waited for").success(), "{account} was not written");
    }

    pub(super) fn get(&self, account: &str) -> Option<String> {
        let output =
            self.desktop.command(&self.program).args(["get", account]).output().expect("it can be started");
        match output.status.code() {
            Some(0) => Some(String::from_utf8(output.stdout).expect("text")),
            Some(3) => None,
            _ => panic!("{account}: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    pub(super) fn delete(&self, account: &str) {
        let status = self.desktop.command(&self.program).args(["delete", account]).status();
        assert!(status.expect("it can be started").success(), "{account} was not deleted");
    }
}
