//! Attempts to make the sign-in weaker than the servers are.

use connectors_core::manager::ConnectorUpdate;
use connectors_core::sign_in::SignInChoice;
use connectors_core::{OAuthException, StateName};
use connectors_tests::oauth::{
    ChallengeForm, Endpoint, Fault, GuardSetup, MetadataLocation, Reply, Rig, Setup, follow,
};
use serde_json::json;
use url::Url;

use super::signed::{Host, Signed, modern, page};

#[tokio::test]
async fn pkce_cannot_be_talked_away_and_is_s256_in_every_authorization() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let server = &signed.rig.server;
    let asked = server.requests_to(Endpoint::Authorization);
    assert_eq!(asked[0].parameter("code_challenge_method"), "S256");
    assert_eq!(asked[0].parameter("code_challenge").len(), 43);
    assert!(server.requests_to(Endpoint::Token)[0].parameter("code_verifier").len() >= 43);
    for methods in [json!(null), json!([]), json!(["plain"]), json!("plain"), json!(["s256"])] {
        server.change(|setup| {
            let patch = Reply::Patched(json!({"code_challenge_methods_supported": methods}));
            setup.faults = vec![Fault::at(Endpoint::Metadata, patch)];
        });
        let error = signed.host.begin(&signed.slug).await.expect_err("no PKCE");
        let detail = if methods.is_null() { "pkce_not_advertised" } else { "pkce_unsupported" };
        assert_eq!(error.detail(), Some(detail), "{methods}");
    }
    assert_eq!(server.requests_to(Endpoint::Authorization).len(), 1);
    // What works goes on working.
    signed.echoes().await;
}

#[tokio::test]
async fn a_server_that_does_not_mention_pkce_is_used_after_an_exception_which_is_recorded() {
    let patch = Reply::Patched(json!({"code_challenge_methods_supported": null}));
    let setup = Setup::default().with_fault(Fault::at(Endpoint::Metadata, patch));
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    host.begin(&slug).await.expect_err("no word of PKCE");
    let mut choice = SignInChoice::default();
    choice.exceptions = Some(vec![OAuthException::PkceNotAdvertised]);
    let mut update = ConnectorUpdate::default();
    update.sign_in = Some(choice);
    host.manager.update(&slug, update).await.expect("an update");
    host.signed_in(&slug).await;
    assert!(host.codes(&slug).contains(&"pkce_not_advertised_accepted"));
    let oauth = host.status(&slug).oauth.expect("settings");
    assert_eq!(oauth.exceptions, [OAuthException::PkceNotAdvertised]);
    assert!(host.manifest().await.contains("pkce_not_advertised"));
    let asked = rig.server.requests_to(Endpoint::Authorization);
    assert_eq!(asked[0].parameter("code_challenge_method"), "S256");
}

/// A server that would serve as an authorization server of 2025-03-26, if one fell back to that.
fn both_in_one(fault: Option<Reply>, challenge: ChallengeForm) -> GuardSetup {
    GuardSetup {
        metadata: MetadataLocation::Nowhere,
        hosts_authorization_server: true,
        challenge,
        faults: fault.into_iter().map(|reply| Fault::at(Endpoint::ResourceMetadata, reply)).collect(),
        ..GuardSetup::default()
    }
}

