//! What the redirect brings.

use connectors_tests::oauth::{
    Consent, GuardSetup, Iss, KnownClient, Redirects, ResourceRule, Rig, Setup, follow, visit,
};
use connectors_tests::{Script, Tool};

use super::hand_client::{REDIRECT, registered, tokens};

fn start(setup: Setup) -> Rig {
    Rig::start(Script::modern().with_tools([Tool::echo()]), GuardSetup::default(), setup)
}

#[tokio::test]
async fn the_redirect_names_the_issuer_as_it_is_told() {
    let rig = start(Setup::default());
    let client = registered(&rig).await;
    let issuer = rig.server.issuer();
    let cases = [
        (Iss::Right, Some(issuer.clone())),
        (Iss::Missing, None),
        (Iss::WithSlash, Some(format!("{issuer}/"))),
        (Iss::Other("https://evil.example".to_owned()), Some("https://evil.example".to_owned())),
    ];
    for (iss, expected) in cases {
        rig.server.change(|setup| setup.iss = iss);
        assert_eq!(follow(&client.authorize_url(&[])).await.iss, expected);
    }
}

#[tokio::test]
async fn the_user_can_refuse_narrow_the_scopes_or_come_back_with_another_state() {
    let rig = start(Setup::default());
    let mut client = registered(&rig).await;
    rig.server.change(|setup| setup.consent = Consent::Refused("access_denied".to_owned()));
    let callback = follow(&client.authorize_url(&[])).await;
    assert_eq!(
        (callback.code, callback.error.as_deref(), callback.state.as_str()),
        (None, Some("access_denied"), "the-state")
    );
    rig.server.change(|setup| setup.consent = Consent::WrongState);
    assert_eq!(follow(&client.authorize_url(&[])).await.state, "another-state");
    rig.server.change(|setup| setup.consent = Consent::NoState);
    assert_eq!(follow(&client.authorize_url(&[])).await.state, "");
    rig.server.change(|setup| setup.consent = Consent::GrantedFor(vec!["read".to_owned()]));
    let callback = follow(&client.authorize_url(&[("scope", "read write")])).await;
    assert_eq!(client.exchange(&callback).await.body["scope"], "read");
}

#[tokio::test]
async fn what_may_not_be_asked_comes_back_as_an_error() {
    let rig = start(Setup { scopes_allowed: Some(vec!["read".to_owned()]), ..Setup::default() });
    let mut client = registered(&rig).await;
    let error = async |url: &str| follow(url).await.error.unwrap_or_default();
    assert_eq!(error(&client.authorize_url(&[("scope", "read write")])).await, "invalid_scope");
    let url = client.authorize_url(&[]);
    assert_eq!(error(&url.replace("S256", "plain")).await, "invalid_request");
    assert_eq!(error(&url.replace("&resource=", "&ignored=")).await, "invalid_target");
    rig.server.change(|setup| setup.resource = ResourceRule::Refused);
    assert_eq!(error(&url).await, "invalid_target");
    let callback = follow(&url.replace("&resource=", "&ignored=")).await;
    let code = callback.code.unwrap();
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", super::hand_client::VERIFIER),
    ];
    let (access, _) = tokens(&client.post("token_endpoint", &fields).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
}

#[tokio::test]
async fn a_redirect_uri_has_to_match_as_strictly_as_it_is_told() {
    let rig = start(Setup::default());
    let client = registered(&rig).await;
    let asked = |uri: &str| {
        let (before, after) =
            ("http%3A%2F%2F127.0.0.1%3A7777%2Fcallback", uri.replace(':', "%3A").replace('/', "%2F"));
        client.authorize_url(&[]).replace(before, &after)
    };
    let (port, path) = ("http://127.0.0.1:8888/callback", "http://127.0.0.1:7777/other");
    for (redirects, port_matches, path_matches) in [
        (Redirects::Exact, false, false),
        (Redirects::LoopbackAnyPort, true, false),
        (Redirects::Any, true, true),
    ] {
        rig.server.change(|setup| setup.redirects = redirects);
        assert!(visit(&asked(REDIRECT)).await.is_ok());
        assert_eq!(visit(&asked(port)).await.is_ok(), port_matches, "{redirects:?}");
        assert_eq!(visit(&asked(path)).await.is_ok(), path_matches, "{redirects:?}");
    }
}

#[tokio::test]
async fn clients_known_by_hand_and_by_document_need_no_registration() {
    let setup = Setup {
        client_id_documents: true,
        clients: vec![KnownClient::public("by-hand", REDIRECT)],
        ..Setup::default()
    };
    let rig = start(setup);
    let mut client = registered(&rig).await;
    assert_eq!(client.metadata["client_id_metadata_document_supported"], true);
    for id in ["by-hand", "https://client.example/metadata.json"] {
        id.clone_into(&mut client.id);
        let callback = follow(&client.authorize_url(&[])).await;
        assert_eq!(client.exchange(&callback).await.status, 200, "{id}");
    }
    "nobody".clone_into(&mut client.id);
    assert_eq!(visit(&client.authorize_url(&[])).await.unwrap_err().0, 400);
}
