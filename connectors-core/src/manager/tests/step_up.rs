//! Calls that need more than was granted.

use std::time::Duration;

use super::*;
use crate::error::ConnectorError;
use crate::manager::{CallRequest, CallResult};
use crate::sign_in::SIGN_IN_LIFETIME;

/// A connector with the tools `a` and `write`, of which the latter needs the scope `w`.
async fn guarded() -> (ConnectorManager, Tools, Host, Arc<ScriptedSignIn>, Slug) {
    let all = signed_in(&["a", "write", "hang"]).await;
    all.3.require("write", "w");
    all
}

fn write(
    manager: &ConnectorManager,
    slug: &Slug,
) -> tokio::task::JoinHandle<Result<CallResult, ConnectorError>> {
    let (manager, request) = (manager.clone(), CallRequest::new(slug.clone(), "write", json!({"n": 1})));
    tokio::spawn(async move { manager.call_tool(request).await })
}

async fn agree(manager: &ConnectorManager, slug: &Slug) -> SignInView {
    let view = manager.sign_in(slug, SignInRequest::default()).await.unwrap();
    manager.complete_sign_in(agreed(&view)).await.unwrap();
    view
}

fn calls(tools: &Tools) -> usize {
    tools.server.methods().iter().filter(|method| *method == "tools/call").count()
}

