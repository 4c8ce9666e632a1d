//! Attempts to get at tokens, codes and clients that belong to somebody else.

use connectors_core::manager::ConnectorUpdate;
use connectors_core::{CredentialKey, StateName};
use connectors_tests::mcp_server::{Fault as McpFault, Stage};
use connectors_tests::oauth::{
    Asked, AuthMethod, AuthorizationServer, Consent, Endpoint, Fault, GuardSetup, Iss, ListedServers,
    Registration, Reply, Rig, Setup, Verdict, follow,
};
use connectors_tests::{McpServer, Script};
use serde_json::json;

use super::signed::{Host, Signed, callback, invalid_field, modern, page};

/// True if a request carries the text anywhere.
fn carries(asked: &Asked, text: &str) -> bool {
    let in_headers =
        asked.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(text));
    let in_form = asked.parameters.iter().any(|(_, value)| value.contains(text));
    in_headers || in_form || asked.target.contains(text) || asked.json.to_string().contains(text)
}

/// Asserts that nothing of what one server knows as secret has come to another, nor any of `more`.
fn nothing_of(one: &AuthorizationServer, more: &[String], requests: &[Asked]) {
    for secret in one.secrets().iter().chain(more) {
        for asked in requests {
            assert!(!carries(asked, secret), "{secret} has come to {} {}", asked.method, asked.target);
        }
    }
}

fn has_seen_credentials(server: &McpServer) -> bool {
    server.seen().requests.iter().any(|request| !request.header("authorization").is_empty())
}

#[tokio::test]
async fn a_token_does_not_follow_a_redirect_to_another_origin() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.echoes().await;
    let elsewhere = modern().start();
    for status in [301, 302, 303, 307, 308] {
        let headers = vec![("location", elsewhere.url())];
        let fault = McpFault::Canned { status, content_type: "", headers, body: String::new() };
        signed.rig.mcp.break_at(Stage::Call, fault);
        let error = signed.echo().await.expect_err("a redirect");
        assert_ne!(error.code(), "sign_in_required", "{error}");
    }
    assert!(elsewhere.seen().requests.is_empty());
    assert!(!has_seen_credentials(&elsewhere));
}

#[tokio::test]
async fn a_code_or_refresh_token_does_not_follow_a_redirect_of_the_token_endpoint() {
    let elsewhere = AuthorizationServer::start(Setup::default());
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    signed.rig.server.break_with(Fault::at(Endpoint::Token, Reply::redirect(&elsewhere.url("/token"))));
    signed.rig.server.expire_access_tokens();
    signed.echo().await.expect_err("a redirect");
    signed.host.sign_in(&signed.slug).await.expect_err("a redirect");
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

#[tokio::test]
async fn a_connector_that_is_moved_takes_no_token_along() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let (host, slug) = (&signed.host, &signed.slug);
    let issued = signed.rig.server.tokens_issued();
    let elsewhere = modern().start();
    let mut update = ConnectorUpdate::default();
    update.url = Some(elsewhere.url());
    let status = host.manager.update(slug, update).await.expect("an update");
    assert_eq!((status.state, status.oauth), (StateName::Ready, None));
    assert!(!has_seen_credentials(&elsewhere));
    assert_eq!(host.tokens(slug).await, None);
    assert!(signed.rig.server.revocations().contains(&issued[0].access_token));
}

#[tokio::test]
async fn two_connectors_of_one_authorization_server_show_their_own_tokens_only() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let guard = connectors_tests::oauth::TokenGuard::new(&[&rig.server], GuardSetup::default());
    let second = modern().guarded_by(guard.clone()).start();
    let host = Host::start().await;
    let (one, other) = (host.add("One", &rig.mcp).await, host.add("Other", &second).await);
    host.signed_in(&one).await;
    host.signed_in(&other).await;
    host.echo(&one).await.expect("an answer");
    host.echo(&other).await.expect("an answer");
    rig.server.expire_access_tokens();
    host.echo(&one).await.expect("an answer");
    host.echo(&other).await.expect("an answer");
    for guard in [&rig.guard, &guard] {
        assert_eq!(guard.count(Verdict::ForAnother) + guard.count(Verdict::Unknown), 0);
    }
    for issued in rig.server.tokens_issued() {
        assert!(issued.resource.is_some(), "bound to one resource: {issued:?}");
    }
}

