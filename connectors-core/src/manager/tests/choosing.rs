//! What users enter about signing in and about the network.

use super::*;
use crate::definition::{GrantKind, NetworkSettings, OAuthException, Registration};
use crate::error::ConnectorError;
use crate::manager::ConnectorUpdate;
use crate::sign_in::{ClientCredentials, SignInChoice};
use crate::store::ConfigStore;
use crate::view::StateName;

fn client(id: &str, secret: Option<&str>) -> SignInChoice {
    let secret = secret.map(Into::into);
    let client =
        ClientCredentials { id: id.to_owned(), secret, issuer: Some("https://auth.test".to_owned()) };
    SignInChoice { client: Some(client), ..SignInChoice::default() }
}

fn update(choice: SignInChoice) -> ConnectorUpdate {
    ConnectorUpdate { sign_in: Some(choice), ..ConnectorUpdate::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_entered_is_stored_and_its_secrets_apart() {
    let host = Host::new();
    let manager = host.guarded(&ScriptedSignIn::new()).start().await;
    let mut choice = client("mine", Some("s3cret"));
    choice.grant = Some(GrantKind::ClientCredentials { signing_algorithm: Some("ES256".to_owned()) });
    choice.exceptions = Some(vec![OAuthException::PkceNotAdvertised]);
    choice.secrets = vec![("private_key", "pem".into())];
    let network = NetworkSettings { proxy: Some("http://proxy:3128".to_owned()), ..Default::default() };
    let new = NewConnector::http("One", "http://one", vec![]).with_sign_in(choice).with_network(network);
    let slug = manager.add(new).await.unwrap().slug;
    let stored = host.config.load().await.unwrap().remove(0);
    let manifest = serde_json::to_value(&stored).unwrap();
    assert_eq!(
        (&manifest["oauth"], &manifest["network"]),
        (
            &json!({
                "token_endpoint": "",
                "client_id": "mine",
                "has_client_secret": true,
                "scopes": [],
                "issuer": "https://auth.test",
                "registration": "manual",
                "grant": {"kind": "client_credentials", "signing_algorithm": "ES256"},
                "exceptions": ["pkce_not_advertised"]
            }),
            &json!({"proxy": "http://proxy:3128"})
        )
    );
    assert_eq!(host.secrets(&slug).await, ["client_secret=s3cret", "private_key=pem"]);
    let status = manager.status(&slug).unwrap();
    assert_eq!((status.oauth, status.network), (stored.oauth, stored.network));
}

#[tokio::test(start_paused = true)]
async fn another_client_ends_the_sign_in_and_the_same_with_another_secret_does_not() {
    let (manager, tools, host, _sign_in, slug) = signed_in(&[]).await;
    let status = manager.update(&slug, update(client("client", Some("rotated")))).await.unwrap();
    assert_eq!((status.state, tools.server.dials()), (StateName::Ready, 3));
    assert_eq!(host.secrets(&slug).await, ["client_secret=rotated", "tokens=token-1"]);
    assert_eq!(status.oauth.unwrap().registration, Some(Registration::Manual));
    let status = manager.update(&slug, update(client("other", None))).await.unwrap();
    assert_eq!(status.state, StateName::NeedsSignIn);
    assert!(host.secrets(&slug).await.is_empty());
    let oauth = status.oauth.unwrap();
    assert_eq!((&*oauth.client_id, &*oauth.token_endpoint, oauth.has_client_secret), ("other", "", false));
}

#[tokio::test(start_paused = true)]
async fn every_choice_takes_effect_at_once() {
    let (manager, tools, _host, _sign_in, slug) = signed_in(&[]).await;
    let choices = [
        update(SignInChoice {
            exceptions: Some(vec![OAuthException::ResourceOmitted]),
            ..SignInChoice::default()
        }),
        update(SignInChoice { secrets: vec![("assertion", "jwt".into())], ..SignInChoice::default() }),
        ConnectorUpdate {
            network: Some(NetworkSettings { allow_private: true, ..Default::default() }),
            ..ConnectorUpdate::default()
        },
    ];
    for (n, choice) in choices.into_iter().enumerate() {
        manager.update(&slug, choice).await.unwrap();
        assert_eq!(tools.server.dials(), 3 + n);
    }
    manager.update(&slug, update(SignInChoice::default())).await.unwrap();
    assert_eq!(tools.server.dials(), 5, "nothing was chosen");
    let status = manager.status(&slug).unwrap();
    assert_eq!(status.oauth.unwrap().exceptions, [OAuthException::ResourceOmitted]);
    assert!(status.network.allow_private);
}

#[tokio::test(start_paused = true)]
async fn a_choice_voids_the_sign_ins_that_were_begun_before_it() {
    let (manager, _tools, host, _sign_in, slug) = unsigned(&[]).await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    manager.update(&slug, update(client("mine", None))).await.unwrap();
    assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap_err().code(), "invalid_params");
    assert!(host.secrets(&slug).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_is_refused_by_its_field() {
    let (manager, _tools, host, _sign_in, slug) = signed_in(&[]).await;
    let secret = |name| SignInChoice { secrets: vec![(name, "x".into())], ..SignInChoice::default() };
    let cases = [
        (client("", None), "client_id"),
        (client("line\nbreak", None), "client_id"),
        (client(&"x".repeat(5_000), None), "client_id"),
        (secret("tokens"), "oauth"),
        (secret("Authorization"), "oauth"),
    ];
    for (choice, field) in cases {
        match manager.update(&slug, update(choice)).await {
            Err(ConnectorError::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{:?}", other.map(drop)),
        }
    }
    assert_eq!(host.secrets(&slug).await, ["client_secret=secret", "tokens=token-1"]);
}

/// Reaches nobody, but notes the credentials that it is given.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl crate::Dialer for Noting {
    fn serves(&self, _: &crate::ConnectorDefinition) -> bool {
        true
    }

    fn check(&self, _: &crate::ConnectorDefinition) -> Result<(), crate::transport::InvalidDefinition> {
        Ok(())
    }

    async fn dial(
        &self,
        target: crate::transport::DialTarget,
    ) -> Result<Arc<dyn crate::Transport>, TransportError> {
        let url = Arc::new(target.definition.url.parse().unwrap());
        let request = crate::authorizer::RequestTarget { method: "POST", url };
        let headers = target.authorizer.headers(&request).await.unwrap();
        self.0.lock().unwrap().extend(headers.into_iter().map(|header| header.name));
        Err(TransportError::Unreachable { reason: "nobody".to_owned(), source: None })
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_calls_a_header_like_a_sign_ins_secret_does_not_have_it_sent() {
    let (host, dialer) = (Host::new(), Arc::new(Noting::default()));
    let mut definition = crate::ConnectorDefinition::http(Slug::verbatim("one"), "One", "http://one");
    definition.secret_headers = strings(&["tokens", "X-Key", "Client_Secret"]);
    host.config.insert(&definition).await.unwrap();
    for name in ["tokens", "X-Key", "Client_Secret"] {
        host.put(&definition.slug, name, "v").await;
    }
    let _manager = host.without_dialer().with_dialer(Arc::clone(&dialer) as _).start().await;
    settle().await;
    assert_eq!(*dialer.0.lock().unwrap(), ["X-Key"]);
}

#[tokio::test(start_paused = true)]
async fn a_local_server_has_neither_a_sign_in_nor_a_network() {
    let manager = Host::new().start().await;
    let local = || NewConnector::stdio("Local", crate::StdioCommand::default());
    let field = |outcome: Result<crate::ConnectorStatus, ConnectorError>| match outcome {
        Err(ConnectorError::Invalid(invalid)) => invalid.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(manager.add(local().with_sign_in(SignInChoice::default())).await), "oauth");
    assert_eq!(field(manager.add(local().with_network(NetworkSettings::default())).await), "network");
    let slug = manager.add(local()).await.unwrap().slug;
    assert_eq!(field(manager.update(&slug, update(SignInChoice::default())).await), "oauth");
}
