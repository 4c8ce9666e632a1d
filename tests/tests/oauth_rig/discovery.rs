//! Where metadata is, and what it says.

use connectors_tests::http_client::HttpRequest;
use connectors_tests::oauth::{
    AuthMethod, AuthorizationServer, ChallengeForm, Endpoint, Fault, GuardSetup, IssuerName, ListedServers,
    MetadataLocation, MetadataPlace, PublishedResource, Registration, Reply, Rig, Setup,
};
use connectors_tests::{Script, Tool};
use serde_json::{Value, json};

use super::hand_client::{REDIRECT, get, mcp, send};

#[tokio::test]
async fn metadata_is_where_the_setup_puts_it_and_nowhere_else() {
    let paths = [
        (MetadataPlace::Rfc8414, "/.well-known/oauth-authorization-server/tenant1"),
        (MetadataPlace::OidcInserted, "/.well-known/openid-configuration/tenant1"),
        (MetadataPlace::OidcAppended, "/tenant1/.well-known/openid-configuration"),
    ];
    for (place, _) in paths {
        let setup =
            Setup { issuer_path: "/tenant1".to_owned(), metadata_at: vec![place], ..Setup::default() };
        let server = AuthorizationServer::start(setup);
        let origin = server.issuer().strip_suffix("/tenant1").unwrap().to_owned();
        for (other, path) in paths {
            let came = get(&format!("{origin}{path}")).await;
            assert_eq!(came.status, if place == other { 200 } else { 404 }, "{path} of {place:?}");
            if place == other {
                assert_eq!(came.body["issuer"], server.issuer());
                assert_eq!(came.body["token_endpoint"], server.url("/token"));
            }
        }
    }
}

#[tokio::test]
async fn metadata_can_lie_about_its_issuer_and_miss_or_break_anything() {
    let server = AuthorizationServer::start(Setup { issuer: IssuerName::WithSlash, ..Setup::default() });
    let url = server.url("/.well-known/oauth-authorization-server");
    assert_eq!(get(&url).await.body["issuer"], format!("{}/", server.issuer()));
    server.change(|setup| setup.issuer = IssuerName::Other("https://attacker.example".to_owned()));
    assert_eq!(get(&url).await.body["issuer"], "https://attacker.example");
    let patch = json!({"token_endpoint": null, "authorization_endpoint": "javascript:alert(1)"});
    server.break_with(Fault::at(Endpoint::Metadata, Reply::Patched(patch)));
    let body = get(&url).await.body;
    assert_eq!(
        (body.get("token_endpoint"), &body["authorization_endpoint"]),
        (None, &json!("javascript:alert(1)"))
    );
    server.repair();
    server.break_with(Fault::at(Endpoint::Metadata, Reply::Oversized(300_000)));
    assert!(get(&url).await.body.to_string().len() > 300_000);
    server.break_with(Fault::at(Endpoint::Metadata, Reply::malformed_json()).once());
    assert_eq!(get(&url).await.body, Value::Null);
    let path = "/.well-known/openid-configuration";
    server.break_with(Fault::at(Endpoint::Metadata, Reply::status(500)).on_path(path));
    assert_eq!(get(&server.url(path)).await.status, 500);
    assert_eq!(get(&url).await.status, 200);
}

#[tokio::test]
async fn an_issuer_can_end_in_a_slash() {
    let server = AuthorizationServer::start(Setup { issuer_path: "/".to_owned(), ..Setup::default() });
    assert!(server.issuer().ends_with('/'));
    let came = get(&server.url("/.well-known/oauth-authorization-server")).await;
    assert_eq!(
        (&came.body["issuer"], &came.body["token_endpoint"]),
        (&json!(server.issuer()), &json!(server.url("/token")))
    );
}

#[tokio::test]
async fn resource_metadata_is_where_the_guard_puts_it_and_says_what_it_is_told() {
    let well_known = "/.well-known/oauth-protected-resource";
    let places = [
        (MetadataLocation::Path, Some(format!("{well_known}/mcp"))),
        (MetadataLocation::Root, Some(well_known.to_owned())),
        (MetadataLocation::Custom("/meta.json".to_owned()), Some("/meta.json".to_owned())),
        (MetadataLocation::Nowhere, None),
    ];
    for (metadata, expected) in places {
        let rig =
            Rig::start(Script::modern(), GuardSetup { metadata, ..GuardSetup::default() }, Setup::default());
        let origin = rig.mcp.url().strip_suffix("/mcp").unwrap().to_owned();
        for path in [format!("{well_known}/mcp"), well_known.to_owned(), "/meta.json".to_owned()] {
            let found = get(&format!("{origin}{path}")).await;
            assert_eq!(found.status == 200, expected.as_ref() == Some(&path), "{path}");
        }
        assert_eq!(rig.guard.metadata_url(), expected.map(|path| format!("{origin}{path}")));
    }
    let guard = GuardSetup {
        resource: PublishedResource::Origin,
        servers: ListedServers::Others(vec!["https://a.example".to_owned(), "https://b.example".to_owned()]),
        scopes_supported: Some(vec!["read".to_owned()]),
        ..GuardSetup::default()
    };
    let rig = Rig::start(Script::modern(), guard, Setup::default());
    let url = rig.guard.metadata_url().unwrap();
    let expected = json!({
        "bearer_methods_supported": ["header"], "resource": rig.guard.resource(),
        "authorization_servers": ["https://a.example", "https://b.example"], "scopes_supported": ["read"],
    });
    assert_eq!(get(&url).await.body, expected);
    rig.guard.break_with(Fault::at(Endpoint::ResourceMetadata, Reply::html(200)).once());
    assert_eq!(get(&url).await.header("content-type"), "text/html; charset=utf-8");
    rig.guard.change(|setup| setup.servers = ListedServers::Absent);
    assert_eq!(get(&url).await.body.get("authorization_servers"), None);
    let paths: Vec<_> = rig.guard.requests().iter().map(|asked| (asked.endpoint, asked.status)).collect();
    assert_eq!(paths, [(Endpoint::ResourceMetadata, Some(200)); 3]);
}