#[tokio::test]
async fn a_token_that_was_stored_for_one_connector_is_not_shown_by_another() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let host = &signed.host;
    let guard = connectors_tests::oauth::TokenGuard::new(&[&signed.rig.server], GuardSetup::default());
    let second = modern().guarded_by(guard.clone()).start();
    let other = host.add("Other", &second).await;
    // As somebody who can write to the store would have it.
    let stolen = host.secret(&CredentialKey::tokens(&signed.slug)).await.expect("tokens");
    use connectors_core::CredentialStore as _;
    host.credentials.put(&CredentialKey::tokens(&other), &stolen.into()).await.expect("a store");
    let status = host.manager.reconnect(&other).await.expect("a status");
    assert_eq!(status.state, StateName::NeedsSignIn, "{:?}", status.last_error);
    assert!(guard.sightings().iter().all(|seen| seen.token.is_empty()), "{:?}", guard.sightings());
    assert!(!host.failed(&other, "tokens_for_other_server").is_empty() || status.last_error.is_some());
}

#[tokio::test]
async fn the_answer_of_one_server_is_not_taken_for_that_of_another() {
    let (honest, hostile) = (
        Rig::start(modern(), GuardSetup::default(), Setup::default()),
        Rig::start(modern(), GuardSetup::default(), Setup::default()),
    );
    let host = Host::start().await;
    let (one, other) = (host.add("Honest", &honest.mcp).await, host.add("Hostile", &hostile.mcp).await);
    let first = follow(&page(&host.begin(&one).await.expect("a page"))).await;
    let second = follow(&page(&host.begin(&other).await.expect("a page"))).await;
    // The codes have changed places; each comes with the issuer that it is from.
    let crossed = |came: &connectors_tests::oauth::CallbackParams, state: &str| {
        let url = came.url.replace(&came.state, state);
        assert_ne!(url, came.url);
        callback(&url)
    };
    for (slug, answer) in [(&one, crossed(&second, &first.state)), (&other, crossed(&first, &second.state))] {
        let error = host.manager.complete_sign_in(answer).await.expect_err("crossed");
        assert_eq!((error.detail(), error.slug()), (Some("iss_mismatch"), Some(slug)));
        assert_eq!(host.status(slug).state, StateName::NeedsSignIn);
    }
    for rig in [&honest, &hostile] {
        assert!(rig.server.requests_to(Endpoint::Token).is_empty(), "no code went anywhere");
    }
}

#[tokio::test]
async fn the_code_of_an_honest_server_does_not_go_to_one_that_sent_the_user_there() {
    // The hostile server has the honest one's page in its metadata: the user comes back with a good code of the honest one.
    let honest = AuthorizationServer::start(Setup::default());
    let patch = json!({"authorization_endpoint": honest.url("/authorize"), "registration_endpoint": honest.url("/register")});
    let setup = Setup::default().with_fault(Fault::at(Endpoint::Metadata, Reply::Patched(patch)));
    let hostile = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Hostile", &hostile.mcp).await;
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    assert_eq!(came.iss, Some(honest.issuer()));
    let error = host.complete(&came).await.expect_err("a code of another server");
    assert_eq!(error.detail(), Some("iss_mismatch"));
    assert!(hostile.server.requests_to(Endpoint::Token).is_empty());
    // Nor where the honest one does not say who it is.
    honest.change(|setup| setup.iss = Iss::Missing);
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    let error = host.complete(&came).await.expect_err("a code of another server");
    assert_eq!(error.detail(), Some("iss_missing"));
    assert!(hostile.server.requests_to(Endpoint::Token).is_empty());
}

