//! Signed in at `oidc-provider` to a server of the TypeScript SDK, from the first click to the removal, over the daemon's WebSocket.

use connectors_tests::TempHome;
use connectors_tests::daemon::RunningDaemon;
use connectors_tests::deadline::soon;
use connectors_tests::http_client::HttpRequest;
use connectors_tests::oauth::{CallbackParams, OidcProvider, sign_in_at_oidc_provider};
use serde_json::{Value, json};

use super::servers::installed;
use crate::session::{Session, call, daemon};

struct Life {
    home: TempHome,
    provider: OidcProvider,
    daemon: RunningDaemon,
    session: Session,
    slug: String,
}

/// A connector that its user has signed in to, with its tools enabled; `None` where there is no provider.
async fn signed_in(arguments: &[&str]) -> Option<Life> {
    let provider = OidcProvider::start(installed()?.folder(), arguments).await;
    let home = TempHome::new();
    let daemon = daemon().with_vault().start(&home).await;
    let session = Session::open(&daemon).await;
    let params = json!({"name": "Oidc", "url": provider.url()});
    let view = session.must("connectors.authenticate", params).await;
    assert_eq!(
        (&view["issuer"], &view["scopes"]),
        (&json!(provider.issuer()), &json!(["mcp:basic", "offline_access"])),
        "{view}"
    );
    assert_eq!(view["redirect_uri"], format!("http://{}/oauth/callback/oidc", daemon.address()));
    // Nothing comes into being before the user has agreed.
    assert_eq!(session.list().await, Vec::<Value>::new());
    come_back(&consent(&view).await).await;
    session.ready("oidc").await;
    session.enable("oidc", &["whoami", "administer"]).await;
    Some(Life { home, provider, daemon, session, slug: "oidc".to_owned() })
}

/// The user's part.
async fn consent(view: &Value) -> CallbackParams {
    let page = view["authorize_url"].as_str().unwrap_or_else(|| panic!("a page to go to: {view}"));
    sign_in_at_oidc_provider(page, "ada").await
}

/// The browser's part: it opens the daemon's own callback.
async fn come_back(callback: &CallbackParams) {
    let page = soon("the callback", HttpRequest::get(&callback.url).send()).await.expect("an answer");
    let (status, text) = (page.status(), page.text().await.expect("a whole page"));
    assert!(status == 200 && text.contains("You are signed in"), "{status} {text}");
}

impl Life {
    async fn whoami(&self) -> String {
        self.session.text(&self.slug, "whoami", json!({})).await
    }

    fn slug(&self) -> Value {
        json!({"slug": self.slug})
    }

    /// A call that needs more than was granted waits for the user, and then returns.
    async fn step_up(&self) {
        let waiting = self.session.start("connectors.call_tool", call(&self.slug, "administer", json!({})));
        let event = self.session.event("a wish to sign in", |event| event["kind"] == "sign_in").await;
        assert_eq!((&event["wanted"], &event["slug"]), (&json!(true), &json!(self.slug)), "{event}");
        assert!(event["scopes"].as_array().is_some_and(|all| all.contains(&json!("mcp:admin"))), "{event}");
        let view = self.session.must("connectors.sign_in", self.slug()).await;
        let asked = view["scopes"].as_array().expect("scopes");
        assert!(["mcp:basic", "mcp:admin"].iter().all(|one| asked.contains(&json!(one))), "{view}");
        come_back(&consent(&view).await).await;
        let result = soon("the call that waited", waiting).await.expect("a reply").expect("a result");
        assert_eq!(result["content"][0]["text"], "administered", "{result}");
        assert_eq!(self.whoami().await, "ada with mcp:basic mcp:admin");
    }

    /// Tokens that are no good any more are replaced unseen, and the server rotates the refresh token.
    async fn expire(&self) {
        let rotated = self.provider.count("refresh_token.consumed").await;
        self.provider.expire_access_tokens().await;
        assert!(self.whoami().await.starts_with("ada with mcp:basic"));
        assert_eq!(self.provider.count("refresh_token.consumed").await, rotated + 1);
    }

    /// The daemon begins again on the same home.
    async fn restart(self) -> Self {
        let Self { home, provider, daemon: running, session, slug } = self;
        drop(session);
        running.stop().await;
        let running = daemon().with_vault().start(&home).await;
        let session = Session::open(&running).await;
        session.ready(&slug).await;
        Self { home, provider, daemon: running, session, slug }
    }

