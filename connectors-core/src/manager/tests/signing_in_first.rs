//! Connectors that come into being with a sign-in.

use super::*;
use crate::definition::GrantKind;
use crate::error::{ConnectorError, StorageError};
use crate::sign_in::{ClientCredentials, SignInChoice};
use crate::store::{ConfigStore, MockConfigStore};
use crate::view::StateName;

async fn unknown(names: &[&str]) -> (ConnectorManager, Host, Arc<ScriptedSignIn>) {
    let (host, tools, sign_in) = (Host::new(), Tools::new(names), ScriptedSignIn::new());
    host.serve("http://one", &tools.server);
    (host.guarded(&sign_in).start().await, host, sign_in)
}

fn one() -> NewConnector {
    NewConnector::http("One", "http://one", vec![])
}

fn with_client() -> SignInChoice {
    let client = ClientCredentials { id: "mine".to_owned(), secret: Some("s3cret".into()), issuer: None };
    SignInChoice { client: Some(client), ..SignInChoice::default() }
}

#[tokio::test(start_paused = true)]
async fn nothing_exists_until_the_sign_in_is_completed() {
    let (manager, host, _sign_in) = unknown(&["a"]).await;
    let view =
        manager.authenticate(one().with_sign_in(with_client()), SignInRequest::default()).await.unwrap();
    assert!(manager.list().is_empty() && host.config.load().await.unwrap().is_empty());
    assert!(host.secrets(&Slug::verbatim("one")).await.is_empty());
    let status = manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert_eq!((status.slug.as_str(), status.state, status.tool_count), ("one", StateName::Ready, 1));
    assert_eq!(host.config.load().await.unwrap()[0].oauth, status.oauth);
    assert_eq!(host.secrets(&status.slug).await, ["client_secret=secret", "tokens=token-1"]);
    let codes: Vec<_> = manager.explain(&status.slug).unwrap().into_iter().map(|step| step.code).collect();
    assert_eq!(codes, ["metadata_read", "version_agreed", "tools_listed"]);
}

#[tokio::test(start_paused = true)]
async fn the_slug_is_one_that_is_free_at_the_end_and_no_others_secrets_are_touched() {
    let (manager, host, sign_in) = unknown(&[]).await;
    let view = manager.authenticate(one(), SignInRequest::default()).await.unwrap();
    let other = manager.add(NewConnector::http("One", "http://other", vec![])).await.unwrap().slug;
    host.put(&other, "tokens", "theirs").await;
    let status = manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert_eq!(status.slug.as_str(), "one_2");
    assert_eq!(host.secrets(&other).await, ["tokens=theirs"]);
    assert_eq!(host.secrets(&status.slug).await, ["client_secret=secret", "tokens=token-1"]);
    assert_eq!(sign_in.good_tokens(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connector_with_this_name_and_url_is_signed_in_to() {
    let (manager, host, _sign_in) = unknown(&[]).await;
    manager.add(NewConnector::http("One", "http://other", vec![])).await.unwrap();
    let there = manager.add(one()).await.unwrap();
    assert_eq!((there.slug.as_str(), there.state), ("one_2", StateName::NeedsSignIn));
    let view =
        manager.authenticate(one().with_sign_in(with_client()), SignInRequest::default()).await.unwrap();
    assert_eq!(host.secrets(&there.slug).await, ["client_secret=s3cret"]);
    assert!(manager.complete_sign_in(agreed(&view)).await.unwrap().connected);
    assert_eq!(manager.list().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_two_sign_ins_that_bring_the_same_connector_the_second_is_to_it() {
    let (manager, host, _sign_in) = unknown(&[]).await;
    let first = manager.authenticate(one(), SignInRequest::default()).await.unwrap();
    let second = manager.authenticate(one(), SignInRequest::default()).await.unwrap();
    for view in [first, second] {
        assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap().slug.as_str(), "one");
    }
    assert_eq!(manager.list().len(), 1);
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, ["client_secret=secret", "tokens=token-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_cannot_be_written_leaves_nothing_behind() {
    let mut config = MockConfigStore::new();
    config.expect_load().returning(|| Ok(vec![]));
    config.expect_insert().returning(|_| {
        Err(StorageError::Io {
            action: "write",
            file: "f".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    });
    let (host, sign_in) = (Host::new(), ScriptedSignIn::new());
    let manager = host.guarded(&sign_in).with_config(Arc::new(config)).start().await;
    let header = crate::authorizer::SecretHeader { name: "X-Key".to_owned(), value: "v".into() };
    let new = NewConnector::http("One", "http://one", vec![header]).with_sign_in(with_client());
    let view = manager.authenticate(new, SignInRequest::default()).await.unwrap();
    assert_eq!(manager.complete_sign_in(agreed(&view)).await.unwrap_err().code(), "storage");
    assert!(manager.list().is_empty());
    assert!(host.secrets(&Slug::verbatim("one")).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_is_declined_brings_nothing_into_being() {
    let (manager, host, _sign_in) = unknown(&[]).await;
    let view = manager.authenticate(one(), SignInRequest::default()).await.unwrap();
    let error = manager.complete_sign_in(declined(&view)).await.unwrap_err();
    assert_eq!(error.detail(), Some("access_denied"));
    assert!(manager.list().is_empty() && host.config.load().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_no_user_is_needed_the_connector_is_there_at_once() {
    let (manager, host, _sign_in) = unknown(&["a"]).await;
    let mut choice = with_client();
    choice.grant = Some(GrantKind::ClientCredentials { signing_algorithm: None });
    let view = manager.authenticate(one().with_sign_in(choice), SignInRequest::default()).await.unwrap();
    assert_eq!(view.authorize_url, None);
    settle().await;
    assert!(manager.list()[0].connected);
    assert_eq!(host.secrets(&Slug::verbatim("one")).await, ["client_secret=s3cret", "tokens=token-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_cannot_be_signed_in_to_is_refused_before_anybody_is_asked() {
    let (manager, _host, sign_in) = unknown(&[]).await;
    let header =
        crate::authorizer::SecretHeader { name: "Authorization".to_owned(), value: "Bearer x".into() };
    let fixed = NewConnector::http("One", "http://one", vec![header]);
    let local = NewConnector::stdio("One", crate::StdioCommand::default());
    for (new, field) in [(fixed, "headers"), (local, "slug")] {
        match manager.authenticate(new, SignInRequest::default()).await {
            Err(ConnectorError::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{:?}", other.map(drop)),
        }
    }
    assert_eq!(sign_in.journal(), [""; 0]);
}