#[tokio::test]
async fn an_error_of_another_server_is_not_shown_as_the_servers_own() {
    let setup = Setup {
        iss: Iss::Other("https://evil.example".to_owned()),
        consent: Consent::Refused("access_denied".to_owned()),
        ..Setup::default()
    };
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    assert_eq!(host.sign_in(&slug).await.expect_err("not its own").detail(), Some("iss_mismatch"));
}

#[tokio::test]
async fn nothing_of_the_first_authorization_server_comes_to_the_one_that_follows_it() {
    let confidential = || Setup {
        registration: Registration::Gives(AuthMethod::Basic),
        auth_methods: vec![AuthMethod::Basic],
        ..Setup::default()
    };
    let signed = Signed::new(GuardSetup::default(), confidential()).await;
    signed.rig.server.expire_access_tokens();
    signed.echoes().await;
    let first_clients = signed.rig.server.registrations();
    let second = AuthorizationServer::start(confidential());
    signed.rig.guard.trust(&[&second]);
    signed.echo().await.expect_err("tokens of the other server");
    signed.host.signed_in(&signed.slug).await;
    second.expire_access_tokens();
    signed.echoes().await;
    signed.host.manager.sign_out(&signed.slug).await.expect("a sign-out");
    nothing_of(&signed.rig.server, &first_clients, &second.requests());
    nothing_of(&second, &second.registrations(), &signed.rig.server.requests());
    let oauth = signed.host.status(&signed.slug).oauth.expect("settings");
    assert_eq!((oauth.issuer, oauth.client_id), (Some(second.issuer()), second.registrations()[0].clone()));
}

#[tokio::test]
async fn a_refresh_token_goes_nowhere_but_to_the_endpoint_that_gave_it() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let second = AuthorizationServer::start(Setup::default());
    // The MCP server and the first server's metadata now name the second one's endpoints.
    let issuers = ListedServers::Others(vec![second.issuer()]);
    signed.rig.guard.change(|setup| setup.servers = issuers);
    let patch = json!({"token_endpoint": second.url("/token"), "revocation_endpoint": second.url("/revoke")});
    signed.rig.server.break_with(Fault::at(Endpoint::Metadata, Reply::Patched(patch)));
    signed.rig.server.expire_access_tokens();
    signed.echoes().await;
    signed.host.manager.sign_out(&signed.slug).await.expect("a sign-out");
    assert_eq!(signed.rig.server.refreshes(), 1);
    assert!(second.requests_to(Endpoint::Token).is_empty());
    assert!(second.requests_to(Endpoint::Revocation).is_empty());
}

#[tokio::test]
async fn a_client_entered_for_one_server_is_not_used_with_another() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let mut request = super::signed::with_redirect(super::signed::REDIRECT);
    request.client = Some(connectors_core::sign_in::ClientCredentials {
        id: "entered-by-hand".to_owned(),
        secret: Some("canary-entered".to_owned().into()),
        issuer: Some("https://known.example".to_owned()),
    });
    let error = host.begin_with(&slug, request).await.expect_err("another server");
    assert_eq!(error.detail(), Some("client_of_another_server"));
    for asked in rig.server.requests() {
        assert!(!carries(&asked, "entered-by-hand") && !carries(&asked, "canary-entered"));
    }
    assert!(!format!("{error} {error:?} {:?}", host.steps(&slug)).contains("canary-entered"));
}

#[tokio::test]
async fn an_answer_is_good_once() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    host.complete(&came).await.expect("a sign-in");
    let error = host.complete(&came).await.expect_err("a replay");
    assert_eq!(invalid_field(&error), "state", "{error}");
    assert_eq!(rig.server.requests_to(Endpoint::Token).len(), 1, "the code was not sent again");
    assert_eq!(rig.server.families_revoked(), 0);
    assert_eq!(host.status(&slug).state, StateName::Ready);
    assert_eq!(host.echo(&slug).await.expect("an answer"), "hello");
}