#[tokio::test]
async fn metadata_that_fails_in_any_other_way_than_plain_absence_does_not_lead_back_to_2025_03_26() {
    for (reply, detail) in [
        (Reply::html(500), "resource_metadata_status"),
        (Reply::unavailable(Some(1)), "resource_metadata_status"),
        (Reply::status(429), "resource_metadata_status"),
        (Reply::status(401), "resource_metadata_protected"),
        (Reply::malformed_json(), "resource_metadata_not_json"),
        (Reply::json(200, &json!([])), "resource_metadata_not_json"),
        (Reply::json(200, &json!({})), "resource_metadata_incomplete"),
        (Reply::html(200), "resource_metadata_web_page"),
        (Reply::redirect("http://169.254.169.254/latest/meta-data"), "resource_metadata_redirected"),
        (Reply::Drop, "resource_metadata_unreachable"),
        (Reply::json(200, &json!({"resource": "x".repeat(300 << 10)})), "resource_metadata_too_large"),
    ] {
        for challenge in [ChallengeForm::WithoutMetadata, ChallengeForm::Absent] {
            let guard = both_in_one(Some(reply.clone()), challenge);
            let rig = Rig::start(modern(), guard, Setup::default());
            let host = Host::start().await;
            let slug = host.add("Server", &rig.mcp).await;
            let error = host.begin(&slug).await.expect_err(detail);
            assert_eq!(error.detail(), Some(detail), "{reply:?}");
            assert!(rig.server.requests().is_empty(), "{reply:?}: {:?}", rig.server.requests());
        }
    }
}

