//! Ten processes on one state root, and the servers that they sign in to.

use std::process::Stdio;
use std::sync::Arc;

use connectors_core::manager::NewConnector;
use connectors_core::sign_in::{SignInCallback, SignInRequest};
use connectors_core::{ConnectorManager, CredentialKey, CredentialStore, Slug, StateName};
use connectors_http::{HttpDialer, HttpStack};
use connectors_oauth::OAuthProvider;
use connectors_store::{ManifestStore, Paths, VaultStore};
use connectors_tests::deadline::soon;
use connectors_tests::oauth::{GuardSetup, Rig, Setup, follow};
use connectors_tests::{Script, TempHome, Tool};
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};

/// How many there are.
pub(super) const MEMBERS: usize = 10;

/// Nobody listens there: the address itself carries the answer.
const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";

pub(super) struct Household {
    home: TempHome,
    pub(super) rig: Rig,
    slug: Slug,
    members: Vec<Member>,
    /// Lines that all have said since they were last told to call.
    said: watch::Sender<usize>,
}

/// One process.
struct Member {
    process: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
    /// Calls that it has been told to make and not been heard of.
    open: usize,
}

impl Household {
    /// Signs in to the servers; the processes come later.
    pub(super) async fn found() -> Self {
        let script = Script::modern().with_tools([Tool::echo()]);
        let rig = Rig::start(script, GuardSetup::default(), Setup::default());
        let slug = Slug::from_name("Shared");
        let home = TempHome::new();
        let household = Self { home, rig, slug, members: Vec::new(), said: watch::Sender::new(0) };
        household.sign_in().await;
        household
    }

    fn paths(&self) -> Paths {
        Paths::new(self.home.state(), self.home.vault_key_path())
    }

    /// The user signs in, in a process of their own.
    pub(super) async fn sign_in(&self) {
        let http = HttpStack::new();
        let manager = ConnectorManager::builder()
            .with_config(Arc::new(ManifestStore::new(self.paths().manifest())))
            .with_credentials(Arc::new(VaultStore::new(&self.paths())))
            .with_dialer(Arc::new(HttpDialer::on(&http)))
            .with_sign_in(Arc::new(OAuthProvider::new(http.client())))
            .start()
            .await;
        let is_new = manager.status(&self.slug).is_err();
        if is_new {
            let new = NewConnector::http("Shared", self.rig.mcp.url(), Vec::new());
            assert_eq!(manager.add(new).await.expect("it can be added").slug, self.slug);
        }
        let mut events = manager.events().subscribe();
        let mut request = SignInRequest::default();
        request.redirect_uri = Some(REDIRECT_URI.to_owned());
        let view = manager.sign_in(&self.slug, request).await.expect("a sign-in begins");
        let callback = follow(&view.authorize_url.expect("a page to go to")).await;
        let callback = SignInCallback::from_url(&callback.url).expect("the address of a callback");
        manager.complete_sign_in(callback).await.expect("the sign-in is completed");
        soon("the connector to be ready", async {
            while manager.status(&self.slug).expect("it is there").state != StateName::Ready {
                events.recv().await.expect("another event");
            }
        })
        .await;
        if is_new {
            manager.enable_tools(&self.slug, &["echo".to_owned()]).await.expect("it has this tool");
        }
        manager.shutdown().await;
    }

    /// Starts whoever is missing, and returns what these say of the connector: `ready`, or why it is not.
    pub(super) async fn move_in(&mut self) -> Vec<String> {
        let first = self.members.len();
        for _ in first..MEMBERS {
            self.members.push(self.start());
        }
        join_all(self.members[first..].iter_mut().map(Member::line)).await
    }

    fn start(&self) -> Member {
        let mut process = Command::new(env!("CARGO_BIN_EXE_token-sharer"))
            .args([self.home.state(), self.home.vault_key_path()])
            .arg(self.slug.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the process starts");
        let mut output = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let (sender, lines) = mpsc::unbounded_channel();
        let said = self.said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                // Nobody listens any more to one that was killed.
                let _ = sender.send(line);
                said.send_modify(|said| *said += 1);
            }
        });
        let input = process.stdin.take().expect("a pipe");
        Member { process, input, lines, open: 0 }
    }

    /// Tells every process to make this many calls, one after the other.
    pub(super) async fn everyone_calls(&mut self, calls: usize) {
        self.said.send_replace(0);
        for member in &mut self.members {
            member.open = calls;
            member.input.write_all(format!("{calls}\n").as_bytes()).await.expect("it listens");
        }
    }

    /// Waits until this many calls have ended.
    pub(super) async fn said_in_all(&self, count: usize) {
        let mut said = self.said.subscribe();
        soon("the ends of calls", said.wait_for(|said| *said >= count)).await.expect("it is here");
    }

    /// What became of the calls, of all processes that are still there.
    pub(super) async fn hear(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        for member in &mut self.members {
            for _ in 0..std::mem::take(&mut member.open) {
                heard.push(member.line().await);
            }
        }
        heard
    }

    /// What becomes of one more call of the first process.
    pub(super) async fn one_calls(&mut self) -> String {
        let first = self.members.first_mut().expect("a process");
        first.input.write_all(b"1\n").await.expect("it listens");
        first.line().await
    }

    /// Kills one process.
    pub(super) async fn kill(&mut self, index: usize) {
        self.members.remove(index).kill().await;
    }

    /// Kills all processes.
    pub(super) async fn kill_all(&mut self) {
        for member in &mut self.members {
            member.process.start_kill().expect("it is there");
        }
        join_all(self.members.drain(..).map(Member::kill)).await;
    }

    /// True if the server's last refresh token is the one in the store.
    pub(super) async fn has_last_token(&self) -> bool {
        let stored = VaultStore::new(&self.paths()).get(&CredentialKey::tokens(&self.slug)).await;
        let stored = stored.expect("a readable vault").expect("tokens");
        let stored: Value = serde_json::from_str(stored.expose_secret()).expect("JSON");
        let last =
            self.rig.server.record().look(|log| log.issued.last().expect("a token").refresh_token.clone());
        stored["refresh_token"].as_str() == last.as_deref()
    }

    /// True if the server's last access token has ever been shown to the MCP server.
    pub(super) fn has_used_last_token(&self) -> bool {
        let last =
            self.rig.server.record().look(|log| log.issued.last().expect("a token").access_token.clone());
        self.rig.guard.sightings().iter().any(|sighting| sighting.token == last)
    }
}

impl Member {
    async fn line(&mut self) -> String {
        soon("a line", self.lines.recv()).await.unwrap_or_else(|| "gone".to_owned())
    }

    async fn kill(mut self) {
        soon("the end of a process", self.process.kill()).await.expect("it can be killed");
    }
}