#[tokio::test]
async fn an_answer_that_failed_is_not_good_for_a_second_attempt() {
    let setup = Setup { iss: Iss::Missing, ..Setup::default() };
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    assert_eq!(host.complete(&came).await.expect_err("no issuer").detail(), Some("iss_missing"));
    let repaired = format!("{}&iss={}", came.url, rig.server.issuer());
    let error = host.manager.complete_sign_in(callback(&repaired)).await.expect_err("a second attempt");
    assert_eq!(invalid_field(&error), "state");
}

#[tokio::test]
async fn an_answer_with_a_state_that_nobody_has_sent_is_for_nobody() {
    let setup = Setup { consent: Consent::WrongState, ..Setup::default() };
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let view = host.begin(&slug).await.expect("a page");
    let error = host.complete(&follow(&page(&view)).await).await.expect_err("another state");
    assert_eq!(invalid_field(&error), "state");
    rig.server.change(|setup| setup.consent = Consent::NoState);
    let came = follow(&page(&view)).await;
    assert!(connectors_core::sign_in::SignInCallback::from_url(&came.url).is_none());
    assert!(rig.server.requests_to(Endpoint::Token).is_empty());
    // The real one is not used up by any of that.
    rig.server.change(|setup| setup.consent = Consent::Granted);
    host.complete(&follow(&page(&view)).await).await.expect("a sign-in");
}

#[tokio::test]
async fn an_answer_of_another_host_program_or_another_place_is_refused() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let (mine, foreign) = (Host::start().await, Host::start().await);
    let slug = mine.add("Server", &rig.mcp).await;
    let other = foreign.add("Server", &rig.mcp).await;
    let came = follow(&page(&foreign.begin(&other).await.expect("a page"))).await;
    let error = mine.complete(&came).await.expect_err("not begun here");
    assert_eq!(invalid_field(&error), "state");
    foreign.complete(&came).await.expect("a sign-in where it was begun");
    let came = follow(&page(&mine.begin(&slug).await.expect("a page"))).await;
    let moved = came.url.replace(":7777/", ":6666/");
    let error = mine.manager.complete_sign_in(callback(&moved)).await.expect_err("another place");
    assert_eq!(error.detail(), Some("redirect_mismatch"));
    assert_eq!(rig.server.requests_to(Endpoint::Token).len(), 1);
}

#[tokio::test]
async fn an_answer_for_a_connector_that_was_removed_or_signed_out_is_for_nobody() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    host.manager.sign_out(&slug).await.expect("a sign-out");
    assert_eq!(invalid_field(&host.complete(&came).await.expect_err("given up")), "state");
    let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
    host.manager.remove(&slug).await.expect("a removal");
    let same_name = host.add("Server", &rig.mcp).await;
    assert_eq!(same_name, slug);
    assert_eq!(invalid_field(&host.complete(&came).await.expect_err("removed")), "state");
    assert_eq!(host.status(&slug).state, StateName::NeedsSignIn);
}

#[tokio::test]
async fn sign_ins_side_by_side_end_with_their_own_connectors() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let mut begun = Vec::new();
    for name in ["One", "Two", "Three"] {
        let slug = host.add(name, &rig.mcp).await;
        let came = follow(&page(&host.begin(&slug).await.expect("a page"))).await;
        begun.push((slug, came));
    }
    begun.reverse();
    for (slug, came) in &begun {
        let status = host.complete(came).await.expect("a sign-in");
        assert_eq!((&status.slug, status.state), (slug, StateName::Ready));
    }
    let mut tokens = Vec::new();
    for (slug, _) in &begun {
        tokens.push(host.tokens(slug).await.expect("tokens")["access_token"].clone());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test]
async fn a_server_that_needs_no_sign_in_is_shown_no_token() {
    let open = Script::modern().start();
    let host = Host::start().await;
    let new = connectors_core::manager::NewConnector::http("Open", open.url(), Vec::new());
    let status = host.manager.add(new).await.expect("a connector");
    assert_eq!(status.state, StateName::Ready);
    assert!(!has_seen_credentials(&open));
}