#[tokio::test]
async fn metadata_that_was_announced_and_is_absent_does_not_lead_back_to_2025_03_26() {
    let rig = Rig::start(modern(), both_in_one(None, ChallengeForm::Absent), Setup::default());
    let own = format!(r#"Bearer resource_metadata="{}/somewhere""#, rig.mcp.url());
    rig.guard.change(|setup| setup.challenge = ChallengeForm::Custom(vec![own]));
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let error = host.begin(&slug).await.expect_err("metadata is missing");
    assert_eq!(error.detail(), Some("resource_metadata_missing"));
    assert!(rig.server.requests_to(Endpoint::Registration).is_empty());
}

#[tokio::test]
async fn addresses_of_the_cloud_and_of_other_networks_are_not_asked() {
    let leads_to = |address: &str| {
        let issuer = connectors_tests::oauth::ListedServers::Others(vec![address.to_owned()]);
        GuardSetup { servers: issuer, ..GuardSetup::default() }
    };
    for address in [
        "http://169.254.169.254/latest",
        "http://10.0.0.1",
        "http://192.168.0.1:8080",
        "http://[fd00:ec2::254]",
        "http://0.0.0.0:80",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
    ] {
        let rig = Rig::start(modern(), leads_to(address), Setup::default());
        let host = Host::start().await;
        let slug = host.add("Server", &rig.mcp).await;
        let error = host.begin(&slug).await.expect_err(address);
        assert_eq!(error.detail(), Some("issuer_invalid"), "{address}");
        let challenge = ChallengeForm::Custom(vec![format!(r#"Bearer resource_metadata="{address}""#)]);
        rig.guard.change(|setup| *setup = GuardSetup { challenge, ..GuardSetup::default() });
        host.manager.reconnect(&slug).await.expect("a status");
        let error = host.begin(&slug).await.expect_err(address);
        assert_eq!(error.detail(), Some("resource_metadata_url_invalid"), "{address}");
        assert!(rig.server.requests().is_empty());
    }
}

#[tokio::test]
async fn a_page_that_a_browser_or_shell_would_run_never_comes_out_as_the_page_to_open() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    for payload in [
        "javascript:alert(document.cookie)",
        "JavaScript://a.example/%0aalert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "file:///C:/Windows/System32/calc.exe",
        "file://evil.example/share/calc.exe",
        "\\\\evil.example\\share\\calc.exe",
        "ms-msdt:/id PCWDiagnostic",
        "search-ms:query=calc&crumb=location:\\\\evil.example",
        "smb://evil.example/share",
        "ssh://-oProxyCommand=calc/x",
        "mailto:a@b.example",
        "http://evil.example/authorize",
        "ws://127.0.0.1/authorize",
        "http:$(calc.exe)",
        "a:$(calc.exe)?response_type=code",
        "-a Calculator",
        "--renderer-cmd-prefix=calc",
        "$(touch /tmp/owned)",
        "`touch /tmp/owned`",
        "cmd.exe /c calc",
        "https://$(calc)@a.example/authorize",
        "https://user:password@a.example/authorize",
        "https://accounts.good.example@evil.example/authorize",
        "https://a.example/authorize#fragment",
        "https://a.example/\r\nauthorize",
        "https://a.example/authorize\u{0}",
        " https://a.example/authorize",
        "https://a.example/authorize & calc.exe",
        "https://",
        "//a.example/authorize",
        "/authorize",
    ] {
        rig.server.change(|setup| {
            let patch = Reply::Patched(json!({"authorization_endpoint": payload}));
            setup.faults = vec![Fault::at(Endpoint::Metadata, patch)];
        });
        let error = host.begin(&slug).await.expect_err(payload);
        assert_eq!(error.detail(), Some("endpoint_invalid"), "{payload}");
    }
    assert!(rig.server.registrations().is_empty());
}

#[tokio::test]
async fn a_page_that_is_opened_was_written_by_the_parser_and_has_nothing_that_a_shell_could_use() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    for payload in [
        "https://a.example/\"authorize\"",
        "https://a.example/<authorize>",
        "https://a.example/`authorize`",
        "https://a.example/authorize?x=\"'|^",
        "https://A.EXAMPLE/../authorize?response_type=token&state=mine",
    ] {
        rig.server.change(|setup| {
            let patch = Reply::Patched(json!({"authorization_endpoint": payload}));
            setup.faults = vec![Fault::at(Endpoint::Metadata, patch)];
        });
        let address = page(&host.begin(&slug).await.expect(payload));
        let url = Url::parse(&address).expect("a URL");
        assert_eq!((url.scheme(), url.host_str(), url.as_str()), ("https", Some("a.example"), &*address));
        let is_harmful = |c: char| c.is_control() || c.is_whitespace() || "\"<>`\\".contains(c);
        assert!(!address.contains(is_harmful), "{address}");
    }
}

#[tokio::test]
async fn a_page_for_a_device_that_a_browser_would_run_is_refused() {
    let device = connectors_tests::oauth::Device::default();
    let rig = Rig::start(modern(), GuardSetup::default(), Setup { device: Some(device), ..Setup::default() });
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    for payload in ["javascript:alert(1)", "file:///bin/sh", "http://evil.example/device"] {
        rig.server.change(|setup| {
            let patch =
                Reply::Patched(json!({"verification_uri": payload, "verification_uri_complete": payload}));
            setup.faults = vec![Fault::at(Endpoint::DeviceAuthorization, patch)];
        });
        let mut request = connectors_core::sign_in::SignInRequest::default();
        request.device = true;
        let error = host.begin_with(&slug, request).await.expect_err(payload);
        assert_eq!(error.detail(), Some("verification_page_invalid"), "{payload}");
        assert!(!host.failed(&slug, "verification_page_invalid").is_empty());
    }
    assert_eq!(host.status(&slug).state, StateName::NeedsSignIn);
}

#[tokio::test]
async fn nobody_is_signed_in_before_the_user_has_been_to_the_page() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let (one, other) = (host.add("One", &rig.mcp).await, host.add("Other", &rig.mcp).await);
    let (first, second) =
        (host.begin(&one).await.expect("a page"), host.begin(&other).await.expect("a page"));
    assert_ne!(first.state, second.state);
    assert!(first.state.len() >= 43 && second.state.len() >= 43, "256 bits each");
    assert!(rig.server.requests_to(Endpoint::Authorization).is_empty(), "the page is for the user to open");
    assert!(rig.server.requests_to(Endpoint::Token).is_empty());
    host.complete(&follow(&page(&first)).await).await.expect("a sign-in");
    host.complete(&follow(&page(&second)).await).await.expect("a sign-in");
    let registrations = rig.server.registrations();
    assert_eq!(registrations.len(), 2, "no client is shared");
    let issued = rig.server.tokens_issued();
    assert_eq!([&issued[0].client_id, &issued[1].client_id], [&registrations[0], &registrations[1]]);
}