fn assert_asks_for_w(error: ConnectorError) {
    assert!(
        matches!(&error, ConnectorError::InsufficientScope { scopes, .. } if *scopes == ["w"]),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_more_is_resumed_once_the_user_has_agreed() {
    let (manager, tools, _host, _sign_in, slug) = guarded().await;
    let mut events = manager.events().subscribe();
    let call = write(&manager, &slug);
    settle().await;
    let status = manager.status(&slug).unwrap();
    assert_eq!((status.connected, status.sign_in_scopes), (true, strings(&["w"])));
    // As long as the user needs; silence is not the server's.
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(agree(&manager, &slug).await.scopes, ["w"]);
    assert_eq!(call.await.unwrap().unwrap().outcome.text(), "write");
    assert_eq!(sign_in_events(&mut events), [(true, "w".to_owned()), (false, String::new())]);
    assert_eq!((calls(&tools), tools.server.dials()), (1, 2));
    assert!(manager.status(&slug).unwrap().sign_in_scopes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_32_calls_that_wait_at_once_one_announcement_is_made() {
    let (manager, tools, _host, _sign_in, slug) = guarded().await;
    let mut events = manager.events().subscribe();
    let waiting: Vec<_> = (0..32).map(|_| write(&manager, &slug)).collect();
    settle().await;
    agree(&manager, &slug).await;
    for call in waiting {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(sign_in_events(&mut events), [(true, "w".to_owned()), (false, String::new())]);
    assert_eq!(calls(&tools), 32);
}

#[tokio::test(start_paused = true)]
async fn calls_that_need_different_scopes_are_asked_for_together() {
    let (manager, _tools, _host, sign_in, slug) = guarded().await;
    sign_in.require("a", "r");
    let mut events = manager.events().subscribe();
    let first = write(&manager, &slug);
    settle().await;
    let request = CallRequest::new(slug.clone(), "a", json!({}));
    let (other, second) = (
        manager.clone(),
        tokio::spawn({
            let manager = manager.clone();
            async move { manager.call_tool(request).await }
        }),
    );
    settle().await;
    assert_eq!(agree(&other, &slug).await.scopes, ["r", "w"]);
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    let expected = [(true, "w".to_owned()), (true, "w r".to_owned()), (false, String::new())];
    assert_eq!(sign_in_events(&mut events), expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_user_does_not_agree_to_in_time_fails_and_the_question_is_taken_back() {
    let (manager, tools, _host, _sign_in, slug) = guarded().await;
    let mut events = manager.events().subscribe();
    let began = tokio::time::Instant::now();
    assert_asks_for_w(write(&manager, &slug).await.unwrap().unwrap_err());
    assert_eq!(began.elapsed(), SIGN_IN_LIFETIME);
    assert_eq!(sign_in_events(&mut events), [(true, "w".to_owned()), (false, String::new())]);
    assert_eq!(calls(&tools), 0);
    assert!(manager.status(&slug).unwrap().sign_in_scopes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_limit_holds_for_the_wait_and_the_call_together() {
    let (manager, tools, _host, sign_in, slug) = guarded().await;
    let request = |tool: &str| {
        let mut request = CallRequest::new(slug.clone(), tool, json!({}));
        request.timeout = Some(Duration::from_secs(5));
        request
    };
    let began = tokio::time::Instant::now();
    assert_asks_for_w(manager.call_tool(request("write")).await.unwrap_err());
    assert_eq!(began.elapsed(), Duration::from_secs(5));

    sign_in.require("hang", "w");
    let began = tokio::time::Instant::now();
    let consent = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        agree(&manager, &slug).await;
    };
    let (outcome, ()) = tokio::join!(manager.call_tool(request("hang")), consent);
    assert_eq!((outcome.unwrap_err().code(), began.elapsed()), ("timeout", Duration::from_secs(5)));
    assert_eq!(calls(&tools), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_and_a_dropped_one_wait_no_longer() {
    let (manager, _tools, _host, _sign_in, slug) = guarded().await;
    let mut events = manager.events().subscribe();
    let mut request = CallRequest::new(slug.clone(), "write", json!({}));
    request.call_id = Some("mine".into());
    let call = tokio::spawn({
        let manager = manager.clone();
        async move { manager.call_tool(request).await }
    });
    let dropped = write(&manager, &slug);
    settle().await;
    assert!(manager.cancel("mine"));
    assert_eq!(call.await.unwrap().unwrap_err().code(), "cancelled");
    assert_eq!(sign_in_events(&mut events), [(true, "w".to_owned())], "one call still waits");
    dropped.abort();
    settle().await;
    assert_eq!(sign_in_events(&mut events), [(false, String::new())]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_and_a_shutdown_end_the_wait() {
    let (manager, _tools, _host, _sign_in, slug) = guarded().await;
    let call = write(&manager, &slug);
    settle().await;
    manager.remove(&slug).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap_err().code(), "connector_not_found");

    let (manager, _tools, _host, _sign_in, slug) = guarded().await;
    let call = write(&manager, &slug);
    settle().await;
    manager.shutdown().await;
    assert!(matches!(call.await.unwrap(), Err(ConnectorError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn a_call_asks_for_more_twice_and_no_third_time() {
    let (manager, tools, _host, sign_in, slug) = guarded().await;
    let mut events = manager.events().subscribe();
    let call = write(&manager, &slug);
    for scope in ["w2", "w3"] {
        settle().await;
        let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
        sign_in.require("write", scope);
        manager.complete_sign_in(agreed(&view)).await.unwrap();
    }
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, ConnectorError::InsufficientScope { scopes, .. } if *scopes == ["w", "w2", "w3"]),
        "{error}"
    );
    let announced = [(true, "w"), (false, ""), (true, "w w2"), (false, "")];
    assert_eq!(sign_in_events(&mut events), announced.map(|(wanted, scopes)| (wanted, scopes.to_owned())));
    assert_eq!(calls(&tools), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_is_disabled_meanwhile_is_not_called() {
    let (manager, tools, _host, _sign_in, slug) = guarded().await;
    let call = write(&manager, &slug);
    settle().await;
    manager.disable_tools(&slug, &strings(&["write"])).await.unwrap();
    agree(&manager, &slug).await;
    assert_eq!(call.await.unwrap().unwrap_err().code(), "unknown_tool");
    assert_eq!(calls(&tools), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_over_a_connection_that_had_to_be_made_anew() {
    let (manager, tools, _host, sign_in, slug) = guarded().await;
    let call = write(&manager, &slug);
    settle().await;
    let view = manager.sign_in(&slug, SignInRequest::default()).await.unwrap();
    sign_in.revoke_all();
    manager.refresh(&slug).await.unwrap();
    assert!(!manager.status(&slug).unwrap().connected);
    manager.complete_sign_in(agreed(&view)).await.unwrap();
    assert!(call.await.unwrap().is_ok());
    assert_eq!((calls(&tools), tools.server.dials()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_needs_more_than_was_granted_waits_for_the_user() {
    let error = ConnectorError::InsufficientScope { slug: Slug::verbatim("one"), scopes: strings(&["r"]) };
    let error = Mutex::new(Some(error));
    let server = ScriptedServer::new(HTTP_LIKE, move |_, _| {
        let error = error.lock().unwrap().take().expect("asked once");
        Reply::Wire(TransportError::Authorizer(Box::new(error)))
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert_eq!(
        (status.state, status.detail, status.sign_in_scopes, status.last_error.as_deref()),
        (
            crate::StateName::NeedsSignIn,
            Some("insufficient_scope"),
            strings(&["r"]),
            Some("it needs your consent to more: r")
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_nobody_can_sign_in_to_is_not_tried_again() {
    let server = ScriptedServer::new(HTTP_LIKE, |_, _| {
        let error = ConnectorError::Authorization {
            slug: Slug::verbatim("one"),
            detail: "resource_mismatch",
            problem: "the metadata is of another server".to_owned(),
            remedy: "tell its operator".into(),
        };
        Reply::Wire(TransportError::Authorizer(Box::new(error)))
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert_eq!(
        (status.state, status.detail, status.last_error.as_deref()),
        (crate::StateName::NeedsSignIn, Some("resource_mismatch"), Some("the metadata is of another server"))
    );
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(server.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_authorizer_that_reaches_nobody_is_tried_again() {
    let server = ScriptedServer::new(HTTP_LIKE, |_, _| {
        let slug = Slug::verbatim("one");
        let reason = Some("auth.test does not answer".to_owned());
        let error = ConnectorError::NotConnected { slug, reason, retry_at: None };
        Reply::Wire(TransportError::Authorizer(Box::new(error)))
    });
    let host = Host::new();
    host.serve("http://one", &server);
    let manager = host.start().await;
    let status = manager.add(NewConnector::http("One", "http://one", vec![])).await.unwrap();
    assert_eq!(status.state, crate::StateName::Backoff);
    assert!(status.last_error.unwrap().starts_with("auth.test does not answer; "));
}
