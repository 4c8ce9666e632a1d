//! Set-ups that nobody can sign in with: each cause has a word of its own, a failed step, and a remedy.

use std::collections::BTreeSet;

use connectors_core::sign_in::{SignInRequest, SignInView};
use connectors_core::{ConnectorError, ConnectorStatus, StateName};
use connectors_tests::oauth::{
    AuthMethod, ChallengeForm, Consent, Endpoint, Fault, GuardSetup, Iss, IssuerName, ListedServers,
    PublishedResource, Registration, Reply, ResourceRule, Rig, Setup, visit,
};
use serde_json::{Value, json};

use super::signed::{Host, modern, page};

/// Over what is read of one document.
const TOO_LARGE: usize = 300 << 10;

struct Row {
    name: &'static str,
    guard: GuardSetup,
    setup: Setup,
    detail: &'static str,
}

fn row(name: &'static str, guard: GuardSetup, setup: Setup, detail: &'static str) -> Row {
    Row { name, guard, setup, detail }
}

/// Something is wrong with what the MCP server says of itself.
fn resource(name: &'static str, reply: Reply, detail: &'static str) -> Row {
    let guard = GuardSetup::default().with_fault(Fault::at(Endpoint::ResourceMetadata, reply));
    row(name, guard, Setup::default(), detail)
}

/// Something is wrong with an endpoint of the authorization server.
fn server(name: &'static str, at: Endpoint, reply: Reply, detail: &'static str) -> Row {
    row(name, GuardSetup::default(), Setup::default().with_fault(Fault::at(at, reply)), detail)
}

fn metadata(name: &'static str, patch: Value, detail: &'static str) -> Row {
    server(name, Endpoint::Metadata, Reply::Patched(patch), detail)
}

fn set_up(name: &'static str, setup: Setup, detail: &'static str) -> Row {
    row(name, GuardSetup::default(), setup, detail)
}

fn guarded(name: &'static str, guard: GuardSetup, detail: &'static str) -> Row {
    row(name, guard, Setup::default(), detail)
}

