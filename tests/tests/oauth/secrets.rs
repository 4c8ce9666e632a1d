//! Whatever is written anywhere, no secret of a sign-in is in it.

use std::fmt::Write as _;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex};

use connectors_core::sign_in::SignInRequest;
use connectors_core::{ConfigStore as _, CredentialStore as _};
use connectors_tests::deadline::soon;
use connectors_tests::oauth::{
    AuthMethod, CANARY, Device, DpopUse, Endpoint, Fault, GuardSetup, Registration, Reply, Setup, Verdict,
    follow,
};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::signed::{Signed, callback, page};

/// Set where a process was started for the one test that is named.
const ALONE: &str = "CONNECTORS_TEST_ALONE";

/// Everything that is logged while it is there.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic with the lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logged {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic with the lock")).into_owned()
    }
}

/// The parts of what was shown around each place where a secret is.
fn places(shown: &str, secret: &str) -> Vec<String> {
    let around = |at: usize| {
        let bytes = &shown.as_bytes()[at.saturating_sub(200)..(at + 40).min(shown.len())];
        String::from_utf8_lossy(bytes).into_owned()
    };
    shown.match_indices(secret).map(|(at, _)| around(at)).collect()
}

#[tokio::test]
#[ignore = "run by another test, in a process of its own"]
async fn a_whole_sign_in_with_everything_logged() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(logged.clone())
        .finish();
    // Of every thread; one for this thread alone could miss what the threads of other tests were the first to come by.
    tracing::subscriber::set_global_default(subscriber).expect("this process runs no other test");
    let setup = Setup {
        registration: Registration::Gives(AuthMethod::Post),
        auth_methods: vec![AuthMethod::Post],
        dpop: DpopUse::Required,
        dpop_nonces: true,
        device: Some(Device::default()),
        ..Setup::default()
    };
    let guard = GuardSetup {
        challenge_scope: Some("read".to_owned()),
        tool_scopes: vec![("echo".to_owned(), "write".to_owned())],
        dpop_nonces: true,
        ..GuardSetup::default()
    };
    let signed = Signed::new(guard, setup).await;
    let (host, slug, server) = (&signed.host, &signed.slug, &signed.rig.server);
    let mut events = host.manager.events().subscribe();
    let mut shown = String::new();

    // Step-up.
    host.manager.enable_tools(slug, &["echo".to_owned()]).await.expect("a selection");
    let call = host.begin_call(slug, "x");
    signed.rig.guard.seen(Verdict::InsufficientScope, 1).await;
    host.wants_more(slug).await;
    let view = host.begin(slug).await.expect("a page");
    let came = follow(&page(&view)).await;
    let answer = callback(&came.url);
    write!(shown, "{view:?} {} {answer:?}", serde_json::to_string(&view).expect("JSON")).expect("text");
    let status = host.manager.complete_sign_in(answer).await.expect("a sign-in");
    let outcome = soon("the call", call).await.expect("no panic");
    write!(shown, "{status:?} {outcome:?}").expect("text");

    // Refreshes, and their failures; a server that quotes what it was sent.
    server.expire_access_tokens();
    write!(shown, "{:?}", signed.echo().await).expect("text");
    let issued = server.tokens_issued();
    let last = issued.last().expect("tokens");
    let refresh_token = last.refresh_token.clone().expect("a refresh token");
    let mut client_secrets = server.secrets();
    client_secrets.retain(|secret| secret.starts_with("canary-secret-"));
    let quoting =
        format!("cannot use {refresh_token} of {} ({})", client_secrets.join(" "), last.access_token);
    for (status, error) in [(503, "temporarily_unavailable"), (400, "invalid_grant")] {
        let body = json!({"error": error, "error_description": quoting, "error_uri": quoting});
        server.change(|setup| setup.faults = vec![Fault::at(Endpoint::Token, Reply::json(status, &body))]);
        server.expire_access_tokens();
        let outcome = connectors_tests::deadline::poll("the server's words", || async {
            let outcome = signed.echo().await;
            let sentence = host.steps(slug).iter().any(|step| step.seen.contains(error));
            (outcome.is_err() && sentence).then_some(outcome)
        })
        .await;
        let error = outcome.expect_err("a refusal");
        write!(shown, "{error} {error:?}").expect("text");
        write!(shown, "{:?} {:?}", host.status(slug), host.steps(slug)).expect("text");
        server.repair();
    }

    // A code that is refused by a server that quotes it, and the same in a redirect.
    let view = host.begin(slug).await.expect("a page");
    let came = follow(&page(&view)).await;
    let code = came.code.clone().expect("a code");
    let body = json!({"error": "invalid_grant", "error_description": format!("{code} is not good")});
    server.break_with(Fault::at(Endpoint::Token, Reply::json(400, &body)).once());
    let error = host.complete(&came).await.expect_err("a refusal");
    write!(shown, "{error} {error:?} {:?} {:?}", host.status(slug), host.steps(slug)).expect("text");

    // On another device.
    server.change(|setup| setup.dpop_nonces = false);
    let mut request = SignInRequest::default();
    request.device = true;
    let begun = host.begin_with(slug, request).await;
    write!(shown, "{begun:?}").expect("text");
    if begun.is_ok() {
        host.comes_to(slug, connectors_core::StateName::Ready).await;
    }

    // Signed in once more, and out.
    host.sign_in(slug).await.expect("a sign-in");
    let definitions = host.config.load().await.expect("a store of memory");
    write!(shown, "{definitions:?} {}", host.manifest().await).expect("text");
    let keys = host.credentials.list(slug).await.expect("a store of memory");
    write!(shown, "{keys:?} {:?} {:?}", host.credentials, host.manager.events()).expect("text");
    let key = host.secret(&connectors_core::CredentialKey::of_sign_in(slug, "dpop_key")).await;
    for part in [host.manager.list(), vec![host.manager.sign_out(slug).await.expect("a sign-out")]] {
        write!(shown, "{part:?} {}", serde_json::to_string(&part).expect("JSON")).expect("text");
    }
    let steps = host.steps(slug);
    write!(shown, "{steps:?} {}", serde_json::to_string(&steps).expect("JSON")).expect("text");
    while let Ok(event) = events.try_recv() {
        write!(shown, "{event:?} {}", serde_json::to_string(&*event).expect("JSON")).expect("text");
    }
    host.manager.shutdown().await;
    let log = logged.text();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "nothing was captured: {log}");
    shown.push_str(&log);

    let mut secrets = server.secrets();
    for kind in ["canary-code-", "canary-access-", "canary-refresh-", "canary-secret-", "canary-device-"] {
        assert!(secrets.iter().any(|secret| secret.starts_with(kind)), "no {kind} was issued");
    }
    assert!(secrets.iter().any(|secret| !secret.starts_with(CANARY)), "no verifier was seen");
    let key = key.expect("a key");
    secrets.extend(key.lines().filter(|line| line.len() > 20 && !line.starts_with('-')).map(str::to_owned));
    for sent in server.requests().iter().map(|asked| asked.header("dpop").to_owned()) {
        secrets.extend((!sent.is_empty()).then_some(sent));
    }
    let leaks: Vec<_> = secrets
        .iter()
        .flat_map(|secret| places(&shown, secret).into_iter().map(move |at| (secret, at)))
        .collect();
    assert!(leaks.is_empty(), "{} leaks, the first ones: {:#?}", leaks.len(), &leaks[..leaks.len().min(5)]);
    assert!(!shown.contains("canary-"), "{:#?}", places(&shown, "canary-").first());
}

#[test]
fn nothing_that_is_logged_announced_shown_or_written_holds_a_secret() {
    let name = "oauth::secrets::a_whole_sign_in_with_everything_logged";
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let output = command.args(["--exact", name, "--ignored"]).env(ALONE, "1").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
