//! Sign-ins that come to a good end, and their end.

use connectors_core::manager::NewConnector;
use connectors_core::sign_in::SignInRequest;
use connectors_core::{CredentialKey, OAuthException, StateName};
use connectors_tests::oauth::{
    AuthMethod, AuthorizationServer, ChallengeForm, Device, DpopUse, Endpoint, GuardSetup, MetadataLocation,
    MetadataPlace, Registration, ResourceRule, Rig, Setup, Verdict, follow,
};
use connectors_tests::{Script, Tool};

use super::signed::{Host, REDIRECT, Signed, modern, page, with_redirect};

#[tokio::test]
async fn a_user_signs_in_to_servers_of_both_eras() {
    for (script, version) in [
        (modern(), "2026-07-28"),
        (Script::legacy().with_tools([Tool::echo()]), "2025-11-25"),
        (Script::dual().with_tools([Tool::echo()]), "2026-07-28"),
    ] {
        let signed = Signed::to(script, GuardSetup::default(), Setup::default()).await;
        signed.echoes().await;
        assert_eq!(signed.host.status(&signed.slug).protocol_version, Some(version));
        let issued = signed.rig.server.tokens_issued();
        assert_eq!(issued.len(), 1);
        assert_eq!(issued[0].resource, Some(signed.rig.mcp.url()));
        assert_eq!(signed.grants(), ["authorization_code"]);
        let codes = signed.host.codes(&signed.slug);
        for code in [
            "challenge",
            "resource_metadata",
            "server_metadata",
            "client_registered",
            "user_asked",
            "code_received",
            "tokens_received",
            "version_agreed",
            "tools_listed",
        ] {
            assert!(codes.contains(&code), "{version}: no {code} in {codes:?}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_to_a_new_server_makes_it_a_connector() {
    let rig = Rig::start(modern(), GuardSetup::default(), Setup::default());
    let host = Host::start().await;
    let new = NewConnector::http("New", rig.mcp.url(), Vec::new());
    let view = host.manager.authenticate(new, with_redirect(REDIRECT)).await.expect("a page");
    assert!(host.manager.list().is_empty());
    let status = host.complete(&follow(&page(&view)).await).await.expect("a sign-in");
    assert_eq!((status.slug.as_str(), status.state), ("new", StateName::Ready));
    assert_eq!(host.echo(&status.slug).await.expect("an answer"), "hello");
}

#[tokio::test]
async fn servers_that_publish_in_other_places_are_found() {
    let places = [MetadataPlace::Rfc8414, MetadataPlace::OidcInserted, MetadataPlace::OidcAppended];
    for (location, place) in
        [MetadataLocation::Path, MetadataLocation::Root, MetadataLocation::Custom("/elsewhere".to_owned())]
            .into_iter()
            .zip(places)
    {
        let guard = GuardSetup { metadata: location, ..GuardSetup::default() };
        let setup = Setup { issuer_path: "/tenant".to_owned(), metadata_at: vec![place], ..Setup::default() };
        Signed::new(guard, setup).await.echoes().await;
    }
    let guard = GuardSetup { challenge: ChallengeForm::Absent, ..GuardSetup::default() };
    Signed::new(guard, Setup::default()).await.echoes().await;
}

#[tokio::test]
async fn a_server_of_2025_03_26_is_its_own_authorization_server() {
    let guard = GuardSetup {
        metadata: MetadataLocation::Nowhere,
        hosts_authorization_server: true,
        ..GuardSetup::default()
    };
    for metadata_at in [vec![MetadataPlace::Rfc8414], vec![]] {
        let setup =
            Setup { metadata_at, resource: ResourceRule::Refused, announces_iss: false, ..Setup::default() };
        let signed = Signed::to(Script::legacy().with_tools([Tool::echo()]), guard.clone(), setup).await;
        signed.echoes().await;
    }
}

#[tokio::test]
async fn clients_prove_themselves_as_the_server_wants_it() {
    for method in [AuthMethod::None, AuthMethod::Basic, AuthMethod::Post] {
        let setup = Setup {
            registration: Registration::Gives(method),
            auth_methods: vec![method],
            ..Setup::default()
        };
        let signed = Signed::new(GuardSetup::default(), setup).await;
        signed.rig.server.expire_access_tokens();
        signed.echoes().await;
        let secret = signed.host.secret(&CredentialKey::client_secret(&signed.slug)).await;
        assert_eq!(secret.is_some(), method != AuthMethod::None);
        assert_eq!(signed.rig.server.refreshes(), 1);
    }
}

#[tokio::test]
async fn tokens_are_bound_to_a_key_where_both_servers_demand_it_and_each_a_nonce() {
    let guard = GuardSetup { dpop_nonces: true, renews_nonce: true, ..GuardSetup::default() };
    let setup = Setup { dpop: DpopUse::Required, dpop_nonces: true, ..Setup::default() };
    let signed = Signed::new(guard, setup).await;
    signed.echoes().await;
    signed.rig.guard.rotate_nonce();
    signed.echoes().await;
    signed.rig.server.rotate_nonce();
    signed.rig.server.expire_access_tokens();
    signed.echoes().await;
    let issued = signed.rig.server.tokens_issued();
    assert_eq!(issued.len(), 2);
    assert!(issued[0].bound_to.is_some());
    assert_eq!(issued[0].bound_to, issued[1].bound_to);
    assert_eq!(signed.rig.guard.count(Verdict::BadProof), 0);
    assert!(signed.host.secret(&CredentialKey::of_sign_in(&signed.slug, "dpop_key")).await.is_some());
}

#[tokio::test]
async fn a_user_signs_in_on_another_device() {
    let device = Device { approved: false, first_polls: vec!["authorization_pending"], ..Device::default() };
    let setup = Setup { device: Some(device), ..Setup::default() };
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let mut request = SignInRequest::default();
    request.device = true;
    let view = host.begin_with(&slug, request).await.expect("a code");
    assert!(page(&view).starts_with(&rig.server.url("/device")), "{view:?}");
    rig.server.decide_device(view.user_code.as_deref().expect("a code"), true);
    host.comes_to(&slug, StateName::Ready).await;
    assert_eq!(host.echo(&slug).await.expect("an answer"), "hello");
}

#[tokio::test]
async fn a_device_that_is_refused_leaves_the_connector_in_want_of_a_sign_in() {
    let setup = Setup { device: Some(Device { approved: false, ..Device::default() }), ..Setup::default() };
    let rig = Rig::start(modern(), GuardSetup::default(), setup);
    let host = Host::start().await;
    let slug = host.add("Server", &rig.mcp).await;
    let mut request = SignInRequest::default();
    request.device = true;
    let view = host.begin_with(&slug, request).await.expect("a code");
    rig.server.decide_device(view.user_code.as_deref().expect("a code"), false);
    connectors_tests::deadline::poll("the refusal", || async {
        (host.status(&slug).detail == Some("access_denied")).then_some(())
    })
    .await;
    assert_eq!(host.status(&slug).state, StateName::NeedsSignIn);
    assert_eq!(host.failed(&slug, "access_denied").len(), 1);
}

#[tokio::test]
async fn another_redirect_uri_is_registered_anew() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let (host, slug) = (&signed.host, &signed.slug);
    host.signed_in(slug).await;
    assert_eq!(signed.rig.server.registrations().len(), 1, "the same redirect URI");
    let other = "http://127.0.0.1:8888/callback";
    let view = host.begin_with(slug, with_redirect(other)).await.expect("a page");
    let came = follow(&page(&view)).await;
    assert_eq!(came.redirect_uri, other);
    assert_eq!(host.complete(&came).await.expect("a sign-in").state, StateName::Ready);
    let registrations = signed.rig.server.registrations();
    assert_eq!(registrations.len(), 2);
    let oauth = host.status(slug).oauth.expect("settings");
    assert_eq!((oauth.client_id, oauth.redirect_uri.as_deref()), (registrations[1].clone(), Some(other)));
}

#[tokio::test]
async fn signing_out_and_removing_give_the_tokens_back() {
    for is_removed in [false, true] {
        let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
        let (host, slug) = (&signed.host, &signed.slug);
        let issued = signed.rig.server.tokens_issued();
        if is_removed {
            host.manager.remove(slug).await.expect("a removal");
        } else {
            let status = host.manager.sign_out(slug).await.expect("a sign-out");
            assert_eq!(status.state, StateName::NeedsSignIn);
            assert!(host.codes(slug).contains(&"tokens_revoked"));
        }
        let given_back = [issued[0].refresh_token.clone().expect("one"), issued[0].access_token.clone()];
        assert_eq!(signed.rig.server.revocations(), given_back);
        assert_eq!(host.tokens(slug).await, None);
    }
}

#[tokio::test]
async fn a_sign_out_does_not_depend_on_the_server() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let Signed { host, rig, slug } = signed;
    drop(rig.server);
    host.manager.sign_out(&slug).await.expect("a sign-out");
    assert_eq!(host.tokens(&slug).await, None);
    assert_eq!(host.failed(&slug, "revocation_failed").len(), 1);
}

#[tokio::test]
async fn a_server_that_moves_to_another_authorization_server_is_signed_in_to_there() {
    let signed = Signed::new(GuardSetup::default(), Setup::default()).await;
    let second = AuthorizationServer::start(Setup::default());
    signed.rig.guard.trust(&[&second]);
    let error = signed.echo().await.expect_err("tokens of the other server");
    assert_eq!(error.code(), "sign_in_required");
    signed.host.signed_in(&signed.slug).await;
    signed.echoes().await;
    let oauth = signed.host.status(&signed.slug).oauth.expect("settings");
    assert_eq!(oauth.issuer, Some(second.issuer()));
    assert_eq!(second.tokens_issued().len(), 1);
    assert_eq!(signed.rig.server.requests_to(Endpoint::Authorization).len(), 1);
}

#[tokio::test]
async fn exceptions_that_the_user_accepts_make_deviating_servers_usable() {
    let refusing = Setup { resource: ResourceRule::Refused, ..Setup::default() };
    let slashed = Setup {
        issuer: connectors_tests::oauth::IssuerName::WithSlash,
        announces_iss: false,
        ..Setup::default()
    };
    for (setup, exception, detail) in [
        (refusing, OAuthException::ResourceOmitted, "resource_refused"),
        (
            Setup { iss: connectors_tests::oauth::Iss::WithSlash, ..slashed },
            OAuthException::IssuerSlash,
            "issuer_slash",
        ),
    ] {
        let rig = Rig::start(modern(), GuardSetup::default(), setup);
        let host = Host::start().await;
        let slug = host.add("Server", &rig.mcp).await;
        assert_eq!(host.sign_in(&slug).await.expect_err(detail).detail(), Some(detail));
        let mut choice = connectors_core::sign_in::SignInChoice::default();
        choice.exceptions = Some(vec![exception]);
        let mut update = connectors_core::manager::ConnectorUpdate::default();
        update.sign_in = Some(choice);
        host.manager.update(&slug, update).await.expect("an update");
        host.signed_in(&slug).await;
        assert_eq!(host.echo(&slug).await.expect("an answer"), "hello");
    }
}