    /// Signing out gives the tokens back; a call says what is missing until the user signs in again.
    async fn sign_out_and_in(&self) {
        let revoked = self.provider.count("grant.revoked").await;
        let status = self.session.must("connectors.sign_out", self.slug()).await;
        assert_eq!(status["connected"], false, "{status}");
        assert_eq!(self.provider.count("grant.revoked").await, revoked + 1);
        self.session.until(&self.slug, "signed out", |status| status["state"] == "needs_sign_in").await;
        let error =
            self.session.must_fail("connectors.call_tool", call(&self.slug, "whoami", json!({}))).await;
        assert_eq!(error.code, -32042, "{error:?}");
        let view = self.session.must("connectors.sign_in", self.slug()).await;
        let callback = consent(&view).await;
        let params = json!({"callback_url": callback.url});
        self.session.must("connectors.complete_authentication", params.clone()).await;
        self.session.ready(&self.slug).await;
        assert!(self.whoami().await.starts_with("ada with mcp:basic"));
        self.session.must_fail("connectors.complete_authentication", params).await;
    }

    /// Removal gives the tokens back too, and leaves nothing.
    async fn remove(&self) {
        let revoked = self.provider.count("grant.revoked").await;
        self.session.must("connectors.remove", self.slug()).await;
        assert_eq!(self.session.list().await, Vec::<Value>::new());
        connectors_tests::deadline::poll("the tokens' end", async || {
            (self.provider.count("grant.revoked").await > revoked).then_some(())
        })
        .await;
        assert_eq!(self.home.manifest(), Vec::<Value>::new());
    }

    /// The next call finds out that only the user can help, and they do.
    async fn wants_sign_in_again(&self) {
        let error =
            self.session.must_fail("connectors.call_tool", call(&self.slug, "whoami", json!({}))).await;
        assert_eq!(error.code, -32042, "{error:?}");
        let wanted = |status: &Value| status["state"] == "needs_sign_in" && status["last_error"].is_string();
        self.session.until(&self.slug, "in want of a sign-in", wanted).await;
        let view = self.session.must("connectors.sign_in", self.slug()).await;
        come_back(&consent(&view).await).await;
        self.session.ready(&self.slug).await;
        assert_eq!(self.whoami().await, "ada with mcp:basic");
    }

    async fn whole(self) {
        assert_eq!(self.whoami().await, "ada with mcp:basic");
        self.expire().await;
        self.step_up().await;
        self.expire().await;
        let life = self.restart().await;
        assert_eq!(life.whoami().await, "ada with mcp:basic mcp:admin");
        life.expire().await;
        assert_eq!(life.provider.count("registration_create.success").await, 1);
        life.sign_out_and_in().await;
        life.remove().await;
        assert_eq!(life.provider.count("server_error").await, 0);
    }
}

#[tokio::test]
async fn a_whole_life_with_opaque_tokens() {
    let Some(life) = signed_in(&["modern"]).await else { return };
    life.whole().await;
}

#[tokio::test]
async fn a_whole_life_with_jwts() {
    let Some(life) = signed_in(&["modern", "--jwt"]).await else { return };
    life.whole().await;
}

#[tokio::test]
async fn a_whole_life_with_proofs_of_possession_and_nonces() {
    let Some(life) = signed_in(&["modern", "--dpop", "--nonces"]).await else { return };
    life.whole().await;
}

#[tokio::test]
async fn a_whole_life_with_a_legacy_server() {
    let Some(life) = signed_in(&["legacy"]).await else { return };
    life.whole().await;
}

#[tokio::test]
async fn tokens_that_live_two_seconds_are_renewed_for_as_long_as_they_are_used() {
    let Some(life) = signed_in(&["modern", "--jwt", "--ttl", "2"]).await else { return };
    let (session, provider) = (&life.session, &life.provider);
    while provider.count("refresh_token.consumed").await < 3 {
        assert_eq!(session.text(&life.slug, "whoami", json!({})).await, "ada with mcp:basic");
    }
    assert_eq!((provider.count("grant.revoked").await, provider.count("grant.error").await), (0, 0));
}

#[tokio::test]
async fn a_consent_that_is_taken_back_is_asked_for_again() {
    let Some(life) = signed_in(&["modern"]).await else { return };
    life.provider.revoke_everything().await;
    life.wants_sign_in_again().await;
    assert_eq!(life.provider.count("registration_create.success").await, 1);
}

#[tokio::test]
async fn a_client_that_is_forgotten_registers_again() {
    let Some(life) = signed_in(&["modern"]).await else { return };
    life.provider.forget_clients().await;
    life.provider.expire_access_tokens().await;
    life.wants_sign_in_again().await;
    assert_eq!(life.provider.count("registration_create.success").await, 2);
}