fn of_the_resource() -> Vec<Row> {
    let challenge = |field: &str| ChallengeForm::Custom(vec![field.to_owned()]);
    let default = GuardSetup::default;
    vec![
        guarded(
            "a challenge that leads to a script",
            GuardSetup {
                challenge: challenge(r#"Bearer resource_metadata="javascript:alert(1)""#),
                ..default()
            },
            "resource_metadata_url_invalid",
        ),
        resource("nothing where it was announced", Reply::status(404), "resource_metadata_missing"),
        resource("metadata behind a login", Reply::status(401), "resource_metadata_protected"),
        resource("a page for people", Reply::html(200), "resource_metadata_web_page"),
        resource("an internal error", Reply::html(500), "resource_metadata_status"),
        resource(
            "metadata that moved to another origin",
            Reply::redirect("https://elsewhere.example/metadata"),
            "resource_metadata_redirected",
        ),
        resource("no answer", Reply::Drop, "resource_metadata_unreachable"),
        resource("metadata without measure", Reply::Oversized(TOO_LARGE), "resource_metadata_too_large"),
        resource("half of a document", Reply::malformed_json(), "resource_metadata_not_json"),
        guarded(
            "metadata of nothing",
            GuardSetup { resource: PublishedResource::Absent, ..default() },
            "resource_metadata_incomplete",
        ),
        guarded(
            "metadata of another server",
            GuardSetup {
                resource: PublishedResource::Other("https://other.example/mcp".to_owned()),
                ..default()
            },
            "resource_mismatch",
        ),
        guarded(
            "no authorization server",
            GuardSetup { servers: ListedServers::Absent, ..default() },
            "authorization_server_unnamed",
        ),
        guarded(
            "an authorization server without encryption",
            GuardSetup {
                servers: ListedServers::Others(vec!["http://intranet.example".to_owned()]),
                ..default()
            },
            "issuer_invalid",
        ),
    ]
}

fn of_the_server() -> Vec<Row> {
    let at = Endpoint::Metadata;
    vec![
        set_up(
            "an authorization server that publishes nothing",
            Setup { metadata_at: vec![], ..Setup::default() },
            "server_metadata_missing",
        ),
        server("server metadata behind a login", at, Reply::status(403), "server_metadata_protected"),
        server("a page for people at the server", at, Reply::html(200), "server_metadata_web_page"),
        server("an internal error at the server", at, Reply::html(500), "server_metadata_status"),
        server(
            "server metadata that moved to another origin",
            at,
            Reply::redirect("https://elsewhere.example/metadata"),
            "server_metadata_redirected",
        ),
        server("no answer of the server", at, Reply::Drop, "server_metadata_unreachable"),
        server(
            "server metadata without measure",
            at,
            Reply::Oversized(TOO_LARGE),
            "server_metadata_too_large",
        ),
        server("half of the server metadata", at, Reply::malformed_json(), "server_metadata_not_json"),
        metadata("no token endpoint", json!({"token_endpoint": null}), "server_metadata_incomplete"),
        metadata(
            "a token endpoint without encryption",
            json!({"token_endpoint": "http://intranet.example/token"}),
            "endpoint_invalid",
        ),
        set_up(
            "metadata in another name",
            Setup { issuer: IssuerName::Other("https://other.example".to_owned()), ..Setup::default() },
            "issuer_mismatch",
        ),
        set_up(
            "an issuer with a slash too much",
            Setup { issuer: IssuerName::WithSlash, ..Setup::default() },
            "issuer_slash",
        ),
        metadata(
            "no authorization endpoint",
            json!({"authorization_endpoint": null}),
            "authorization_endpoint_missing",
        ),
        metadata("no word of PKCE", json!({"code_challenge_methods_supported": null}), "pkce_not_advertised"),
        metadata(
            "PKCE in plain text only",
            json!({"code_challenge_methods_supported": ["plain"]}),
            "pkce_unsupported",
        ),
        metadata(
            "pushed requests only",
            json!({"require_pushed_authorization_requests": true}),
            "pushed_requests_only",
        ),
    ]
}

fn of_the_registration() -> Vec<Row> {
    let at = Endpoint::Registration;
    vec![
        set_up(
            "no registration",
            Setup { registration: Registration::Absent, ..Setup::default() },
            "registration_impossible",
        ),
        server("registration for the initiated", at, Reply::status(401), "registration_protected"),
        server(
            "a registration that is not liked",
            at,
            Reply::error(400, "invalid_client_metadata"),
            "registration_refused",
        ),
        server(
            "a redirect URI that is not liked",
            at,
            Reply::error(400, "invalid_redirect_uri"),
            "registration_redirect_refused",
        ),
        server("a registration that fails", at, Reply::html(500), "registration_status"),
        server(
            "a registration that moved to another origin",
            at,
            Reply::redirect("https://elsewhere.example/register"),
            "registration_redirected",
        ),
        server("no answer to a registration", at, Reply::Drop, "registration_unreachable"),
        server("half of a registration", at, Reply::malformed_json(), "registration_not_json"),
        server(
            "a registration of nobody",
            at,
            Reply::Patched(json!({"client_id": null})),
            "registration_incomplete",
        ),
        set_up(
            "clients with keys only",
            Setup { auth_methods: vec![AuthMethod::PrivateKeyJwt], ..Setup::default() },
            "client_authentication_unsupported",
        ),
        set_up(
            "a secret that is demanded and not given",
            Setup { auth_methods: vec![AuthMethod::Basic], ..Setup::default() }
                .with_fault(Fault::at(at, Reply::Patched(json!({"client_secret": null})))),
            "registration_without_secret",
        ),
    ]
}

fn of_the_user() -> Vec<Row> {
    let refused = |error: &str| Setup { consent: Consent::Refused(error.to_owned()), ..Setup::default() };
    vec![
        set_up("a user who declines", refused("access_denied"), "access_denied"),
        row(
            "scopes that the server does not know",
            GuardSetup { challenge_scope: Some("unheard-of".to_owned()), ..GuardSetup::default() },
            Setup { scopes_allowed: Some(vec!["read".to_owned()]), ..Setup::default() },
            "invalid_scope",
        ),
        set_up(
            "a server that knows no resources",
            Setup { resource: ResourceRule::Refused, ..Setup::default() },
            "resource_refused",
        ),
        set_up("a server that is out of order", refused("server_error"), "authorization_refused"),
        set_up("an answer of nobody", Setup { iss: Iss::Missing, ..Setup::default() }, "iss_missing"),
        set_up(
            "an answer of another server",
            Setup { iss: Iss::Other("https://other.example".to_owned()), ..Setup::default() },
            "iss_mismatch",
        ),
    ]
}

fn of_the_tokens() -> Vec<Row> {
    let at = Endpoint::Token;
    let error = |name, status, error, detail| server(name, at, Reply::error(status, error), detail);
    vec![
        error("a code that is refused", 400, "invalid_grant", "invalid_grant"),
        error("a client that is refused", 401, "invalid_client", "invalid_client"),
        error("a client that may not", 400, "unauthorized_client", "unauthorized_client"),
        error("a grant that is unknown", 400, "unsupported_grant_type", "grant_unsupported"),
        error("a request that is refused", 400, "invalid_request", "token_request_refused"),
        error("something of its own", 400, "tuesday", "token_refused"),
        server("no answer of the token endpoint", at, Reply::Drop, "token_endpoint_unreachable"),
        server("a token endpoint that is down", at, Reply::unavailable(None), "token_endpoint_failed"),
        server("a token endpoint that is busy", at, Reply::status(429), "token_endpoint_busy"),
        server("a token endpoint that is gone", at, Reply::html(404), "token_endpoint_status"),
        server("half of an answer", at, Reply::malformed_json(), "token_answer_malformed"),
        server(
            "tokens of an unknown kind",
            at,
            Reply::Patched(json!({"token_type": "mac"})),
            "token_type_unknown",
        ),
        server("tokens without measure", at, Reply::Oversized(TOO_LARGE), "token_answer_too_large"),
    ]
}

async fn check(rows: Vec<Row>) {
    let mut problems = Vec::new();
    let mut details = BTreeSet::new();
    for row in rows {
        assert!(details.insert(row.detail), "{} comes twice", row.detail);
        let Row { name, guard, setup, detail } = row;
        let rig = Rig::start(modern(), guard, setup);
        let host = Host::start().await;
        let slug = host.add("Server", &rig.mcp).await;
        let outcome = attempt(&host, &slug).await;
        let Err(error) = outcome else {
            problems.push(format!("{name}: signed in"));
            continue;
        };
        let mut problem = |what: String| problems.push(format!("{name}: {what}"));
        if error.detail() != Some(detail) {
            problem(format!("{:?} instead of {detail} ({error})", error.detail()));
            continue;
        }
        if error.remedy().is_none_or(|remedy| remedy.is_empty()) {
            problem("no remedy".to_owned());
        }
        let failed = host.failed(&slug, detail);
        match failed.last() {
            None => problem(format!("no failed step {detail} in {:?}", host.codes(&slug))),
            Some(step) if step.remedy != error.remedy() => {
                problem(format!("the step's remedy is {:?}, the error's {:?}", step.remedy, error.remedy()));
            }
            Some(step) if step.expected.is_empty() || step.seen.is_empty() => problem(format!("{step:?}")),
            Some(_) => {}
        }
        let status = host.status(&slug);
        if (status.state, status.detail) != (StateName::NeedsSignIn, Some(detail)) {
            problem(format!("the status is {:?} for {:?}", status.state, status.detail));
        }
        let shown = format!("{error} {error:?} {status:?} {:?}", host.steps(&slug));
        for secret in rig.server.secrets() {
            if shown.contains(&secret) {
                problem(format!("{secret} is in {shown}"));
            }
        }
        if host.tokens(&slug).await.is_some() {
            problem("tokens were stored".to_owned());
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

async fn attempt(host: &Host, slug: &connectors_core::Slug) -> Result<ConnectorStatus, ConnectorError> {
    let view: SignInView = host.begin(slug).await?;
    let came = visit(&page(&view)).await.unwrap_or_else(|refused| panic!("the page refuses: {refused:?}"));
    host.complete(&came).await
}

#[tokio::test]
async fn broken_metadata_of_the_mcp_server_is_told_apart() {
    check(of_the_resource()).await;
}

#[tokio::test]
async fn broken_metadata_of_the_authorization_server_is_told_apart() {
    check(of_the_server()).await;
}

#[tokio::test]
async fn broken_registrations_are_told_apart() {
    check(of_the_registration()).await;
}

#[tokio::test]
async fn authorizations_that_fail_are_told_apart() {
    check(of_the_user()).await;
}

#[tokio::test]
async fn token_requests_that_fail_are_told_apart() {
    check(of_the_tokens()).await;
}

#[test]
fn every_cause_has_a_word_of_its_own() {
    let all = [of_the_resource(), of_the_server(), of_the_registration(), of_the_user(), of_the_tokens()];
    let details: Vec<_> = all.iter().flatten().map(|row| row.detail).collect();
    assert_eq!(details.len(), details.iter().collect::<BTreeSet<_>>().len());
    assert!(details.len() >= 30);
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_begun_says_what_is_missing() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let mut on_device = SignInRequest::default();
    on_device.device = true;
    let mut to_script = SignInRequest::default();
    to_script.redirect_uri = Some("javascript:alert(1)".to_owned());
    for (request, detail) in [
        (SignInRequest::default(), "redirect_uri_missing"),
        (to_script, "redirect_uri_invalid"),
        (on_device, "device_endpoint_missing"),
    ] {
        let error = host.begin_with(&slug, request).await.expect_err(detail);
        assert_eq!(error.detail(), Some(detail));
        let failed = host.failed(&slug, detail);
        assert_eq!((failed.len(), failed[0].remedy.clone()), (1, error.remedy()));
    }
    assert!(rig.server.registrations().is_empty());
}