#[tokio::test]
async fn challenges_have_the_form_that_they_are_told() {
    let rig = Rig::start(Script::modern(), GuardSetup::default(), Setup::default());
    let metadata = rig.guard.metadata_url().unwrap();
    let challenges = async || {
        let came = send(mcp(&rig.mcp.url(), None)).await;
        let fields = came.headers.get_all("www-authenticate").iter();
        (came.status, fields.map(|field| field.to_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(challenges().await, (401, vec![format!(r#"Bearer resource_metadata="{metadata}""#)]));
    rig.guard.change(|setup| setup.challenge_scope = Some("read".to_owned()));
    rig.guard.change(|setup| setup.challenge = ChallengeForm::WithoutMetadata);
    assert_eq!(challenges().await, (401, vec![r#"Bearer scope="read""#.to_owned()]));
    let custom = vec![r#"Basic realm="x""#.to_owned(), r#"Bearer resource_metadata="{metadata}""#.to_owned()];
    rig.guard.change(|setup| setup.challenge = ChallengeForm::Custom(custom.clone()));
    let expected = vec![custom[0].clone(), format!(r#"Bearer resource_metadata="{metadata}""#)];
    assert_eq!(challenges().await, (401, expected));
    rig.guard.change(|setup| setup.challenge = ChallengeForm::Absent);
    rig.guard.change(|setup| setup.challenge_status = 403);
    assert_eq!(challenges().await, (403, vec![]));
}

#[tokio::test]
async fn a_server_of_2025_03_26_has_its_endpoints_at_its_own_origin() {
    let guard = GuardSetup {
        metadata: MetadataLocation::Nowhere,
        hosts_authorization_server: true,
        ..GuardSetup::default()
    };
    let rig = Rig::start(Script::legacy().with_tools([Tool::echo()]), guard, Setup::default());
    let origin = rig.mcp.url().strip_suffix("/mcp").unwrap().to_owned();
    assert_eq!(rig.server.issuer(), origin);
    let metadata = get(&format!("{origin}/.well-known/oauth-authorization-server")).await;
    assert_eq!(metadata.body["token_endpoint"], format!("{origin}/token"));
    let form = [("grant_type", "authorization_code"), ("client_id", "nobody")];
    let came = send(HttpRequest::post_form(&format!("{origin}/token"), &form)).await;
    assert_eq!(came.error(), (401, "invalid_client"));
    assert_eq!(get(&format!("{origin}/.well-known/oauth-protected-resource")).await.status, 404);
}

#[tokio::test]
async fn registration_gives_what_it_is_told() {
    let server = AuthorizationServer::start(Setup::default());
    let register = async |body: Value| send(HttpRequest::post(&server.url("/register"), &body)).await;
    let came = register(json!({"redirect_uris": [REDIRECT], "client_name": "c"})).await;
    assert_eq!((came.status, &came.body["token_endpoint_auth_method"]), (201, &json!("client_secret_basic")));
    assert_eq!((&came.body["client_name"], server.registrations().len()), (&json!("c"), 1));
    assert_eq!(register(json!({})).await.error(), (400, "invalid_redirect_uri"));
    server.change(|setup| setup.registration = Registration::Gives(AuthMethod::Post));
    let came = register(json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"})).await;
    assert_eq!(came.body["token_endpoint_auth_method"], "client_secret_post");
    server.change(|setup| setup.registration_requires = vec!["response_types"]);
    assert_eq!(
        register(json!({"redirect_uris": [REDIRECT]})).await.error(),
        (400, "invalid_client_metadata")
    );
    server.break_with(Fault::at(Endpoint::Registration, Reply::error(403, "access_denied")));
    assert_eq!(register(json!({"redirect_uris": [REDIRECT]})).await.error(), (403, "access_denied"));
    server.change(|setup| setup.registration = Registration::Absent);
    let metadata = get(&server.url("/.well-known/oauth-authorization-server")).await.body;
    assert_eq!(metadata.get("registration_endpoint"), None);
}
