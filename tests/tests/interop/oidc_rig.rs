//! `oidc-provider` in front of the TypeScript SDK, driven by a client written by hand: what the tests of sign-in stand on.

use connectors_tests::http_client::HttpRequest;
use connectors_tests::oauth::{
    KeyPair, OidcProvider, confirm_device_at_oidc_provider, sign_in_at_oidc_provider,
};
use serde_json::json;

use super::servers::installed;
use crate::oauth_rig::hand_client::{Came, HandClient, mcp, send, tokens};

async fn start(arguments: &[&str]) -> Option<(OidcProvider, HandClient)> {
    let provider = OidcProvider::start(installed()?.folder(), arguments).await;
    let client = HandClient::discover(provider.url()).await;
    assert_eq!(
        (client.resource.as_str(), client.metadata["issuer"].as_str()),
        (provider.url(), Some(provider.issuer()))
    );
    Some((provider, client))
}

async fn sign_in(client: &mut HandClient, scope: &str) -> Came {
    let callback = sign_in_at_oidc_provider(&client.authorize_url(&[("scope", scope)]), "ada").await;
    assert_eq!(
        (callback.state.as_str(), callback.iss.as_deref()),
        ("the-state", client.metadata["issuer"].as_str())
    );
    client.exchange(&callback).await
}

fn said(came: &Came) -> &str {
    came.body["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("a text: {came:?}"))
}

#[tokio::test]
async fn a_user_signs_in_and_tokens_expire_rotate_and_are_revoked() {
    let Some((provider, mut client)) = start(&["modern"]).await else { return };
    client.register("none").await;
    let (access, refresh) = tokens(&sign_in(&mut client, "mcp:basic").await);
    assert_eq!(said(&client.use_token(&access, Some("whoami")).await), "ada with mcp:basic");
    provider.expire_access_tokens().await;
    let refused = client.use_token(&access, None).await;
    assert_eq!(refused.error(), (401, "invalid_token"));
    assert!(refused.header("www-authenticate").contains(r#"scope="mcp:basic", resource_metadata="http"#));

    let (access, rotated) = tokens(&client.refresh(&refresh).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_grant"));
    assert_eq!(provider.count("grant.revoked").await, 1);
    assert_eq!(client.refresh(&rotated).await.error(), (400, "invalid_grant"));
    assert_eq!(client.use_token(&access, None).await.status, 401);

    let (access, refresh) = tokens(&sign_in(&mut client, "mcp:basic").await);
    assert_eq!(client.post("revocation_endpoint", &[("token", &refresh)]).await.status, 200);
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_grant"));
    assert_eq!(client.use_token(&access, None).await.status, 401);

    let (_, refresh) = tokens(&sign_in(&mut client, "mcp:basic").await);
    provider.revoke_everything().await;
    assert_eq!(client.refresh(&refresh).await.error(), (400, "invalid_grant"));
    let (_, refresh) = tokens(&sign_in(&mut client, "mcp:basic").await);
    provider.forget_clients().await;
    assert_eq!(client.refresh(&refresh).await.error(), (401, "invalid_client"));
}

#[tokio::test]
async fn a_tool_wants_a_scope_of_its_own() {
    let Some((_provider, mut client)) = start(&["modern"]).await else { return };
    client.register("client_secret_basic").await;
    let (access, _) = tokens(&sign_in(&mut client, "mcp:basic").await);
    let refused = client.use_token(&access, Some("administer")).await;
    assert_eq!(refused.status, 403);
    let challenge = refused.header("www-authenticate");
    assert!(
        challenge.contains(r#"error="insufficient_scope""#) && challenge.contains(r#"scope="mcp:admin""#),
        "{challenge}"
    );
    let (access, _) = tokens(&sign_in(&mut client, "mcp:basic mcp:admin").await);
    assert_eq!(said(&client.use_token(&access, Some("administer")).await), "administered");
}

#[tokio::test]
async fn signed_access_tokens_live_as_long_as_they_say() {
    let Some((_provider, mut client)) = start(&["modern", "--jwt", "--ttl", "1"]).await else { return };
    client.register("client_secret_post").await;
    let came = sign_in(&mut client, "mcp:basic").await;
    let (access, refresh) = tokens(&came);
    assert_eq!((&came.body["expires_in"], access.split('.').count()), (&json!(1), 3));
    let expired = connectors_tests::deadline::poll("the token's end", async || {
        (client.use_token(&access, None).await.status == 401).then_some(())
    });
    expired.await;
    let (access, _) = tokens(&client.refresh(&refresh).await);
    assert_eq!(client.use_token(&access, None).await.status, 200);
}

#[tokio::test]
async fn proofs_of_possession_need_the_nonces_of_both() {
    let Some((_provider, mut client)) = start(&["modern", "--dpop", "--nonces"]).await else { return };
    client.register("none").await;
    client.key = Some(KeyPair::generate());
    let callback = sign_in_at_oidc_provider(&client.authorize_url(&[("scope", "mcp:basic")]), "ada").await;
    let refused = client.exchange(&callback).await;
    assert_eq!(refused.error(), (400, "use_dpop_nonce"));
    client.nonce = Some(refused.header("dpop-nonce").to_owned());
    let came = client.exchange(&callback).await;
    let (access, _) = tokens(&came);
    assert_eq!(came.body["token_type"], "DPoP");
    let refused = client.use_token(&access, None).await;
    assert_eq!(refused.error(), (401, "use_dpop_nonce"));
    client.nonce = Some(refused.header("dpop-nonce").to_owned());
    assert_eq!(client.use_token(&access, None).await.status, 200);
    client.key = None;
    assert_eq!(client.use_token(&access, None).await.error(), (401, "invalid_token"));
}

#[tokio::test]
async fn a_device_is_connected_at_the_page_of_its_code() {
    let Some((_provider, mut client)) = start(&["modern"]).await else { return };
    client.register("none").await;
    let resource = client.resource.clone();
    let fields = [("scope", "mcp:basic"), ("resource", resource.as_str())];
    let started = client.post("device_authorization_endpoint", &fields).await.body;
    let code = started["device_code"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let poll = [("grant_type", grant), ("device_code", code.as_str()), ("resource", &resource)];
    assert_eq!(client.post("token_endpoint", &poll).await.error(), (400, "authorization_pending"));
    let page = started["verification_uri_complete"].as_str().unwrap();
    let last = confirm_device_at_oidc_provider(page, "ada").await;
    assert!(last.starts_with("200 ") && last.contains("Sign-in Success"), "{last}");
    let (access, _) = tokens(&client.post("token_endpoint", &poll).await);
    assert_eq!(said(&client.use_token(&access, Some("whoami")).await), "ada with mcp:basic");
}

#[tokio::test]
async fn the_legacy_era_is_served_too() {
    let Some((provider, mut client)) = start(&["legacy"]).await else { return };
    client.register("none").await;
    let (access, _) = tokens(&sign_in(&mut client, "mcp:basic").await);
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "hand", "version": "1"},
    }});
    let request = HttpRequest::post(provider.url(), &hello)
        .header("accept", "application/json, text/event-stream")
        .header("authorization", &format!("Bearer {access}"));
    let came = send(request).await;
    assert_eq!(came.body["result"]["serverInfo"]["name"], "oidc-interop");
    assert_eq!(send(mcp(provider.url(), None)).await.status, 401);
}
